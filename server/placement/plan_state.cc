// How the books are kept
//
// 1. Create checks the input (CheckShards), orders the nodes by uid and numbers their zones
//    (SortNodes), sorts the claims (SortClaims), and takes over what each node has
//    (KeepAssignments), less what is not legal: everything on a lost node that the caller has
//    released, and what the node's claim does not cover. Room is not looked at: an overfull node
//    keeps what it has.
// 2. The policy changes the state by the calls below, and by nothing else.
// 3. Finish merges `kept` and `added` into assignments and compares them with the input.
//
// A replica on a node is in one of these states:
//
//   kept, ordinary            in `kept` with replaces == 0.
//   kept, on its way off      the same, and its shard in the node's `replaced`; one entry of
//                             moves_ has the node as `from`.
//   kept, arriving            in `kept` with replaces != 0; in moves_ only once it was noted.
//   added                     in `added`; with `replaces`, it is the `to` of an entry of moves_.
//
// What each call does to the numbers; cost is CostOn, 0 where another assembly's copy serves:
//
//   call            load_bytes   leaving_bytes of the source   lists
//   KeepAssignments + cost       .                             kept
//   Add             + cost       + cost if it replaces         added; NoteMove if it replaces
//   NoteMove        .            + cost                        moves_, replaced of the source
//   EndMove         .            .                             kept: replaces = 0
//   Remove          - cost       - cost if it was arriving     added or kept; ends its move
//   RemoveKept      - cost       .                             kept
//
// So at any time load_bytes is what other assemblies have on the node plus the cost of `kept` and
// `added`, and leaving_bytes is the cost of `replaced`. Both replicas of a move count in
// load_bytes: both take room until it ends; load_bytes - leaving_bytes is what balance goes by.
//
// Moves are settled first (SettleMoves), before a policy adds anything; from then on each move that
// goes on is in moves_. RemoveKept does not look at moves_, so it must not get a shard of one.
//
// `touched` marks nodes whose plan may differ from what is present; the rest of a large fleet need
// not be compared. A shard that was taken off a node and is added to it again gets its old
// generation back (FinishNode): for the node, nothing has happened.
#include "server/placement/plan_state.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "storage/base/status_macros.h"
#include "storage/base/wording.h"

namespace muster {
namespace {

constexpr uint64_t kUnbounded = std::numeric_limits<uint64_t>::max();
// Sums of a whole model version and of what else is on a node stay below this, so that a node's
// load, at most twice that, can't overflow.
constexpr uint64_t kMaxTotalBytes = uint64_t{1} << 62;

uint64_t SaturatingAdd(uint64_t a, uint64_t b) { return a > kUnbounded - b ? kUnbounded : a + b; }

bool ShardBefore(const PlanAssignment& a, const PlanAssignment& b) { return a.shard < b.shard; }

// Ascending, once each.
absl::StatusOr<std::vector<uint32_t>> SortedShards(const std::vector<ShardIndex>& shards,
                                                   uint32_t shard_count, absl::string_view what) {
  std::vector<uint32_t> sorted;
  sorted.reserve(shards.size());
  for (const ShardIndex shard : shards) sorted.push_back(shard.value);
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  if (!sorted.empty() && sorted.back() >= shard_count) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " shard ", sorted.back(), "; the model version has ", shard_count));
  }
  return sorted;
}

}  // namespace

absl::StatusOr<PlanState> PlanState::Create(const PlanInput& input) {
  PlanState state(input);
  MUSTER_RETURN_IF_ERROR(state.CheckShards());
  state.nodes_.resize(input.nodes.size());
  MUSTER_RETURN_IF_ERROR(state.SortNodes());
  MUSTER_RETURN_IF_ERROR(state.SortClaims());
  for (NodeIndex index = 0; index < input.nodes.size(); ++index) {
    MUSTER_RETURN_IF_ERROR(state.KeepAssignments(index));
  }
  return state;
}

