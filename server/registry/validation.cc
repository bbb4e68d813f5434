#include "server/registry/validation.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/placement_policy.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

bool HasControlCharacter(absl::string_view text) {
  for (const char c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) return true;
  }
  return false;
}

absl::Status CheckRange(absl::string_view field, uint64_t value, uint64_t min, uint64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return InvalidField(field, absl::StrCat(value), absl::StrCat(min, " to ", max));
}

absl::Status CheckHex(absl::string_view field, absl::string_view hex, size_t digits) {
  bool valid = hex.size() == digits;
  for (const char c : hex) valid = valid && ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
  if (valid) return absl::OkStatus();
  return InvalidField(field, hex, absl::StrCat(digits, " lowercase hex digits"));
}

// Digests of the pieces against size, piece size and root.
absl::Status CheckPieces(const v1::Shard& shard) {
  const std::string& md5s = shard.piece_md5s();
  const uint64_t piece_size = shard.piece_size_bytes();
  if (md5s.empty()) {
    if (!shard.root().empty() || piece_size != 0) {
      return InvalidField("piece_md5s", "", "required where root or piece_size_bytes is given");
    }
    return absl::OkStatus();
  }
  if (piece_size < kMinPieceSizeBytes || piece_size > kMaxPieceSizeBytes ||
      (piece_size & (piece_size - 1)) != 0) {
    return InvalidField("piece_size_bytes", absl::StrCat(piece_size),
                        "a power of two from 1048576 to 67108864");
  }
  const uint64_t pieces = (shard.size_bytes() - 1) / piece_size + 1;
  MUSTER_RETURN_IF_ERROR(CheckRange("number of pieces", pieces, 1, kMaxPiecesPerShard));
  if (md5s.size() != pieces * sizeof(Md5Digest)) {
    return InvalidField("piece_md5s", absl::StrCat(md5s.size(), " bytes"),
                        absl::StrCat(pieces * sizeof(Md5Digest), " bytes: ", pieces,
                                     " pieces of 16 bytes for ", shard.size_bytes(), " bytes"));
  }
  const std::string root = Md5ToHex(Md5Of(md5s));
  if (shard.root() != root) {
    return InvalidField("root", shard.root(), absl::StrCat(root, ", the MD5 of piece_md5s"));
  }
  return absl::OkStatus();
}

absl::Status CheckTensor(const v1::Tensor& tensor, uint64_t shard_size_bytes) {
  if (tensor.name().empty())
    return InvalidField("tensor name", "", absl::StrCat("1 to ", kMaxTensorNameBytes, " bytes"));
  MUSTER_RETURN_IF_ERROR(CheckText("tensor name", tensor.name(), kMaxTensorNameBytes));
  if (tensor.dtype().empty())
    return InvalidField("dtype", "", absl::StrCat("1 to ", kMaxDtypeBytes, " bytes"));
  MUSTER_RETURN_IF_ERROR(CheckText("dtype", tensor.dtype(), kMaxDtypeBytes));
  if (tensor.shape_size() > kMaxTensorDimensions) {
    return InvalidField("shape", absl::StrCat(tensor.shape_size(), " dimensions"),
                        absl::StrCat("at most ", kMaxTensorDimensions));
  }
  for (const int64_t size : tensor.shape()) {
    if (size < 0) return InvalidField("shape", absl::StrCat(size), "at least 0");
  }
  if (tensor.begin_bytes() > tensor.end_bytes() || tensor.end_bytes() > shard_size_bytes) {
    return InvalidField(absl::StrCat("range of tensor '", tensor.name(), "'"),
                        absl::StrCat(tensor.begin_bytes(), "-", tensor.end_bytes()),
                        absl::StrCat("inside the shard's ", shard_size_bytes, " bytes"));
  }
  return absl::OkStatus();
}

