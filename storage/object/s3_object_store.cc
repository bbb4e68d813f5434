#include "storage/object/s3_object_store.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/object/http_range_receiver.h"
#include "storage/object/http_reply.h"
#include "storage/object/object_rules.h"
#include "storage/object/s3_address.h"
#include "storage/object/s3_bucket.h"
#include "storage/object/s3_credentials.h"
#include "storage/object/s3_object_writer.h"
#include "storage/object/s3_reply.h"

namespace muster {
namespace {

// What S3 lists at most at once.
constexpr size_t kPageObjectsMax = 1000;

class S3ObjectStore final : public ObjectStore {
 public:
  explicit S3ObjectStore(std::shared_ptr<S3Bucket> bucket) : bucket_(std::move(bucket)) {}

  absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token& stop) override {
    const std::string uri = bucket_->UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    MUSTER_ASSIGN_OR_RETURN(const S3Result found,
                            bucket_->Do({.method = "HEAD", .key = std::string(key)}, stop));
    if (!found.reply.content_length.has_value()) {
      return absl::DataLossError(
          absl::StrCat(uri, ": the server does not say how long the object is"));
    }
    const int64_t size = *found.reply.content_length;
    return ObjectInfo{size, VersionOf(found.reply, size)};
  }

  absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                    const ReadOptions& options) override {
    const std::string uri = bucket_->UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    if (const auto judged = JudgeWithoutReading(*this, uri, key, offset, out.size(), options)) {
      return *judged;
    }
    HttpRangeReceiver receiver(uri, offset, out, options);
    return bucket_->Read({.key = std::string(key)}, receiver, options.stop);
  }

  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view key,
                                                       const WriteOptions& options) override {
    const std::string uri = bucket_->UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    MUSTER_RETURN_IF_ERROR(CheckWriteOptions(uri, options));
    return NewS3ObjectWriter(bucket_, std::string(key), options);
  }

  absl::StatusOr<ObjectInfo> Put(absl::string_view key, absl::string_view bytes,
                                 const WriteOptions& options) override {
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(bucket_->UriOf(key), key));
    return PutS3Object(*bucket_, std::string(key), bytes, options.must_not_exist);
  }

  absl::StatusOr<std::vector<ListedObject>> List(absl::string_view prefix,
                                                 const ListOptions& options) override {
    const std::string uri = bucket_->UriOf(prefix);
    MUSTER_RETURN_IF_ERROR(CheckObjectPrefix(uri, prefix));
    MUSTER_RETURN_IF_ERROR(CheckListOptions(uri, options));
    S3Call call{.query = {{"encoding-type", "url"}, {"list-type", "2"}}};
    if (!prefix.empty()) call.query["prefix"] = std::string(prefix);
    if (!options.after.empty()) call.query["start-after"] = options.after;
    std::vector<ListedObject> listed;
    for (;;) {
      const size_t wanted = std::min(options.limit - listed.size(), kPageObjectsMax);
      call.query["max-keys"] = absl::StrCat(wanted);
      MUSTER_ASSIGN_OR_RETURN(const S3Result result, bucket_->Do(call, {}));
      MUSTER_ASSIGN_OR_RETURN(S3Page page, ParseS3Page(uri, result.body));
      for (ListedObject& object : page.objects) {
        // What other tools put there as folders is not an object.
        if (listed.size() < options.limit && CheckObjectKey(uri, object.key).ok()) {
          listed.push_back(std::move(object));
        }
      }
      if (listed.size() >= options.limit || !page.continuation.has_value()) return listed;
      call.query.erase("start-after");
      call.query["continuation-token"] = *page.continuation;
    }
  }

  absl::Status Delete(absl::string_view key) override {
    const std::string uri = bucket_->UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    const absl::Status deleted =
        bucket_->Do({.method = "DELETE", .key = std::string(key)}, {}).status();
    return S3CodeOf(deleted) == "NoSuchKey" ? absl::OkStatus() : deleted;
  }

 private:
  const std::shared_ptr<S3Bucket> bucket_;
};

// What the buckets of one registration share.
struct Buckets {
  Buckets(EnvironmentLookup lookup, Clock& clock, Random& random, const HttpStoreOptions& options)
      : environment(lookup),
        client(std::make_shared<HttpClient>(clock, random, options)),
        credentials(
            std::make_shared<S3CredentialChain>(std::move(lookup), clock, options.connection)) {}

  absl::StatusOr<ObjectRef> Open(const Uri& uri) {
    const absl::Status valid = CheckS3Bucket(uri.authority);
    if (!valid.ok()) return Annotate(valid, uri.ToString());
    MutexLock lock(mutex);
    std::shared_ptr<ObjectStore>& store = stores[uri.authority];
    if (store == nullptr) {
      const absl::StatusOr<AwsSettings> profile = ReadAwsProfile(environment);
      if (!profile.ok()) return Annotate(profile.status(), uri.ToString());
      absl::StatusOr<S3Address> address = S3AddressFor(uri.authority, environment, *profile);
      if (!address.ok()) return Annotate(address.status(), uri.ToString());
      store = std::make_shared<S3ObjectStore>(
          std::make_shared<S3Bucket>(uri.authority, *std::move(address), client, credentials));
    }
    return ObjectRef{store, uri.path};
  }

  const EnvironmentLookup environment;
  const std::shared_ptr<HttpClient> client;
  const std::shared_ptr<S3CredentialChain> credentials;
  Mutex mutex;
  std::map<std::string, std::shared_ptr<ObjectStore>> stores MUSTER_GUARDED_BY(mutex);
};

}  // namespace

absl::Status RegisterS3ObjectStore(ObjectStoreRegistry& registry, EnvironmentLookup environment,
                                   Clock& clock, Random& random, const HttpStoreOptions& options) {
  auto buckets = std::make_shared<Buckets>(std::move(environment), clock, random, options);
  return registry.Register("s3", [buckets](const Uri& uri) { return buckets->Open(uri); });
}

}  // namespace muster
