// How an object is written:
//  1. One that fits into one part is kept in memory and stored by one request at Commit.
//  2. A longer one is a multipart upload, begun with its first part. The parts are those of the
//     writer; where these are below S3's least size, as many of them as it takes are gathered in
//     memory. Each part carries its MD5, so that the server refuses bytes which changed on the way, and
//     its ETag is compared where it is the MD5.
//  3. Commit completes the upload, and compares the ETag with the parts' MD5s where it is made of
//     them.
//  4. A writer that is dropped, or whose Commit failed for good, aborts the upload, so that nothing
//     is kept that nobody sees. What a killed process leaves is a lifecycle rule's to remove.
//  5. Replies get lost, and libcurl repeats a request without telling. So a completion whose upload
//     is gone, or a conditional write that found an object where none was a moment ago, has
//     succeeded if the object that is there is the one that was meant: it carries the id of this write as
//     metadata, or has the ETag that the content makes where nothing is encrypted.
#include "storage/object/s3_object_writer.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/md5.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/object/http_reply.h"
#include "storage/object/object_rules.h"

namespace muster {
namespace {

// Metadata of an object, by which a writer knows its own.
constexpr char kWriteIdHeader[] = "x-amz-meta-muster-write";

// Servers put the parts together before they answer.
constexpr absl::Duration kCompletionTimeout = absl::Minutes(5);

std::string ContentMd5(const Md5Digest& md5) {
  const absl::string_view bytes(reinterpret_cast<const char*>(md5.data()), md5.size());
  return absl::StrCat("content-md5: ", absl::Base64Escape(bytes));
}

absl::Status Exists(absl::string_view uri) {
  return absl::AlreadyExistsError(absl::StrCat(uri, ": the object exists"));
}

// For servers that don't know If-None-Match. One that may write, but not look, can't be asked.
absl::Status CheckAbsent(S3Bucket& bucket, const std::string& key) {
  const absl::Status found = bucket.Do({.method = "HEAD", .key = key}, {}).status();
  if (found.ok()) return Exists(bucket.UriOf(key));
  return absl::IsNotFound(found) || absl::IsPermissionDenied(found) ? absl::OkStatus() : found;
}

struct Final {
  S3Call call;
  bool must_not_exist = false;
  int64_t size_bytes = 0;
  // Under kWriteIdHeader, from this request or from that which began the upload.
  std::string write_id;
  // What S3 makes of the content where nothing is encrypted: an MD5, and what follows it.
  Md5Digest md5 = {};
  std::string suffix = {};

  std::string etag() const { return absl::StrCat("\"", Md5ToHex(md5), suffix, "\""); }
};

std::string WriteIdLine(const std::string& write_id) {
  return absl::StrCat(kWriteIdHeader, ": ", write_id);
}

// Whether what is stored is what was meant, and which version of it.
absl::StatusOr<ObjectInfo> FindStored(S3Bucket& bucket, const Final& final,
                                      const absl::Status& otherwise) {
  const absl::StatusOr<S3Result> found = bucket.Do({.method = "HEAD", .key = final.call.key}, {});
  if (!found.ok()) return otherwise;
  const HttpReply& reply = found->reply;
  if (reply.Amz(kWriteIdHeader) != final.write_id && reply.etag != final.etag()) return otherwise;
  return ObjectInfo{final.size_bytes, VersionOf(reply, final.size_bytes)};
}

// Sends the request that makes an object visible. `etag_of` finds the ETag in the result; where that
// has none, the object is asked for it.
template <typename EtagOf>
absl::StatusOr<ObjectInfo> MakeVisible(S3Bucket& bucket, const Final& final, EtagOf etag_of) {
  const std::string uri = bucket.UriOf(final.call.key);
  S3Call call = final.call;
  if (final.must_not_exist) {
    MUSTER_RETURN_IF_ERROR(CheckAbsent(bucket, call.key));
    call.headers.push_back("if-none-match: *");
  }
  absl::StatusOr<S3Result> result = bucket.Do(call, {});
  if (final.must_not_exist && absl::IsUnimplemented(result.status())) {
    result = bucket.Do(final.call, {});
  }
  if (!result.ok()) {
    const absl::Status status = absl::IsAborted(result.status()) ? Exists(uri) : result.status();
    const bool maybe_done = absl::IsAlreadyExists(status) || absl::IsNotFound(status);
    if (!maybe_done) return status;
    return FindStored(bucket, final, status);
  }
  MUSTER_ASSIGN_OR_RETURN(std::string etag, etag_of(*result));
  if (etag.empty()) {
    MUSTER_ASSIGN_OR_RETURN(result, bucket.Do({.method = "HEAD", .key = call.key}, {}));
    etag = result->reply.etag;
  }
  HttpReply& reply = result->reply;
  reply.etag = std::move(etag);
  MUSTER_RETURN_IF_ERROR(CheckS3Etag(uri, reply, reply.etag, final.md5, final.suffix));
  return ObjectInfo{final.size_bytes, VersionOf(reply, final.size_bytes)};
}

// A part that is gathered.
struct Gathered {
  std::string bytes;
  int64_t filled = 0;
};

class S3ObjectWriter final : public ObjectWriter {
 public:
  S3ObjectWriter(std::shared_ptr<S3Bucket> bucket, const std::string& key,
                 const ObjectStore::WriteOptions& options, int64_t part_bytes)
      : bucket_(std::move(bucket)),
        key_(key),
        options_(options),
        part_bytes_(part_bytes),
        write_id_(bucket_->NewWriteId()),
        tracker_(bucket_->UriOf(key), options) {}

