#include "storage/object/http_object_store.h"

#include <map>
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

namespace muster {
namespace {

class HttpObjectStore final : public ObjectStore {
 public:
  HttpObjectStore(const Uri& base, Clock& clock, Random& random, const HttpStoreOptions& options)
      : base_(base), client_(clock, random, options) {}

  absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token& stop) override {
    const std::string uri = UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    ObjectInfo info;
    bool by_range = false;
    MUSTER_RETURN_IF_ERROR(client_.Retry(uri, stop, [&](HttpConnection& connection) {
      return by_range ? AskForRange(uri, connection, stop, info)
                      : AskForHead(uri, connection, stop, info, by_range);
    }));
    return info;
  }

  absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                    const ReadOptions& options) override {
    const std::string uri = UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    if (const auto judged = JudgeWithoutReading(*this, uri, key, offset, out.size(), options)) {
      return *judged;
    }
    HttpRangeReceiver receiver(uri, offset, out, options);
    return client_.Retry(uri, options.stop, [&](HttpConnection& connection) {
      const auto take = [&](const HttpReply& reply, absl::string_view bytes) {
        return receiver.Take(reply, bytes);
      };
      return receiver.Finish(
          connection.Perform(receiver.NextRequest({.url = uri}), take, options.stop));
    });
  }

  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view key,
                                                       const WriteOptions&) override {
    return ReadOnly(key);
  }
  absl::StatusOr<ObjectInfo> Put(absl::string_view key, absl::string_view,
                                 const WriteOptions&) override {
    return ReadOnly(key);
  }
  absl::StatusOr<std::vector<ListedObject>> List(absl::string_view prefix,
                                                 const ListOptions&) override {
    return ReadOnly(prefix);
  }
  absl::Status Delete(absl::string_view key) override { return ReadOnly(key); }

 private:
  std::string UriOf(absl::string_view key) const {
    Uri uri = base_;
    const bool needs_slash = !uri.path.empty() && uri.path.back() != '/';
    absl::StrAppend(&uri.path, needs_slash ? "/" : "", key);
    return uri.ToString();
  }

  absl::Status ReadOnly(absl::string_view key) const {
    return absl::UnimplementedError(
        absl::StrCat(UriOf(key),
                     ": web servers are only read from; write to the storage behind the "
                     "server, and register the address"));
  }

  HttpAttempt AskForHead(const std::string& uri, HttpConnection& connection,
                         const std::stop_token& stop, ObjectInfo& info, bool& by_range) {
    const auto no_body = [](const HttpReply&, absl::string_view) { return false; };
    const absl::StatusOr<HttpReply> reply =
        connection.Perform({.url = uri, .head_only = true}, no_body, stop);
    if (!reply.ok()) return {.status = Annotate(reply.status(), uri)};
    // Servers that know no HEAD, or don't say the size in it, are asked for the first byte.
    by_range = reply->status == 405 || reply->status == 501 ||
               (reply->status == 200 && !reply->content_length.has_value());
    if (by_range) return AskForRange(uri, connection, stop, info);
    if (reply->status != 200) {
      return {.status = HttpStatusError(uri, *reply), .retry_after = reply->retry_after};
    }
    info = {*reply->content_length, VersionOf(*reply, reply->content_length)};
    return {};
  }

  HttpAttempt AskForRange(const std::string& uri, HttpConnection& connection,
                          const std::stop_token& stop, ObjectInfo& info) {
    const auto one_byte = [](const HttpReply& reply, absl::string_view bytes) {
      return reply.status != 200 && bytes.size() <= kHttpErrorPageBytesMax;
    };
    const absl::StatusOr<HttpReply> reply =
        connection.Perform({.url = uri, .range = HttpRange{0, 1}.ToString()}, one_byte, stop);
    if (!reply.ok()) return {.status = Annotate(reply.status(), uri)};
    // No server of ranges; an object that is read at once can be had all the same.
    if (reply->status == 200 && reply->content_length.has_value()) {
      info = {*reply->content_length, VersionOf(*reply, reply->content_length)};
      return {};
    }
    const auto range = ParseContentRange(reply->content_range);
    const bool sized = range.has_value() && range->size.has_value();
    if (sized && (reply->status == 206 || (reply->status == 416 && *range->size == 0))) {
      info = {*range->size, VersionOf(*reply, range->size)};
      return {};
    }
    absl::Status status = CheckRangeReply(uri, *reply, {0, 1}, "");
    if (status.ok()) {
      status = absl::UnimplementedError(
          absl::StrCat(uri, ": the server does not say how long the object is"));
    }
    return {.status = status, .retry_after = reply->retry_after};
  }

  const Uri base_;
  HttpClient client_;
};

// The hosts of one registration.
struct Hosts {
  Mutex mutex;
  std::map<std::string, std::shared_ptr<ObjectStore>> stores MUSTER_GUARDED_BY(mutex);
};

}  // namespace

std::unique_ptr<ObjectStore> NewHttpObjectStore(const Uri& base, Clock& clock, Random& random,
                                                const HttpStoreOptions& options) {
  return std::make_unique<HttpObjectStore>(base, clock, random, options);
}

absl::Status RegisterHttpObjectStore(ObjectStoreRegistry& registry, Clock& clock, Random& random,
                                     const HttpStoreOptions& options) {
  auto open = [hosts = std::make_shared<Hosts>(), &clock, &random,
               options](const Uri& uri) -> absl::StatusOr<ObjectRef> {
    if (uri.authority.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(uri.ToString(), ": needs a host: ", uri.scheme, "://HOST/PATH"));
    }
    const Uri base{uri.scheme, uri.authority, ""};
    MutexLock lock(hosts->mutex);
    std::shared_ptr<ObjectStore>& store = hosts->stores[base.ToString()];
    if (store == nullptr) store = NewHttpObjectStore(base, clock, random, options);
    return ObjectRef{store, uri.path};
  };
  MUSTER_RETURN_IF_ERROR(registry.Register("http", open));
  return registry.Register("https", open);
}

}  // namespace muster
