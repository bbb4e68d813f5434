#include "client/agent/expected_shards.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "client/sdk/pages.h"
#include "storage/base/error_info.h"
#include "storage/base/placement_policy.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Nothing for a node that is not registered.
absl::StatusOr<std::vector<v1::AssignedShard>> PresentAssignments(Client& client,
                                                                  const std::string& node,
                                                                  const CallOptions& call) {
  std::vector<v1::AssignedShard> assigned;
  v1::GetNodeRequest get;
  get.set_name(node);
  const absl::StatusOr<v1::GetNodeResponse> found = client.GetNode(get, call);
  if (ReasonOf(found.status()) == reasons::kNodeUnknown) return assigned;
  MUSTER_RETURN_IF_ERROR(found.status());
  v1::WatchAssignmentsRequest watch;
  watch.set_node(node);
  watch.set_epoch(found->node().epoch());
  MUSTER_RETURN_IF_ERROR(client.WatchAssignments(
      watch,
      [&assigned](const v1::WatchAssignmentsResponse& message) {
        assigned.insert(assigned.end(), message.assigned().begin(), message.assigned().end());
        // The snapshot is enough.
        return !message.complete() && !message.progress();
      },
      call));
  return assigned;
}

absl::StatusOr<v1::Assembly> AssemblyOf(Client& client, const Membership& membership,
                                        const CallOptions& call) {
  v1::GetAssemblyRequest get;
  get.set_name(membership.assembly);
  absl::StatusOr<v1::GetAssemblyResponse> found = client.GetAssembly(get, call);
  if (found.ok()) return std::move(*found->mutable_assembly());
  if (ReasonOf(found.status()) == reasons::kAssemblyUnknown && membership.create.has_value()) {
    return *membership.create;
  }
  return found.status();
}

// What a node gets by its claim, for one assembly.
class ClaimedShards {
 public:
  ClaimedShards(v1::Assembly::Policy policy, const v1::Claim& claim)
      : meaning_(MeaningOf(PolicyOf(policy), ClaimKindOf(claim.kind()))) {
    const auto& numbers = meaning_ == ClaimKind::kRanks ? claim.ranks() : claim.shards();
    numbers_.assign(numbers.begin(), numbers.end());
    std::sort(numbers_.begin(), numbers_.end());
  }

  // False where the server chooses, so that any shard may come.
  bool decided() const { return meaning_ != ClaimKind::kAny; }

  bool MayHave(const v1::Shard& shard) const {
    const std::optional<uint32_t> rank =
        shard.has_rank() ? std::optional(shard.rank()) : std::nullopt;
    return !decided() || Covers(meaning_, numbers_, shard.index(), rank);
  }

 private:
  ClaimKind meaning_;
  std::vector<uint32_t> numbers_;
};

}  // namespace

absl::StatusOr<ExpectedShards> ExpectShards(Client& client, const AgentOptions& options,
                                            const CallOptions& call) {
  MUSTER_ASSIGN_OR_RETURN(std::vector<v1::AssignedShard> assigned,
                          PresentAssignments(client, options.node.name(), call));
  ExpectedShards expected;
  for (const auto& membership : options.memberships) {
    MUSTER_ASSIGN_OR_RETURN(const v1::Assembly assembly, AssemblyOf(client, membership, call));
    const bool has_some = std::any_of(assigned.begin(), assigned.end(), [&](const auto& shard) {
      return shard.assembly() == membership.assembly;
    });
    if (has_some) continue;
    const ClaimedShards claimed(assembly.policy(), membership.claim);
    MUSTER_RETURN_IF_ERROR(ForEachShard(
        client, assembly.model_version(),
        [&](const v1::Shard& shard) {
          if (claimed.MayHave(shard)) expected.shards.push_back(shard);
          return absl::OkStatus();
        },
        call));
    if (!claimed.decided()) expected.at_most = true;
  }
  for (v1::AssignedShard& shard : assigned) {
    expected.shards.push_back(std::move(*shard.mutable_shard()));
  }
  return expected;
}

}  // namespace muster