absl::Status PlanState::CheckShards() const {
  if (input_->shards.size() >= std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat(input_->shards.size(), " shards are more than indices can name"));
  }
  const PolicyTraits& policy = TraitsOf(input_->policy);
  if (policy.needs_rank) {
    for (uint32_t shard = 0; shard < shard_count(); ++shard) {
      if (input_->shards[shard].rank) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("shard ", shard, " has no rank, which ", policy.name, " needs"));
    }
  }
  uint64_t total = 0;
  for (const PlanShard& shard : input_->shards) total = SaturatingAdd(total, shard.size_bytes);
  if (total > kMaxTotalBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the shards add up to more than ", kMaxTotalBytes, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status PlanState::SortNodes() {
  const std::vector<PlanNode>& nodes = input_->nodes;
  order_.resize(nodes.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::vector<NodeIndex> by_zone = order_;
  std::sort(order_.begin(), order_.end(),
            [&](NodeIndex a, NodeIndex b) { return nodes[a].uid < nodes[b].uid; });
  for (size_t i = 1; i < order_.size(); ++i) {
    const PlanNode& node = nodes[order_[i]];
    if (node.uid == nodes[order_[i - 1]].uid) {
      return absl::InvalidArgumentError(absl::StrCat("nodes ", nodes[order_[i - 1]].name, " and ",
                                                     node.name, " share the uid ", node.uid));
    }
  }
  std::sort(by_zone.begin(), by_zone.end(),
            [&](NodeIndex a, NodeIndex b) { return nodes[a].zone < nodes[b].zone; });
  uint32_t zone = 0;
  for (size_t i = 0; i < by_zone.size(); ++i) {
    if (i > 0 && nodes[by_zone[i]].zone != nodes[by_zone[i - 1]].zone) ++zone;
    nodes_[by_zone[i]].zone = zone;
  }
  return absl::OkStatus();
}

absl::Status PlanState::SortClaims() {
  claimed_.resize(nodes_.size());
  meanings_.resize(nodes_.size());
  for (NodeIndex index = 0; index < nodes_.size(); ++index) {
    const PlanNode& node = input_->nodes[index];
    meanings_[index] = MeaningOf(input_->policy, node.claim.kind);
    MUSTER_ASSIGN_OR_RETURN(claimed_[index],
                            SortedShards(node.claim.shards, shard_count(),
                                         absl::StrCat("node ", node.name, " claims")));
    if (node.claim.kind == PlanClaim::Kind::kRanks) {
      claimed_[index] = node.claim.ranks;
      std::sort(claimed_[index].begin(), claimed_[index].end());
    }
    MUSTER_ASSIGN_OR_RETURN(
        nodes_[index].already_counted,
        SortedShards(node.already_counted, shard_count(),
                     absl::StrCat("other assemblies are said to have on node ", node.name)));
    MUSTER_RETURN_IF_ERROR(CheckSorted(node.cached, "caches", node.name));
    MUSTER_RETURN_IF_ERROR(CheckSorted(node.unfit, "is unfit for", node.name));
  }
  return absl::OkStatus();
}

absl::Status PlanState::CheckSorted(const std::vector<ShardIndex>& shards, absl::string_view what,
                                    absl::string_view node) const {
  for (size_t i = 0; i < shards.size(); ++i) {
    if (shards[i].value >= shard_count()) {
      return absl::InvalidArgumentError(absl::StrCat("node ", node, " ", what, " shard ",
                                                     shards[i].value, "; the model version has ",
                                                     shard_count()));
    }
    if (i > 0 && !(shards[i - 1] < shards[i])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "what node ", node, " ", what, " is not ascending at shard ", shards[i].value));
    }
  }
  return absl::OkStatus();
}

absl::Status PlanState::KeepAssignments(NodeIndex index) {
  const PlanNode& from = input_->nodes[index];
  Node& node = nodes_[index];
  node.leaving = from.draining || !from.selected;
  node.open = from.live && !node.leaving;
  node.capacity_bytes = from.capacity_bytes == 0 ? kUnbounded : from.capacity_bytes;
  node.load_bytes = std::min(from.used_bytes, kMaxTotalBytes);
  std::vector<PlanAssignment> present = from.present;
  if (!std::is_sorted(present.begin(), present.end(), ShardBefore)) {
    std::sort(present.begin(), present.end(), ShardBefore);
  }
  for (size_t i = 0; i < present.size(); ++i) {
    const uint32_t shard = present[i].shard.value;
    if (shard >= shard_count()) {
      return absl::InvalidArgumentError(absl::StrCat("node ", from.name, " has shard ", shard,
                                                     "; the model version has ", shard_count()));
    }
    if (present[i].generation == kNewGeneration) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", from.name, " has shard ", shard, " without a generation"));
    }
    if (i > 0 && shard == present[i - 1].shard.value) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", from.name, " has shard ", shard, " twice"));
    }
  }
  if (!from.keeps_assignments && !from.live) {
    node.touched = !present.empty();
    return absl::OkStatus();
  }
  if (ClaimOf(index) != ClaimKind::kAny) {
    std::erase_if(present, [&](const PlanAssignment& assignment) {
      return !Claims(index, assignment.shard.value);
    });
    node.touched = present.size() != from.present.size();
  }
  for (const PlanAssignment& assignment : present) {
    node.load_bytes += CostOn(index, assignment.shard.value);
  }
  node.kept = std::move(present);
  return absl::OkStatus();
}

