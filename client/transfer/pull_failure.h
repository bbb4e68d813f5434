// Why a pull, or one of its locations, failed, in the form that a node reports.
#ifndef MUSTER_CLIENT_TRANSFER_PULL_FAILURE_H_
#define MUSTER_CLIENT_TRANSFER_PULL_FAILURE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "muster/v1/assembly.pb.h"

namespace muster {

// A value.
struct PullFailure {
  using Code = muster::v1::ShardFailure::Code;

  Code code = muster::v1::ShardFailure::NODE_ERROR;
  // One sentence for people.
  std::string message = {};
  // The location's URI; "" where none is to blame.
  std::string location = {};
  // For CORRUPT where digests were compared: lowercase hex. Without pieces, the whole object's.
  std::string expected_md5 = {};
  std::string found_md5 = {};
  // The shard's name; "" where it is not known.
  std::string shard = {};
  // The reason of the error that it came from, for programs; the name of its status code where it
  // had none, as in "UNAUTHENTICATED".
  std::string reason = {};
  // For NO_SPACE: what all that is wanted would take, and what there is room for; 0 where that is
  // not known.
  uint64_t needed_bytes = 0;
  uint64_t free_bytes = 0;
  // The status code that the failure came from, for callers that act on statuses.
  absl::StatusCode status_code = absl::StatusCode::kInternal;
  // The location sends, but so slowly that the store gave up after several tries (STORAGE_SLOW).
  bool too_slow = false;
};

// For ReportShards. The message is cut at a character's boundary to what the server takes. What was found in a `file`
// stays on this node: its size and digest are left out.
muster::v1::ShardFailure ToProto(const PullFailure& failure);

// The failure as an error: its code and message, with an ErrorDetail of reason SHARD_CORRUPT,
// SHARD_MISSING, SHARD_SLOW, SHARD_UNREADABLE, LOCATION_NOT_ALLOWED, NODE_NO_SPACE or NODE_ERROR and metadata
// shard, location, expected_md5, found_md5.
absl::Status ToStatus(const PullFailure& failure);

// Classifies what an ObjectStore said about `location`: kNotFound and kOutOfRange are MISSING,
// kDataLoss and kAborted CORRUPT, kDeadlineExceeded SLOW, reason LOCATION_NOT_ALLOWED NOT_ALLOWED, the rest UNREADABLE.
PullFailure LocationFailure(const absl::Status& status, const std::string& location);

// Whether the node is to blame, and not a location.
bool IsOfNode(const PullFailure& failure);

// Classifies an error of this node: kResourceExhausted is NO_SPACE, unless what ran out are
// descriptors, the rest NODE_ERROR.
PullFailure NodeFailure(const absl::Status& status);

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_PULL_FAILURE_H_
