// Checks of requests that need no state: forms, ranges and limits.
//
// Thread-safe: pure functions. Errors are kInvalidArgument INVALID_FIELD (metadata `field`,
// `value`, `rule`) or kResourceExhausted TOO_MANY_ITEMS.
#ifndef MUSTER_SERVER_REGISTRY_VALIDATION_H_
#define MUSTER_SERVER_REGISTRY_VALIDATION_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/field_mask.pb.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/enrolment.pb.h"
#include "muster/v1/event.pb.h"
#include "muster/v1/model.pb.h"
#include "muster/v1/node.pb.h"

namespace muster {

// The error for one field out of its range.
absl::Status InvalidField(absl::string_view field, absl::string_view value, absl::string_view rule);

// At most `max_bytes` of UTF-8 without control characters.
absl::Status CheckText(absl::string_view field, absl::string_view text, size_t max_bytes);

// `count` items of a repeated field `field`: 1 to kMaxItemsPerCall.
absl::Status CheckItemCount(absl::string_view field, size_t count);

absl::Status CheckRequestId(absl::string_view request_id);

// FAILED_PRECONDITION UID_DIFFERS: the caller knows `name` under another uid than its present one.
absl::Status CheckUid(absl::string_view name, absl::string_view wanted, absl::string_view present);
// The same for a request that may name a uid.
template <typename Request>
absl::Status CheckUidOf(const Request& request, absl::string_view name, absl::string_view present) {
  return request.has_uid() ? CheckUid(name, request.uid(), present) : absl::OkStatus();
}

absl::Status CheckModelVersion(const muster::v1::ModelVersion& version);

// `shard_count` is what the model version announced. Checks the piece list against size and root
// too.
absl::Status CheckShard(const muster::v1::Shard& shard, uint32_t shard_count);

// The batch by itself; ranges against the shard's size, and order within the batch.
absl::Status CheckTensorBatch(const muster::v1::AddTensorsRequest& request,
                              uint64_t shard_size_bytes);
absl::Status CheckCompanion(const muster::v1::Companion& companion);
absl::Status CheckLocation(const muster::v1::Location& location);
absl::Status CheckRegistration(const muster::v1::RegisterNodeRequest& request);
absl::Status CheckDrain(const muster::v1::DrainNodeRequest& request);
// Its filter.
absl::Status CheckNodeList(const muster::v1::ListNodesRequest& request);
absl::Status CheckAssembly(const muster::v1::Assembly& assembly);
// The mask, and the range of what it names.
absl::Status CheckUpdate(const muster::v1::UpdateNodeRequest& request);
absl::Status CheckUpdate(const muster::v1::UpdateAssemblyRequest& request);
bool Names(const google::protobuf::FieldMask& mask, absl::string_view field);
absl::Status CheckClaim(const muster::v1::Claim& claim, uint32_t shard_count);
absl::Status CheckReports(const muster::v1::ReportShardsRequest& request);
// The pattern, the uses and the time to live.
absl::Status CheckJoinToken(const muster::v1::CreateJoinTokenRequest& request);
// What of a request can be refused without looking at any state, so that it need not wait its turn
// to be. The commands check all of it again.
template <typename Request>
absl::Status CheckStateless(const Request&) {
  return absl::OkStatus();
}
template <>
absl::Status CheckStateless(const muster::v1::CreateModelVersionRequest& request);
template <>
absl::Status CheckStateless(const muster::v1::AddTensorsRequest& request);
template <>
absl::Status CheckStateless(const muster::v1::RegisterNodeRequest& request);
template <>
absl::Status CheckStateless(const muster::v1::CreateAssemblyRequest& request);
template <>
absl::Status CheckStateless(const muster::v1::UpdateNodeRequest& request);
template <>
absl::Status CheckStateless(const muster::v1::UpdateAssemblyRequest& request);
template <>
absl::Status CheckStateless(const muster::v1::JoinAssemblyRequest& request);
template <>
absl::Status CheckStateless(const muster::v1::ReportShardsRequest& request);

absl::Status CheckEventFilter(const muster::v1::EventFilter& filter);

// At most the first `limit` bytes of UTF-8 text, cut between characters.
std::string CutText(std::string text, size_t limit);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_VALIDATION_H_