bool PlanState::Claims(NodeIndex index, uint32_t shard) const {
  return Covers(meanings_[index], claimed_[index], shard, input_->shards[shard].rank);
}

std::vector<uint32_t> PlanState::ClaimedShards(NodeIndex index) const {
  if (ClaimOf(index) == ClaimKind::kAny) return {};
  if (ClaimOf(index) == ClaimKind::kShards) return claimed_[index];
  std::vector<uint32_t> shards;
  for (uint32_t shard = 0; shard < shard_count(); ++shard) {
    if (Claims(index, shard)) shards.push_back(shard);
  }
  return shards;
}

uint64_t PlanState::MissingClaimBytes(NodeIndex index) const {
  uint64_t bytes = 0;
  for (const uint32_t shard : ClaimedShards(index)) {
    if (!Keeps(index, shard)) bytes += CostOn(index, shard);
  }
  return bytes;
}

uint64_t PlanState::CostOn(NodeIndex index, uint32_t shard) const {
  const std::vector<uint32_t>& counted = nodes_[index].already_counted;
  if (!counted.empty() && std::binary_search(counted.begin(), counted.end(), shard)) return 0;
  return size_of(shard);
}

uint64_t PlanState::FreeBytes(NodeIndex index) const {
  const Node& node = nodes_[index];
  return node.capacity_bytes > node.load_bytes ? node.capacity_bytes - node.load_bytes : 0;
}

uint32_t PlanState::LargestOf(const std::vector<uint32_t>& shards) const {
  uint32_t largest = shards.front();
  for (const uint32_t shard : shards) {
    if (size_of(shard) > size_of(largest)) largest = shard;
  }
  return largest;
}

uint64_t PlanState::MoveBudgetLeft() const {
  uint64_t budget_bytes = input_->move_budget_bytes;
  for (const Move& move : moves_) {
    if (nodes_[move.from].leaving) continue;
    budget_bytes -= std::min(budget_bytes, CostOn(move.from, move.shard));
  }
  return budget_bytes;
}

const PlanAssignment* PlanState::FindKept(NodeIndex index, uint32_t shard) const {
  const std::vector<PlanAssignment>& kept = nodes_[index].kept;
  const auto found = std::lower_bound(kept.begin(), kept.end(), shard,
                                      [](const PlanAssignment& assignment, uint32_t value) {
                                        return assignment.shard.value < value;
                                      });
  return found != kept.end() && found->shard.value == shard ? &*found : nullptr;
}

bool PlanState::Unfit(NodeIndex index, uint32_t shard) const {
  const std::vector<ShardIndex>& unfit = input_->nodes[index].unfit;
  return !unfit.empty() && std::binary_search(unfit.begin(), unfit.end(), ShardIndex(shard));
}

void PlanState::Add(NodeIndex index, uint32_t shard, NodeIndex replaces) {
  Node& node = nodes_[index];
  node.load_bytes += CostOn(index, shard);
  node.added.push_back({shard, replaces});
  node.touched = true;
  if (replaces != kNobody) NoteMove({shard, replaces, index});
}

void PlanState::NoteMove(const Move& move) {
  moves_.push_back(move);
  nodes_[move.from].replaced.insert(move.shard);
  nodes_[move.from].leaving_bytes += CostOn(move.from, move.shard);
}

void PlanState::EndMove(NodeIndex index, uint32_t shard) {
  std::vector<PlanAssignment>& kept = nodes_[index].kept;
  kept[static_cast<size_t>(FindKept(index, shard) - kept.data())].replaces = 0;
  nodes_[index].touched = true;
}

void PlanState::Remove(NodeIndex index, uint32_t shard) {
  Node& node = nodes_[index];
  node.load_bytes -= CostOn(index, shard);
  node.touched = true;
  const auto move = std::find_if(moves_.begin(), moves_.end(), [&](const Move& candidate) {
    return candidate.to == index && candidate.shard == shard;
  });
  if (move != moves_.end()) {
    nodes_[move->from].replaced.erase(shard);
    nodes_[move->from].leaving_bytes -= CostOn(move->from, shard);
    moves_.erase(move);
  }
  if (std::erase_if(node.added, [&](const Added& added) { return added.shard == shard; }) > 0) {
    return;
  }
  std::erase_if(node.kept, [&](const PlanAssignment& kept) { return kept.shard.value == shard; });
}