template <typename Map>
absl::Status CheckMap(absl::string_view field, const Map& map, size_t max_total_bytes) {
  size_t total = 0;
  for (const auto& [key, value] : map) total += key.size() + value.size();
  if (map.size() > kMaxMapEntries || total > max_total_bytes) {
    return InvalidField(
        field, absl::StrCat(map.size(), " entries, ", total, " bytes"),
        absl::StrCat("at most ", kMaxMapEntries, " entries and ", max_total_bytes, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status CheckLocations(const google::protobuf::RepeatedPtrField<v1::Location>& locations) {
  if (locations.empty() || locations.size() > kMaxLocationsPerShard) {
    return InvalidField("locations", absl::StrCat(locations.size()),
                        absl::StrCat("1 to ", kMaxLocationsPerShard));
  }
  std::set<std::string> uris;
  for (const auto& location : locations) {
    MUSTER_RETURN_IF_ERROR(CheckLocation(location));
    if (!uris.insert(location.uri()).second) {
      return InvalidField("uri", location.uri(), "each location once");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLabels(absl::string_view field,
                         const google::protobuf::Map<std::string, std::string>& labels) {
  MUSTER_RETURN_IF_ERROR(CheckMap(field, labels, kMaxMapEntries * 2 * kMaxShortTextBytes));
  for (const auto& [key, value] : labels) {
    MUSTER_RETURN_IF_ERROR(CheckText("label", key, kMaxShortTextBytes));
    MUSTER_RETURN_IF_ERROR(CheckText("label", value, kMaxShortTextBytes));
  }
  return absl::OkStatus();
}

// "DECLARED, FULL, BALANCED, CONTIGUOUS or RANKED": in the order of their numbers.
std::string PolicyNames() {
  std::map<PlacementPolicy, absl::string_view> names;
  for (const PolicyTraits& traits : PlacementPolicies()) names[traits.policy] = traits.name;
  std::string out;
  for (const auto& [policy, name] : names) {
    absl::StrAppend(&out, out.empty() ? "" : policy == names.rbegin()->first ? " or " : ", ", name);
  }
  return out;
}

// What an assembly asks of its plans.
absl::Status CheckSettings(const v1::Assembly& assembly) {
  MUSTER_RETURN_IF_ERROR(CheckRange("min_nodes", assembly.min_nodes(), 0, kMaxMinNodes));
  MUSTER_RETURN_IF_ERROR(
      CheckRange("move_budget_bytes", assembly.move_budget_bytes(), 0, kMaxVersionBytes));
  return CheckRange("replicas", assembly.replicas(), 0, kMaxReplicas);
}

// The fields that may be changed.
absl::Status CheckMask(const google::protobuf::FieldMask& mask,
                       const std::vector<std::string>& fields) {
  const std::string rule = absl::StrCat("one or more of ", absl::StrJoin(fields, ", "));
  if (mask.paths().empty()) return InvalidField("update_mask", "", rule);
  for (const std::string& path : mask.paths()) {
    if (std::find(fields.begin(), fields.end(), path) == fields.end()) {
      return InvalidField("update_mask", path, rule);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDuration(absl::string_view field, const google::protobuf::Duration& duration,
                           int64_t min_us, int64_t max_us) {
  const int64_t max_s = max_us / 1'000'000;
  const bool valid =
      duration.seconds() >= min_us / 1'000'000 && duration.nanos() >= 0 &&
      (duration.seconds() < max_s || (duration.seconds() == max_s && duration.nanos() == 0));
  if (valid) return absl::OkStatus();
  return InvalidField(field, absl::StrCat(duration.seconds(), "s"),
                      absl::StrCat(min_us / 1'000'000, "s to ", max_s, "s"));
}

}  // namespace

absl::Status CheckText(absl::string_view field, absl::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes) {
    return InvalidField(field, absl::StrCat(text.size(), " bytes"),
                        absl::StrCat("at most ", max_bytes, " bytes"));
  }
  if (HasControlCharacter(text)) return InvalidField(field, text, "no control characters");
  return absl::OkStatus();
}

absl::Status CheckUid(absl::string_view name, absl::string_view wanted, absl::string_view present) {
  if (wanted == present) return absl::OkStatus();
  MUSTER_RETURN_IF_ERROR(CheckText("uid", wanted, kMaxShortTextBytes));
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kUidDiffers,
                   absl::StrCat(name, " has the uid ", present, ", and the call is for ", wanted,
                                ": it was made again under its name; look at it before you go on"),
                   {{"name", std::string(name)},
                    {"uid", std::string(wanted)},
                    {"present_uid", std::string(present)}});
}

absl::Status InvalidField(absl::string_view field, absl::string_view value,
                          absl::string_view rule) {
  const std::string shown = absl::CHexEscape(value.substr(0, 200));
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kInvalidField,
                   absl::StrCat(field, " is '", shown, "': expected ", rule),
                   {{"field", std::string(field)}, {"value", shown}, {"rule", std::string(rule)}});
}

absl::Status CheckItemCount(absl::string_view field, size_t count) {
  if (count == 0) return InvalidField(field, "", "at least one");
  if (count <= kMaxItemsPerCall) return absl::OkStatus();
  return MakeError(absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
                   absl::StrCat(count, " ", field, " in one call: send at most ", kMaxItemsPerCall),
                   {{"field", std::string(field)},
                    {"count", absl::StrCat(count)},
                    {"limit", absl::StrCat(kMaxItemsPerCall)}});
}

absl::Status CheckRequestId(absl::string_view request_id) {
  return CheckText("request_id", request_id, kMaxIdBytes);
}

absl::Status CheckModelVersion(const v1::ModelVersion& version) {
  MUSTER_RETURN_IF_ERROR(ParseModelVersionName(version.name()).status());
  MUSTER_RETURN_IF_ERROR(CheckRange("shard_count", version.shard_count(), 1, kMaxShardsPerVersion));
  MUSTER_RETURN_IF_ERROR(CheckRange("tensor_count", version.tensor_count(), 0,
                                    uint64_t{kMaxTensorsPerShard} * kMaxShardsPerVersion));
  MUSTER_RETURN_IF_ERROR(
      CheckRange("companion_count", version.companion_count(), 0, kMaxCompanionsPerVersion));
  MUSTER_RETURN_IF_ERROR(CheckText("strategy", version.strategy(), kMaxShortTextBytes));
  return CheckMap("annotations", version.annotations(), kMaxAnnotationBytes);
}

absl::Status CheckLocation(const v1::Location& location) {
  const absl::string_view uri = location.uri();
  const size_t colon = uri.find("://");
  bool valid = colon != absl::string_view::npos && colon > 0 && uri.size() <= kMaxUriBytes &&
               uri.size() > colon + 3 && absl::ascii_isalpha(static_cast<unsigned char>(uri[0]));
  for (const char c : uri) {
    const auto byte = static_cast<unsigned char>(c);
    valid = valid && !absl::ascii_iscntrl(byte) && byte != ' ';
  }
  for (const char c : uri.substr(0, valid ? colon : 0)) {
    valid = valid && (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '-' ||
                      c == '.');
  }
  if (!valid) {
    return InvalidField(
        "uri", uri, absl::StrCat("scheme://…, percent-encoded, at most ", kMaxUriBytes, " bytes"));
  }
  MUSTER_RETURN_IF_ERROR(CheckText("zone", location.zone(), kMaxShortTextBytes));
  MUSTER_RETURN_IF_ERROR(CheckRange("priority", location.priority(), 0, kMaxLocationPriority));
  MUSTER_RETURN_IF_ERROR(CheckText("version", location.version(), kMaxLocationVersionBytes));
  return CheckRange("max_readers", location.max_readers(), 0, kMaxLocationReaders);
}

namespace {

absl::Status CheckEncoding(const v1::Shard& shard) {
  MUSTER_RETURN_IF_ERROR(CheckText("encoding", shard.encoding(), kMaxShortTextBytes));
  MUSTER_RETURN_IF_ERROR(CheckText("key_id", shard.key_id(), kMaxKeyIdBytes));
  if (shard.encoding().empty()) {
    MUSTER_RETURN_IF_ERROR(CheckRange("content_size_bytes", shard.content_size_bytes(), 0, 0));
    if (shard.key_id().empty()) return absl::OkStatus();
    return InvalidField("key_id", shard.key_id(), "empty unless encoding is given");
  }
  return CheckRange("content_size_bytes", shard.content_size_bytes(), 1, INT64_MAX);
}

}  // namespace

absl::Status CheckShard(const v1::Shard& shard, uint32_t shard_count) {
  if (!shard.has_index()) return InvalidField("index", "", "required (0 is valid)");
  MUSTER_RETURN_IF_ERROR(CheckRange("index", shard.index(), 0, uint64_t{shard_count} - 1));
  // Offsets are signed 64-bit numbers everywhere on the node side.
  MUSTER_RETURN_IF_ERROR(CheckRange("size_bytes", shard.size_bytes(), 1, INT64_MAX));
  if (shard.md5().empty() && shard.root().empty()) {
    return InvalidField("md5", "", "required unless root and piece_md5s are given");
  }
  if (!shard.md5().empty()) MUSTER_RETURN_IF_ERROR(CheckHex("md5", shard.md5(), 32));
  if (!shard.root().empty()) MUSTER_RETURN_IF_ERROR(CheckHex("root", shard.root(), 32));
  if (!shard.sha256().empty()) MUSTER_RETURN_IF_ERROR(CheckHex("sha256", shard.sha256(), 64));
  MUSTER_RETURN_IF_ERROR(CheckPieces(shard));
  MUSTER_RETURN_IF_ERROR(CheckRange("tensor_count", shard.tensor_count(), 0, kMaxTensorsPerShard));
  MUSTER_RETURN_IF_ERROR(CheckEncoding(shard));
  MUSTER_RETURN_IF_ERROR(CheckText("source_path", shard.source_path(), kMaxPathBytes));
  MUSTER_RETURN_IF_ERROR(
      CheckRange("source_offset_bytes", shard.source_offset_bytes(), 0, INT64_MAX));
  return CheckLocations(shard.locations());
}

template <>
absl::Status CheckStateless(const v1::AddTensorsRequest& request) {
  if (!request.has_start()) return InvalidField("start", "", "required (0 is valid)");
  MUSTER_RETURN_IF_ERROR(CheckItemCount("tensors", request.tensors_size()));
  if (request.ByteSizeLong() > kMaxTensorBatchBytes) {
    return MakeError(absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
                     absl::StrCat("a batch of tensors has ", request.ByteSizeLong(),
                                  " bytes: send at most ", kMaxTensorBatchBytes),
                     {{"field", "tensors"}, {"limit", absl::StrCat(kMaxTensorBatchBytes)}});
  }
  return absl::OkStatus();
}

absl::Status CheckTensorBatch(const v1::AddTensorsRequest& request, uint64_t shard_size_bytes) {
  MUSTER_RETURN_IF_ERROR(CheckStateless(request));
  uint64_t position = 0;
  for (const auto& tensor : request.tensors()) {
    MUSTER_RETURN_IF_ERROR(CheckTensor(tensor, shard_size_bytes));
    if (tensor.begin_bytes() < position) {
      return InvalidField(absl::StrCat("range of tensor '", tensor.name(), "'"),
                          absl::StrCat(tensor.begin_bytes(), "-", tensor.end_bytes()),
                          "ascending ranges that do not overlap");
    }
    position = tensor.end_bytes();
  }
  return absl::OkStatus();
}

absl::Status CheckCompanion(const v1::Companion& companion) {
  const absl::string_view path = companion.path();
  MUSTER_RETURN_IF_ERROR(CheckText("path", path, kMaxPathBytes));
  for (const absl::string_view segment : absl::StrSplit(path, '/')) {
    if (segment.empty() || segment == "." || segment == ".." || absl::StrContains(path, '\\')) {
      return InvalidField("path", path, "a relative path without empty, '.' or '..' segments");
    }
  }
  MUSTER_RETURN_IF_ERROR(CheckRange("size_bytes", companion.size_bytes(), 0, kMaxCompanionBytes));
  MUSTER_RETURN_IF_ERROR(CheckHex("md5", companion.md5(), 32));
  return CheckLocations(companion.locations());
}

absl::Status CheckRegistration(const v1::RegisterNodeRequest& request) {
  const v1::Node& node = request.node();
  MUSTER_RETURN_IF_ERROR(ParseNodeName(node.name()).status());
  MUSTER_RETURN_IF_ERROR(CheckText("address", node.address(), kMaxAddressBytes));
  MUSTER_RETURN_IF_ERROR(CheckText("zone", node.zone(), kMaxShortTextBytes));
  MUSTER_RETURN_IF_ERROR(CheckText("instance_id", node.instance_id(), kMaxIdBytes));
  MUSTER_RETURN_IF_ERROR(CheckLabels("labels", node.labels()));
  MUSTER_RETURN_IF_ERROR(CheckRange("capacity_bytes", node.capacity_bytes(), 0, INT64_MAX));
  const std::string& digests = request.cached_digests();
  if (digests.size() % sizeof(Md5Digest) != 0 ||
      digests.size() > kMaxInventoryDigests * sizeof(Md5Digest)) {
    return InvalidField("cached_digests", absl::StrCat(digests.size(), " bytes"),
                        absl::StrCat(sizeof(Md5Digest), " bytes a shard, at most ",
                                     kMaxInventoryDigests, " shards"));
  }
  const size_t identity_bytes = request.identity().size();
  if (identity_bytes > 0 &&
      (identity_bytes < kMinIdentityBytes || identity_bytes > kMaxIdentityBytes)) {
    // Never the bytes themselves: they are a secret.
    return InvalidField(
        "identity", absl::StrCat(identity_bytes, " bytes"),
        absl::StrCat("none, or ", kMinIdentityBytes, " to ", kMaxIdentityBytes, " bytes"));
  }
  if (!request.has_lease_ttl()) return absl::OkStatus();
  return CheckDuration("lease_ttl", request.lease_ttl(), kMinLeaseTtlUs, kMaxLeaseTtlUs);
}

absl::Status CheckDrain(const v1::DrainNodeRequest& request) {
  if (!request.has_deadline()) return absl::OkStatus();
  return CheckDuration("deadline", request.deadline(), kMinDrainUs, kMaxDrainUs);
}

bool Names(const google::protobuf::FieldMask& mask, absl::string_view field) {
  return std::find(mask.paths().begin(), mask.paths().end(), field) != mask.paths().end();
}

absl::Status CheckUpdate(const v1::UpdateNodeRequest& request) {
  MUSTER_RETURN_IF_ERROR(ParseNodeName(request.node().name()).status());
  MUSTER_RETURN_IF_ERROR(CheckMask(request.update_mask(), {"labels", "capacity_bytes"}));
  MUSTER_RETURN_IF_ERROR(CheckLabels("labels", request.node().labels()));
  return CheckRange("capacity_bytes", request.node().capacity_bytes(), 0, INT64_MAX);
}

absl::Status CheckUpdate(const v1::UpdateAssemblyRequest& request) {
  const v1::Assembly& assembly = request.assembly();
  MUSTER_RETURN_IF_ERROR(ParseAssemblyName(assembly.name()).status());
  MUSTER_RETURN_IF_ERROR(
      CheckMask(request.update_mask(), {"min_nodes", "replicas", "move_budget_bytes"}));
  return CheckSettings(assembly);
}

absl::Status CheckNodeList(const v1::ListNodesRequest& request) {
  if (!v1::Node::State_IsValid(request.state())) {
    return InvalidField("state", absl::StrCat(request.state()), "LIVE or LOST");
  }
  MUSTER_RETURN_IF_ERROR(CheckText("zone", request.zone(), kMaxShortTextBytes));
  return CheckLabels("labels", request.labels());
}

absl::Status CheckAssembly(const v1::Assembly& assembly) {
  MUSTER_RETURN_IF_ERROR(ParseAssemblyName(assembly.name()).status());
  MUSTER_RETURN_IF_ERROR(ParseModelVersionName(assembly.model_version()).status());
  if (!v1::Assembly::Policy_IsValid(assembly.policy()) ||
      assembly.policy() == v1::Assembly::POLICY_UNSPECIFIED) {
    return InvalidField("policy", absl::StrCat(assembly.policy()), PolicyNames());
  }
  MUSTER_RETURN_IF_ERROR(CheckLabels("node_selector", assembly.node_selector()));
  return CheckSettings(assembly);
}

absl::Status CheckClaim(const v1::Claim& claim, uint32_t shard_count) {
  switch (claim.kind()) {
    case v1::Claim::ANY:
    case v1::Claim::ALL:
      if (claim.shards().empty() && claim.ranks().empty()) return absl::OkStatus();
      return InvalidField("claim", "", "no shards or ranks with ANY or ALL");
    // The whole claim is stored, so that a list which means nothing is refused rather than left unread.
    case v1::Claim::SHARDS: {
      if (!claim.ranks().empty()) {
        return InvalidField("ranks", absl::StrCat(claim.ranks_size(), " ranks"),
                            "none with SHARDS");
      }
      if (claim.shards().empty()) return InvalidField("shards", "", "at least one with SHARDS");
      if (claim.shards_size() > kMaxClaimedShards) {
        return InvalidField("shards", absl::StrCat(claim.shards_size(), " shards"),
                            absl::StrCat("at most ", kMaxClaimedShards, "; claim ALL or ANY"));
      }
      std::set<uint32_t> missing;
      for (const uint32_t shard : claim.shards()) {
        if (shard >= shard_count && missing.size() < 20) missing.insert(shard);
      }
      if (missing.empty()) return absl::OkStatus();
      const std::string list = absl::StrJoin(missing, ",");
      return MakeError(
          absl::StatusCode::kInvalidArgument, reasons::kShardOutOfRange,
          absl::StrCat("claimed shard ", list, " does not exist: the model version has ",
                       shard_count, " shards, 0 to ", shard_count - 1),
          {{"shards", list}, {"shard_count", absl::StrCat(shard_count)}});
    }
    case v1::Claim::RANKS:
      if (!claim.shards().empty()) {
        return InvalidField("shards", absl::StrCat(claim.shards_size(), " shards"),
                            "none with RANKS");
      }
      if (claim.ranks().empty()) return InvalidField("ranks", "", "at least one with RANKS");
      if (claim.ranks_size() <= kMaxClaimedShards) return absl::OkStatus();
      return InvalidField("ranks", absl::StrCat(claim.ranks_size(), " ranks"),
                          absl::StrCat("at most ", kMaxClaimedShards));
    default:
      return InvalidField("claim", absl::StrCat(claim.kind()), "kind ANY, ALL, SHARDS or RANKS");
  }
}

namespace {

// Enums are open on the wire: any number arrives, and would be kept.
absl::Status CheckFailureCode(absl::string_view field, int code) {
  if (v1::ShardFailure::Code_IsValid(code)) return absl::OkStatus();
  return InvalidField(field, absl::StrCat(code), "a code of ShardFailure, or none");
}

}  // namespace

absl::Status CheckReports(const v1::ReportShardsRequest& request) {
  if (request.reports().empty() || request.reports_size() > kMaxItemsPerCall) {
    return InvalidField("reports", absl::StrCat(request.reports_size(), " reports"),
                        absl::StrCat("1 to ", kMaxItemsPerCall, " a call"));
  }
  if (!request.has_epoch()) return InvalidField("epoch", "", "required");
  std::set<uint32_t> seen;
  for (const auto& report : request.reports()) {
    if (!report.has_shard()) return InvalidField("shard", "", "required (0 is valid)");
    if (!report.has_generation()) return InvalidField("generation", "", "required");
    if (!v1::ShardReport::State_IsValid(report.state()) ||
        report.state() == v1::ShardReport::STATE_UNSPECIFIED) {
      return InvalidField("state", absl::StrCat(report.state()),
                          "PENDING, FETCHING, READY or FAILED");
    }
    if (report.locations_size() > kMaxLocationsPerShard) {
      return InvalidField("locations", absl::StrCat(report.locations_size()),
                          absl::StrCat("at most ", kMaxLocationsPerShard, " a report"));
    }
    MUSTER_RETURN_IF_ERROR(CheckFailureCode("failure.code", report.failure().code()));
    for (const v1::LocationReport& location : report.locations()) {
      MUSTER_RETURN_IF_ERROR(CheckFailureCode("locations.code", location.code()));
    }
    if (!seen.insert(report.shard()).second) {
      return InvalidField("shard", absl::StrCat(report.shard()), "each shard at most once a call");
    }
  }
  return absl::OkStatus();
}

template <>
absl::Status CheckStateless(const v1::CreateModelVersionRequest& request) {
  return CheckModelVersion(request.model_version());
}

template <>
absl::Status CheckStateless(const v1::RegisterNodeRequest& request) {
  return CheckRegistration(request);
}

template <>
absl::Status CheckStateless(const v1::CreateAssemblyRequest& request) {
  return CheckAssembly(request.assembly());
}

template <>
absl::Status CheckStateless(const v1::UpdateNodeRequest& request) {
  return CheckUpdate(request);
}

template <>
absl::Status CheckStateless(const v1::UpdateAssemblyRequest& request) {
  return CheckUpdate(request);
}

template <>
absl::Status CheckStateless(const v1::JoinAssemblyRequest& request) {
  if (!request.has_epoch()) return InvalidField("epoch", "", "required");
  // How many shards there are only the model version says.
  return CheckClaim(request.claim(), UINT32_MAX);
}

template <>
absl::Status CheckStateless(const v1::ReportShardsRequest& request) {
  return CheckReports(request);
}

absl::Status CheckJoinToken(const v1::CreateJoinTokenRequest& request) {
  absl::string_view pattern = request.node_pattern();
  const bool is_beginning = absl::ConsumeSuffix(&pattern, "*");
  // What a name may begin with is a name once something follows it.
  const std::string name = absl::StrCat("nodes/", pattern, is_beginning ? "0" : "");
  if (pattern.size() > kMaxNodeNameLength || !ParseNodeName(name).ok()) {
    return InvalidField("node_pattern", request.node_pattern(),
                        "the name of a node, or how some begin and '*'");
  }
  if (request.has_uses()) {
    MUSTER_RETURN_IF_ERROR(CheckRange("uses", request.uses(), 1, kMaxJoinTokenUses));
  }
  if (!request.has_ttl()) return absl::OkStatus();
  return CheckDuration("ttl", request.ttl(), kMinJoinTokenTtlUs, kMaxJoinTokenTtlUs);
}

absl::Status CheckEventFilter(const v1::EventFilter& filter) {
  if (!filter.node().empty()) MUSTER_RETURN_IF_ERROR(ParseNodeName(filter.node()).status());
  if (!filter.assembly().empty()) {
    MUSTER_RETURN_IF_ERROR(ParseAssemblyName(filter.assembly()).status());
  }
  if (!filter.model_version().empty()) {
    MUSTER_RETURN_IF_ERROR(ParseModelVersionName(filter.model_version()).status());
  }
  if (filter.kinds_size() > kMaxFilterKinds) {
    return InvalidField("kinds", absl::StrCat(filter.kinds_size(), " kinds"),
                        absl::StrCat("at most ", kMaxFilterKinds));
  }
  for (const int kind : filter.kinds()) {
    if (!v1::Event::Kind_IsValid(kind)) {
      return InvalidField("kinds", absl::StrCat(kind), "kinds of events that this server knows");
    }
  }
  return absl::OkStatus();
}

std::string CutText(std::string text, size_t limit) {
  if (text.size() <= limit) return text;
  // Not within a UTF-8 sequence, as a row with it would not be valid.
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
  text.resize(limit);
  return text;
}

}  // namespace muster