  ~S3ObjectWriter() override {
    MutexLock lock(mutex_);
    if (!upload_id_.empty()) Abort(upload_id_);
    // A writer that may replace the object can't distinguish them from another writer's.
    if (may_have_lost_ && options_.must_not_exist) AbortLost();
  }

  absl::Status Write(int64_t offset, absl::string_view bytes) override {
    MUSTER_RETURN_IF_ERROR(tracker_.Begin(offset, bytes.size()));
    const absl::Status stored = Store(offset, bytes);
    tracker_.Finish(offset, bytes.size(), stored.ok());
    return stored;
  }

  absl::StatusOr<ObjectInfo> Commit() override {
    MUSTER_RETURN_IF_ERROR(tracker_.Close());
    if (options_.size_bytes > part_bytes_) return Complete();
    std::string whole;
    {
      MutexLock lock(mutex_);
      whole = std::move(gathered_[1].bytes);
    }
    return PutS3Object(*bucket_, key_, whole, options_.must_not_exist);
  }

 private:
  absl::Status Store(int64_t offset, absl::string_view bytes) {
    while (!bytes.empty()) {
      const int64_t index = offset / part_bytes_;
      const int64_t begin = index * part_bytes_;
      const int64_t end = std::min(begin + part_bytes_, options_.size_bytes);
      const absl::string_view here = bytes.substr(0, static_cast<size_t>(end - offset));
      const int number = static_cast<int>(index) + 1;
      const bool is_part =
          static_cast<int64_t>(here.size()) == end - begin && options_.size_bytes > part_bytes_;
      MUSTER_RETURN_IF_ERROR(is_part ? Upload(number, here)
                                     : Gather(number, offset - begin, here, end - begin));
      bytes.remove_prefix(here.size());
      offset = end;
    }
    return absl::OkStatus();
  }

  // Keeps bytes of a part, and uploads it once it is whole, unless it is the whole object.
  absl::Status Gather(int number, int64_t offset, absl::string_view bytes, int64_t part_bytes) {
    std::string whole;
    {
      MutexLock lock(mutex_);
      Gathered& part = gathered_[number];
      part.bytes.resize(static_cast<size_t>(part_bytes));
      std::copy(bytes.begin(), bytes.end(), part.bytes.begin() + offset);
      part.filled += static_cast<int64_t>(bytes.size());
      if (part.filled < part_bytes || options_.size_bytes <= part_bytes_) return absl::OkStatus();
      whole = std::move(part.bytes);
    }
    const absl::Status uploaded = Upload(number, whole);
    MutexLock lock(mutex_);
    if (uploaded.ok()) {
      gathered_.erase(number);
    } else {
      // The caller's bytes are his again; the others' are kept.
      gathered_[number] = {std::move(whole), part_bytes - static_cast<int64_t>(bytes.size())};
    }
    return uploaded;
  }

  absl::Status Upload(int number, absl::string_view bytes) {
    MUSTER_ASSIGN_OR_RETURN(const std::string upload_id, Begin());
    const Md5Digest md5 = Md5Of(bytes);
    MUSTER_ASSIGN_OR_RETURN(
        const S3Result result,
        bucket_->Do({.method = "PUT",
                     .key = key_,
                     .query = {{"partNumber", absl::StrCat(number)}, {"uploadId", upload_id}},
                     .headers = {ContentMd5(md5)},
                     .body = bytes},
                    {}));
    const std::string subject = absl::StrCat(bucket_->UriOf(key_), ": part ", number);
    if (result.reply.etag.empty()) {
      return absl::DataLossError(absl::StrCat(subject, ": the server's reply holds no ETag"));
    }
    MUSTER_RETURN_IF_ERROR(CheckS3Etag(subject, result.reply, result.reply.etag, md5, ""));
    MutexLock lock(mutex_);
    parts_[number] = {result.reply.etag, md5};
    return absl::OkStatus();
  }

