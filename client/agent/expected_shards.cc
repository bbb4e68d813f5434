#include "client/agent/expected_shards.h"

#include <algorithm>
#include <utility>

#include "client/sdk/pages.h"
#include "storage/base/error_info.h"
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

template <typename Values>
bool Contains(const Values& values, uint32_t value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// Whether the node gets the shard; `decided` becomes false where the claim does not say so.
bool Gets(v1::Assembly::Policy policy, const v1::Claim& claim, const v1::Shard& shard,
          bool& decided) {
  if (policy == v1::Assembly::FULL) return true;
  if (policy == v1::Assembly::DECLARED && claim.kind() == v1::Claim::ALL) return true;
  if (policy == v1::Assembly::DECLARED && claim.kind() == v1::Claim::SHARDS) {
    return Contains(claim.shards(), shard.index());
  }
  if (policy == v1::Assembly::RANKED && claim.kind() == v1::Claim::RANKS) {
    return shard.has_rank() && Contains(claim.ranks(), shard.rank());
  }
  decided = false;
  return true;
}

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
    bool decided = true;
    MUSTER_RETURN_IF_ERROR(ForEachShard(
        client, assembly.model_version(),
        [&](const v1::Shard& shard) {
          if (Gets(assembly.policy(), membership.claim, shard, decided)) {
            expected.shards.push_back(shard);
          }
          return absl::OkStatus();
        },
        call));
    if (!decided) expected.at_most = true;
  }
  for (v1::AssignedShard& shard : assigned) {
    expected.shards.push_back(std::move(*shard.mutable_shard()));
  }
  return expected;
}

}  // namespace muster