void PlanState::RemoveKept(NodeIndex index, absl::Span<const uint32_t> shards) {
  if (shards.empty()) return;
  Node& node = nodes_[index];
  for (const uint32_t shard : shards) node.load_bytes -= CostOn(index, shard);
  node.touched = true;
  std::erase_if(node.kept, [&](const PlanAssignment& kept) {
    return std::binary_search(shards.begin(), shards.end(), kept.shard.value);
  });
}

const PlanAssignment* PlanState::FindPresent(NodeIndex index, uint32_t shard) const {
  for (const PlanAssignment& assignment : input_->nodes[index].present) {
    if (assignment.shard.value == shard) return &assignment;
  }
  return nullptr;
}

NodePlan PlanState::FinishNode(Node& node) const {
  NodePlan plan;
  if (node.added.empty()) {
    plan.assignments = std::move(node.kept);
    return plan;
  }
  std::sort(node.added.begin(), node.added.end(),
            [](const Added& a, const Added& b) { return a.shard < b.shard; });
  std::vector<PlanAssignment> added;
  added.reserve(node.added.size());
  const auto index = static_cast<NodeIndex>(&node - nodes_.data());
  for (const Added& entry : node.added) {
    added.push_back({ShardIndex(entry.shard), kNewGeneration});
    if (entry.replaces != kNobody) {
      added.back().replaces = input_->nodes[entry.replaces].uid;
    } else if (const PlanAssignment* had = FindPresent(index, entry.shard)) {
      // Taken off the node on the way to this plan, and given back: nothing happened.
      added.back().generation = had->generation;
      added.back().ready = had->ready;
    }
  }
  plan.assignments.reserve(node.kept.size() + added.size());
  std::merge(node.kept.begin(), node.kept.end(), added.begin(), added.end(),
             std::back_inserter(plan.assignments), ShardBefore);
  return plan;
}

// What a node drops is what it has and does not keep. An added replica counts as moved if it is
// part of a move, or if another node drops a replica of the same shard: one added for one dropped.
void PlanState::CountChanges(Plan& plan) const {
  std::vector<uint32_t> dropped(shard_count(), 0);
  for (NodeIndex index = 0; index < nodes_.size(); ++index) {
    if (!nodes_[index].touched) continue;
    const std::vector<PlanAssignment>& after = plan.nodes[index].assignments;
    std::vector<PlanAssignment> before = input_->nodes[index].present;
    std::sort(before.begin(), before.end(), ShardBefore);
    plan.nodes[index].changed = after != before;
    plan.changed |= plan.nodes[index].changed;
    for (const PlanAssignment& assignment : before) {
      const auto found = std::lower_bound(after.begin(), after.end(), assignment, ShardBefore);
      if (found != after.end() && found->shard == assignment.shard &&
          found->generation == assignment.generation) {
        continue;
      }
      ++dropped[assignment.shard.value];
      plan.removed_bytes = SaturatingAdd(plan.removed_bytes, size_of(assignment.shard.value));
    }
  }
  for (const Node& node : nodes_) {
    for (const Added& added : node.added) {
      plan.added_bytes = SaturatingAdd(plan.added_bytes, size_of(added.shard));
      if (added.replaces == kNobody) {
        if (dropped[added.shard] == 0) continue;
        --dropped[added.shard];
      }
      plan.moved_bytes = SaturatingAdd(plan.moved_bytes, size_of(added.shard));
    }
  }
}

Plan PlanState::Finish() {
  Plan plan;
  plan.nodes.reserve(nodes_.size());
  for (Node& node : nodes_) {
    plan.nodes.push_back(FinishNode(node));
    plan.nodes.back().shortage = node.shortage;
  }
  CountChanges(plan);
  plan.unplaced = std::move(unplaced_);
  plan.blocked = std::move(blocked_);
  return plan;
}

std::string FormatBytes(uint64_t bytes) {
  return FormatSize(static_cast<int64_t>(std::min<uint64_t>(bytes, INT64_MAX)));
}

std::string FormatNeed(uint64_t needed_bytes, uint64_t free_bytes, absl::string_view who) {
  std::string needed = FormatBytes(needed_bytes);
  std::string free = FormatBytes(free_bytes);
  if (needed == free) {
    needed = absl::StrCat(needed_bytes, " bytes");
    free = absl::StrCat(free_bytes, " bytes");
  }
  return absl::StrCat("needs ", needed, ", ", who, " has ", free, " left");
}

std::string FormatOthers(size_t count) {
  if (count <= 1) return "";
  if (count == 2) return "; one more shard is in the same position";
  return absl::StrCat("; ", count - 1, " more shards are in the same position");
}

}  // namespace muster