  // The id of the upload, which the first caller begins.
  absl::StatusOr<std::string> Begin() {
    MutexLock lock(mutex_);
    if (!upload_id_.empty()) return upload_id_;
    const absl::StatusOr<S3Result> begun = bucket_->Do({.method = "POST",
                                                        .key = key_,
                                                        .query = {{"uploads", ""}},
                                                        .headers = {WriteIdLine(write_id_)},
                                                        .body = ""},
                                                       {});
    if (!begun.ok() || begun->is_repeat) may_have_lost_ = true;
    MUSTER_RETURN_IF_ERROR(begun.status());
    MUSTER_ASSIGN_OR_RETURN(upload_id_, ParseS3UploadId(bucket_->UriOf(key_), begun->body));
    return upload_id_;
  }

  // Uploads of this object started by requests whose replies were lost.
  void AbortLost() MUSTER_REQUIRES(mutex_) {
    const auto listed = bucket_->Do({.query = {{"prefix", key_}, {"uploads", ""}}}, {});
    if (!listed.ok()) return;
    const auto ids = ParseS3Uploads(bucket_->UriOf(key_), listed->body, key_);
    for (const std::string& id : ids.value_or(std::vector<std::string>())) Abort(id);
  }

  // All that can be done.
  void Abort(const std::string& upload_id) {
    bucket_->Do({.method = "DELETE", .key = key_, .query = {{"uploadId", upload_id}}}, {})
        .IgnoreError();
  }

  absl::StatusOr<ObjectInfo> Complete() {
    MutexLock lock(mutex_);
    const std::string uri = bucket_->UriOf(key_);
    const std::string xml = S3CompletionOf(parts_);
    std::vector<Md5Digest> md5s;
    for (const auto& [number, part] : parts_) md5s.push_back(part.md5);
    const Final final{.call = {.method = "POST",
                               .key = key_,
                               .query = {{"uploadId", upload_id_}},
                               .body = xml,
                               .stall_timeout = kCompletionTimeout},
                      .must_not_exist = options_.must_not_exist,
                      .size_bytes = options_.size_bytes,
                      .write_id = write_id_,
                      .md5 = Md5Root(md5s),
                      .suffix = absl::StrCat("-", parts_.size())};
    absl::StatusOr<ObjectInfo> info = MakeVisible(*bucket_, final, [&](const S3Result& result) {
      return ParseS3CompletedEtag(uri, result.body);
    });
    if (info.ok()) upload_id_.clear();
    return info;
  }

  const std::shared_ptr<S3Bucket> bucket_;
  const std::string key_;
  const ObjectStore::WriteOptions options_;
  const int64_t part_bytes_;
  const std::string write_id_;
  WriteTracker tracker_;
  Mutex mutex_;
  // "" before the first part, and once the upload is complete.
  std::string upload_id_ MUSTER_GUARDED_BY(mutex_);
  // Whether there may be uploads whose ids nobody knows.
  bool may_have_lost_ MUSTER_GUARDED_BY(mutex_) = false;
  std::map<int, S3Part> parts_ MUSTER_GUARDED_BY(mutex_);
  // By the number of the part; of one that is being uploaded, without its bytes.
  std::map<int, Gathered> gathered_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<ObjectInfo> PutS3Object(S3Bucket& bucket, const std::string& key,
                                       absl::string_view bytes, bool must_not_exist) {
  const Md5Digest md5 = Md5Of(bytes);
  const std::string write_id = bucket.NewWriteId();
  const Final final{.call = {.method = "PUT",
                             .key = key,
                             .headers = {ContentMd5(md5), WriteIdLine(write_id)},
                             .body = bytes},
                    .must_not_exist = must_not_exist,
                    .size_bytes = static_cast<int64_t>(bytes.size()),
                    .write_id = write_id,
                    .md5 = md5};
  return MakeVisible(bucket, final, [](const S3Result& result) -> absl::StatusOr<std::string> {
    return result.reply.etag;
  });
}

absl::StatusOr<std::unique_ptr<ObjectWriter>> NewS3ObjectWriter(
    std::shared_ptr<S3Bucket> bucket, const std::string& key,
    const ObjectStore::WriteOptions& options) {
  const int64_t part = options.part_size_bytes;
  const int64_t part_bytes = (kS3PartBytesMin + part - 1) / part * part;
  if (options.size_bytes > kS3PartsMax * part_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        bucket->UriOf(key), ": ", options.size_bytes, " bytes in parts of ", part_bytes,
        " are more than the ", kS3PartsMax, " parts that S3 allows; use bigger ones"));
  }
  return std::make_unique<S3ObjectWriter>(std::move(bucket), key, options, part_bytes);
}

}  // namespace muster
