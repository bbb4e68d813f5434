// How a range is read:
//  1. Whole or not at all: a reply counts only if it is 206 with exactly the range that was asked
//     for, or 200 with an object that is that range, of the version that was asked for; whatever else comes is not written to the caller's
//     buffer, and never more than fits.
//  2. A transfer that breaks off resumes behind the last byte that came, if the object has a
//     version to be pinned to; without one it starts from the first byte.
//  3. What is tried again, and for how long, is HttpClient's.
#include "storage/object/http_range_receiver.h"

#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/object/object_rules.h"
#include "storage/object/rate_limit.h"

namespace muster {

std::optional<absl::Status> JudgeWithoutReading(ObjectStore& store, absl::string_view uri,
                                                absl::string_view key, int64_t offset, size_t bytes,
                                                const ObjectStore::ReadOptions& options) {
  constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
  if (offset < 0) return CheckReadRange(uri, kEnd, offset, bytes);
  if (bytes > 0 && static_cast<uint64_t>(kEnd - offset) >= bytes) return std::nullopt;
  const absl::StatusOr<ObjectInfo> info = store.Stat(key, options.stop);
  if (!info.ok()) return info.status();
  const absl::Status version = CheckVersion(uri, options.if_version, info->version);
  return version.ok() ? CheckReadRange(uri, info->size_bytes, offset, bytes) : version;
}

HttpRequest HttpRangeReceiver::NextRequest(HttpRequest request) {
  if (version_.empty()) done_ = 0;
  begun_ = done_;
  error_page_.clear();
  fault_.reset();
  request.range = Rest().ToString();
  request.pace = options_.pace;
  for (std::string& line : ConditionsFor(version_)) request.headers.push_back(std::move(line));
  return request;
}

bool HttpRangeReceiver::Take(const HttpReply& reply, absl::string_view bytes) {
  Check(reply);
  if (!fault_->ok()) {
    const bool fits = error_page_.size() + bytes.size() <= kHttpErrorPageBytesMax;
    if (reply.status >= 400 && fits) absl::StrAppend(&error_page_, bytes);
    return reply.status >= 400 && fits;
  }
  if (bytes.size() > out_.size() - done_) {
    fault_ = absl::DataLossError(absl::StrCat(uri_, ": the server sends more than the ",
                                              Rest().bytes, " bytes that were asked for"));
    return false;
  }
  std::memcpy(out_.data() + done_, bytes.data(), bytes.size());
  done_ += bytes.size();
  if (options_.limit == nullptr ||
      options_.limit->Take(static_cast<int64_t>(bytes.size()), options_.stop)) {
    return true;
  }
  fault_ = absl::CancelledError(absl::StrCat(uri_, ": the read was cancelled"));
  return false;
}

HttpAttempt HttpRangeReceiver::Finish(const absl::StatusOr<HttpReply>& reply) {
  HttpAttempt attempt;
  if (reply.ok()) {
    Check(*reply);
    attempt.retry_after = reply->retry_after;
    attempt.status = *fault_;
  } else {
    attempt.status = fault_.has_value() && !fault_->ok() ? *fault_ : Annotate(reply.status(), uri_);
  }
  if (attempt.status.ok() && done_ < out_.size()) {
    attempt.status = absl::UnavailableError(
        absl::StrCat(uri_, ": the server sent ", done_, " of ", out_.size(), " bytes"));
  }
  attempt.progress = done_ > begun_ && !version_.empty();
  return attempt;
}

void HttpRangeReceiver::Check(const HttpReply& reply) {
  if (fault_.has_value()) return;
  // Begins at the first byte, whatever was asked for.
  if (IsWholeReply(reply, {offset_, static_cast<int64_t>(out_.size())})) done_ = 0;
  fault_ = CheckRangeReply(uri_, reply, Rest(), version_);
  if (fault_->ok() && version_.empty()) version_ = VersionOf(reply, ObjectSizeOf(reply));
}

}  // namespace muster
