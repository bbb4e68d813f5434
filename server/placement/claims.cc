#include "server/placement/claims.h"

#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/placement/moves.h"
#include "server/placement/pool_plan.h"
#include "server/placement/shortage.h"

namespace muster {
namespace {

std::vector<uint32_t> AllShards(const PlanState& state) {
  std::vector<uint32_t> shards(state.shard_count());
  std::iota(shards.begin(), shards.end(), 0);
  return shards;
}

Unplaced MakeUnplaced(Unplaced::Cause cause, const std::vector<uint32_t>& shards,
                      absl::string_view message) {
  Unplaced unplaced;
  unplaced.cause = cause;
  unplaced.message = std::string(message);
  unplaced.shards.reserve(shards.size());
  for (const uint32_t shard : shards) unplaced.shards.push_back(ShardIndex(shard));
  return unplaced;
}

// Gives an open node those of `shards` that it lacks: all of them, or none where there is too little room, which
// is then named in the plan. Returns those for which there is none.
std::vector<uint32_t> GiveShards(PlanState& state, NodeIndex node,
                                 const std::vector<uint32_t>& shards) {
  std::vector<uint32_t> missing;
  uint64_t bytes = 0;
  for (const uint32_t shard : shards) {
    if (state.Keeps(node, shard)) continue;
    missing.push_back(shard);
    bytes += state.CostOn(node, shard);
  }
  const PlanShortage shortage{bytes, state.FreeBytes(node)};
  if (shortage.needed_bytes <= shortage.free_bytes) {
    for (const uint32_t shard : missing) state.Add(node, shard);
    return {};
  }
  Unplaced unplaced = MakeUnplaced(
      Unplaced::Cause::kNoRoom, missing,
      absl::StrCat("node ", state.input().nodes[node].name, " ", FormatShortage(shortage)));
  unplaced.node = node;
  state.AddUnplaced(std::move(unplaced));
  state.NoteShortage(node, shortage);
  return missing;
}

}  // namespace

std::vector<Coverage> CoverClaims(PlanState& state) {
  std::vector<Coverage> coverage(state.shard_count());
  for (const NodeIndex node : state.order()) {
    const std::vector<uint32_t> claimed = state.ClaimedShards(node);
    std::vector<uint32_t> refused;
    if (state.node(node).open) refused = GiveShards(state, node, claimed);
    auto next_refused = refused.begin();
    for (const uint32_t shard : claimed) {
      coverage[shard].claimed = true;
      if (next_refused != refused.end() && *next_refused == shard) {
        coverage[shard].refused = true;
        ++next_refused;
      } else if (state.node(node).open || state.Keeps(node, shard)) {
        (state.node(node).leaving ? coverage[shard].held_until_left : coverage[shard].held) = true;
      }
    }
  }
  return coverage;
}

void ReportGaps(PlanState& state, const std::vector<Coverage>& coverage) {
  std::vector<uint32_t> unclaimed;
  std::vector<uint32_t> waiting;
  for (uint32_t shard = 0; shard < coverage.size(); ++shard) {
    if (coverage[shard].held || coverage[shard].held_until_left || coverage[shard].refused)
      continue;
    (coverage[shard].claimed ? waiting : unclaimed).push_back(shard);
  }
  if (!unclaimed.empty()) {
    state.AddUnplaced(MakeUnplaced(
        Unplaced::Cause::kUnclaimed, unclaimed,
        absl::StrCat("no node claims shard ", unclaimed.front(),
                     ", and no node joined with the claim any", FormatOthers(unclaimed.size()))));
  }
  if (!waiting.empty()) {
    state.AddUnplaced(
        MakeUnplaced(Unplaced::Cause::kTooFewNodes, waiting,
                     absl::StrCat("shard ", waiting.front(),
                                  " is claimed only by nodes that are lost or draining",
                                  FormatOthers(waiting.size()))));
  }
}

void PlanFull(PlanState& state) {
  const std::vector<uint32_t> shards = AllShards(state);
  bool anyone_open = false;
  std::vector<bool> held(shards.size());
  for (const NodeIndex node : state.order()) {
    if (state.node(node).open) {
      anyone_open = true;
      GiveShards(state, node, shards);
    }
    for (const PlanAssignment& kept : state.node(node).kept) held[kept.shard.value] = true;
  }
  std::vector<uint32_t> missing;
  for (const uint32_t shard : shards) {
    if (!held[shard]) missing.push_back(shard);
  }
  if (!anyone_open && !missing.empty()) {
    state.AddUnplaced(MakeUnplaced(
        Unplaced::Cause::kTooFewNodes, missing,
        absl::StrCat("shard ", missing.front(), " has no node: no live member takes shards",
                     FormatOthers(missing.size()))));
  }
  LeaveByClaims(state, {});
}

// A node that is to be left holds the gaps that it claims until a node with the claim "any" has
// taken over, so it is a member of the pool too.
void PlanDeclared(PlanState& state) {
  const std::vector<Coverage> coverage = CoverClaims(state);
  std::vector<NodeIndex> pool_members;
  bool any_members = false;
  for (const NodeIndex node : state.order()) {
    const bool any = state.ClaimOf(node) == ClaimKind::kAny;
    any_members |= any;
    if (any || state.node(node).leaving) pool_members.push_back(node);
  }
  if (!any_members) {
    ReportGaps(state, coverage);
    LeaveByClaims(state, {});
    return;
  }
  std::vector<uint32_t> gaps;
  std::vector<bool> in_pool(coverage.size());
  for (uint32_t shard = 0; shard < coverage.size(); ++shard) {
    if (coverage[shard].held) continue;
    gaps.push_back(shard);
    in_pool[shard] = true;
  }
  PlanPool(state, pool_members, gaps);
  LeaveByClaims(state, in_pool);
}

}  // namespace muster
