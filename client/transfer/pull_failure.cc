#include "client/transfer/pull_failure.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

using muster::v1::ShardFailure;

absl::string_view ReasonFor(ShardFailure::Code code) {
  switch (code) {
    case ShardFailure::CORRUPT:
      return reasons::kShardCorrupt;
    case ShardFailure::MISSING:
      return reasons::kShardMissing;
    case ShardFailure::SLOW:
      return reasons::kShardSlow;
    case ShardFailure::UNREADABLE:
      return reasons::kShardUnreadable;
    case ShardFailure::NO_SPACE:
      return reasons::kNodeNoSpace;
    case ShardFailure::NOT_ALLOWED:
      return reasons::kLocationNotAllowed;
    default:
      return reasons::kNodeError;
  }
}

ShardFailure::Code CodeFor(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kOutOfRange:
      return ShardFailure::MISSING;
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kAborted:
      return ShardFailure::CORRUPT;
    case absl::StatusCode::kDeadlineExceeded:
      return ShardFailure::SLOW;
    default:
      return ShardFailure::UNREADABLE;
  }
}

// Who registers a location says what this node opens, and hears of the failure: it must not become a way to ask for the
// sizes and digests of the node's files.
bool TellsOfAFile(const PullFailure& failure) {
  return absl::StartsWithIgnoreCase(failure.location, "file:") &&
         (failure.code == ShardFailure::CORRUPT || failure.code == ShardFailure::MISSING);
}

std::string MessageForOthers(const PullFailure& failure) {
  if (!TellsOfAFile(failure)) return failure.message;
  return absl::StrCat(failure.location, ": ",
                      failure.code == ShardFailure::MISSING
                          ? "is missing, or shorter than registered"
                          : "its bytes are not those that were registered",
                      "; the log of this node's agent says what it found");
}

// Errors of other libraries and of the system have no reason of ours.
std::string ReasonForPrograms(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  return reason.empty() ? absl::StatusCodeToString(status.code()) : reason;
}

bool IsContinuationByte(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

ShardFailure ToProto(const PullFailure& failure) {
  const std::string message = MessageForOthers(failure);
  size_t length = message.size();
  if (length > kMaxFailureMessageBytes) {
    length = kMaxFailureMessageBytes;
    while (length > 0 && IsContinuationByte(message[length])) --length;
  }
  ShardFailure proto;
  proto.set_code(failure.code);
  proto.set_message(message.substr(0, length));
  proto.set_location(failure.location);
  proto.set_reason(failure.reason);
  proto.set_needed_bytes(failure.needed_bytes);
  proto.set_free_bytes(failure.free_bytes);
  proto.set_expected_md5(failure.expected_md5);
  if (!TellsOfAFile(failure)) proto.set_found_md5(failure.found_md5);
  return proto;
}

absl::Status ToStatus(const PullFailure& failure) {
  std::map<std::string, std::string> metadata;
  if (!failure.shard.empty()) metadata["shard"] = failure.shard;
  if (!failure.location.empty()) metadata["location"] = failure.location;
  if (!failure.expected_md5.empty()) metadata["expected_md5"] = failure.expected_md5;
  if (!failure.found_md5.empty()) metadata["found_md5"] = failure.found_md5;
  return MakeError(failure.status_code, ReasonFor(failure.code), failure.message,
                   std::move(metadata));
}

PullFailure LocationFailure(const absl::Status& status, const std::string& location) {
  PullFailure failure;
  const bool allowed = ReasonOf(status) != reasons::kLocationNotAllowed;
  failure.code = allowed ? CodeFor(status.code()) : ShardFailure::NOT_ALLOWED;
  failure.reason = ReasonForPrograms(status);
  failure.message = std::string(status.message());
  failure.location = location;
  failure.status_code = status.code();
  failure.too_slow = ReasonOf(status) == reasons::kStorageSlow;
  if (failure.code == ShardFailure::MISSING) failure.status_code = absl::StatusCode::kNotFound;
  if (failure.code == ShardFailure::CORRUPT) failure.status_code = absl::StatusCode::kDataLoss;
  if (status.code() == absl::StatusCode::kAborted) {
    failure.message = "the object was replaced during the pull: " + failure.message;
  }
  return failure;
}

bool IsOfNode(const PullFailure& failure) {
  return failure.code == ShardFailure::NODE_ERROR || failure.code == ShardFailure::NO_SPACE;
}

PullFailure NodeFailure(const absl::Status& status) {
  const bool full =
      absl::IsResourceExhausted(status) && ReasonOf(status) != reasons::kTooManyOpenFiles;
  PullFailure failure{.code = full ? ShardFailure::NO_SPACE : ShardFailure::NODE_ERROR,
                      .message = std::string(status.message()),
                      .status_code = status.code()};
  const ErrorDetail detail = DetailOf(status);
  failure.reason = ReasonForPrograms(status);
  const auto bytes_of = [&](const char* key) {
    const auto it = detail.metadata.find(key);
    uint64_t bytes = 0;
    return it != detail.metadata.end() && absl::SimpleAtoi(it->second, &bytes) ? bytes : 0;
  };
  if (detail.reason == reasons::kCacheFull) {
    failure.needed_bytes = bytes_of("needed_bytes");
    failure.free_bytes = bytes_of("available_bytes");
  }
  return failure;
}

}  // namespace muster
