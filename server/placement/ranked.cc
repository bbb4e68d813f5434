// 1. Claims of ranks are covered first, as under DECLARED (CoverClaims).
// 2. A rank is open if the claims of nodes that stay leave one of its shards without a holder. Open
//    ranks go whole to nodes with the claim `any`, the largest first.
// 3. The home of a rank is the node that has most of it already, so that a rank stays where it is.
//    Only a rank without a home gets the least loaded node with room for what is missing. A home
//    that is lost, or has too little room, keeps the rank: a rank is not split.
// 4. Gather brings the rank to its home: shards that another node holds by moves, the others as
//    additions. What the home has ready is dropped elsewhere.
// 5. Refusals are put into words only at the end, when it is known how much room is left.
#include "server/placement/ranked.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/placement/claims.h"
#include "server/placement/moves.h"

namespace muster {
namespace {

// A rank of which the claims of nodes that stay leave a shard open.
struct OpenRank {
  uint32_t rank = 0;
  uint64_t bytes = 0;
  // Ascending.
  std::vector<uint32_t> shards;
};

class RankPlanner {
 public:
  // `anyone` are the nodes with the claim "any"; `holders` also those that are to be left.
  RankPlanner(PlanState& state, std::vector<NodeIndex> anyone, std::vector<NodeIndex> holders);

  // The rank must outlive the planner.
  void Plan(const OpenRank& rank);
  // Names in the state's plan what Plan could not place: by the room that is left in the end.
  void Report() {
    for (const Refusal& refusal : refusals_) Refuse(refusal.home, *refusal.rank);
  }

 private:
  // No node, or not the home, has room for the rank.
  struct Refusal {
    NodeIndex home = kNobody;
    const OpenRank* rank = nullptr;
  };

  NodeIndex HomeOf(const OpenRank& rank) const;
  NodeIndex NewHomeFor(const OpenRank& rank) const;
  uint64_t BytesOn(NodeIndex node, const OpenRank& rank) const;
  uint64_t MissingBytes(NodeIndex node, const OpenRank& rank) const;
  void Gather(NodeIndex home, const OpenRank& rank);
  void LeaveFor(NodeIndex home, NodeIndex node, const OpenRank& rank);
  void Refuse(NodeIndex home, const OpenRank& rank);
  NodeIndex Roomiest() const;
  NodeIndex SourceOf(NodeIndex home, uint32_t shard) const;
  // The shards of the rank that the node has, on no move.
  std::vector<uint32_t> Resting(NodeIndex node, const OpenRank& rank) const;
  void Block(NodeIndex node, const std::vector<uint32_t>& shards, std::string message);

  PlanState& state_;
  std::vector<NodeIndex> anyone_;
  std::vector<NodeIndex> holders_;
  // Unbounded nodes weigh as much as the largest bounded one.
  uint64_t unbounded_weight_ = 1;
  std::vector<Refusal> refusals_;
};

RankPlanner::RankPlanner(PlanState& state, std::vector<NodeIndex> anyone,
                         std::vector<NodeIndex> holders)
    : state_(state), anyone_(std::move(anyone)), holders_(std::move(holders)) {
  for (const NodeIndex node : anyone_) {
    unbounded_weight_ = std::max(unbounded_weight_, state.input().nodes[node].capacity_bytes);
  }
}

// Of the rank's bytes, those that the node is to have once the moves under way have ended.
uint64_t RankPlanner::BytesOn(NodeIndex node, const OpenRank& rank) const {
  uint64_t bytes = 0;
  for (const uint32_t shard : rank.shards) {
    if (!state_.Keeps(node, shard) || state_.node(node).replaced.contains(shard)) continue;
    // Empty shards have a home too.
    bytes += state_.size_of(shard) + 1;
  }
  return bytes;
}

uint64_t RankPlanner::MissingBytes(NodeIndex node, const OpenRank& rank) const {
  uint64_t bytes = 0;
  for (const uint32_t shard : rank.shards) {
    if (!state_.Keeps(node, shard)) bytes += state_.CostOn(node, shard);
  }
  return bytes;
}

// The node that stays and has most of the rank.
NodeIndex RankPlanner::HomeOf(const OpenRank& rank) const {
  NodeIndex home = kNobody;
  uint64_t most = 0;
  for (const NodeIndex node : anyone_) {
    if (state_.node(node).leaving) continue;
    const uint64_t bytes = BytesOn(node, rank);
    if (bytes <= most) continue;
    most = bytes;
    home = node;
  }
  return home;
}

// The one that is least loaded with it, of those where nothing of it failed.
NodeIndex RankPlanner::NewHomeFor(const OpenRank& rank) const {
  NodeIndex home = kNobody;
  std::pair<bool, double> best;
  for (const NodeIndex node : anyone_) {
    const PlanState::Node& at = state_.node(node);
    const uint64_t missing_bytes = MissingBytes(node, rank);
    if (!at.open || missing_bytes > state_.FreeBytes(node)) continue;
    const bool unfit = std::any_of(rank.shards.begin(), rank.shards.end(),
                                   [&](uint32_t shard) { return state_.Unfit(node, shard); });
    const uint64_t capacity_bytes = state_.input().nodes[node].capacity_bytes;
    const uint64_t weight = capacity_bytes == 0 ? unbounded_weight_ : capacity_bytes;
    const double ratio = static_cast<double>(at.load_bytes - at.leaving_bytes + missing_bytes) /
                         static_cast<double>(weight);
    const std::pair<bool, double> key{unfit, ratio};
    if (home != kNobody && key >= best) continue;
    home = node;
    best = key;
  }
  return home;
}

// An ordinary replica elsewhere that the home may take over.
NodeIndex RankPlanner::SourceOf(NodeIndex home, uint32_t shard) const {
  for (const NodeIndex node : holders_) {
    if (node == home || state_.node(node).replaced.contains(shard)) continue;
    const PlanAssignment* kept = state_.FindKept(node, shard);
    if (kept != nullptr && kept->replaces == 0) return node;
  }
  return kNobody;
}

std::vector<uint32_t> RankPlanner::Resting(NodeIndex node, const OpenRank& rank) const {
  std::vector<uint32_t> shards;
  for (const uint32_t shard : rank.shards) {
    const PlanAssignment* kept = state_.FindKept(node, shard);
    if (kept == nullptr || kept->replaces != 0) continue;
    if (!state_.node(node).replaced.contains(shard)) shards.push_back(shard);
  }
  return shards;
}

void RankPlanner::Block(NodeIndex node, const std::vector<uint32_t>& shards, std::string message) {
  BlockedMove blocked;
  blocked.node = node;
  blocked.message = std::move(message);
  for (const uint32_t shard : shards) blocked.shards.push_back(ShardIndex(shard));
  state_.AddBlocked(std::move(blocked));
}

// Drops what the home has ready; the rest waits for it.
void RankPlanner::LeaveFor(NodeIndex home, NodeIndex node, const OpenRank& rank) {
  std::vector<uint32_t> gone;
  std::vector<uint32_t> waiting;
  for (const uint32_t shard : Resting(node, rank)) {
    const PlanAssignment* at_home = state_.FindKept(home, shard);
    const bool ready =
        at_home != nullptr && at_home->replaces == 0 && at_home->ready && state_.node(home).open;
    (ready ? gone : waiting).push_back(shard);
  }
  state_.RemoveKept(node, gone);
  if (waiting.empty() || !state_.node(node).leaving) return;
  Block(node, waiting,
        absl::StrCat("rank ", rank.rank, " stays on ", state_.input().nodes[node].name, " until ",
                     state_.input().nodes[home].name, " has it READY"));
}

void RankPlanner::Gather(NodeIndex home, const OpenRank& rank) {
  for (const uint32_t shard : rank.shards) {
    if (!state_.Keeps(home, shard)) state_.Add(home, shard, SourceOf(home, shard));
  }
  for (const NodeIndex node : holders_) {
    if (node != home) LeaveFor(home, node, rank);
  }
}

NodeIndex RankPlanner::Roomiest() const {
  NodeIndex roomiest = kNobody;
  for (const NodeIndex node : anyone_) {
    if (!state_.node(node).open) continue;
    if (roomiest == kNobody || state_.FreeBytes(node) > state_.FreeBytes(roomiest)) {
      roomiest = node;
    }
  }
  return roomiest;
}

void RankPlanner::Refuse(NodeIndex home, const OpenRank& rank) {
  const NodeIndex node = home == kNobody ? Roomiest() : home;
  Unplaced unplaced;
  std::string why;
  if (node == kNobody) {
    unplaced.cause = Unplaced::Cause::kTooFewNodes;
    why = absl::StrCat("rank ", rank.rank, " (", FormatBytes(rank.bytes),
                       ") has no node: no live node that stays has the claim any");
  } else if (!state_.node(node).open) {
    unplaced.cause = Unplaced::Cause::kTooFewNodes;
    why = absl::StrCat("rank ", rank.rank, " (", FormatBytes(rank.bytes), ") waits for its node ",
                       state_.input().nodes[node].name, ", which is lost");
  } else {
    why = absl::StrCat("rank ", rank.rank, " ",
                       FormatNeed(MissingBytes(node, rank), state_.FreeBytes(node),
                                  absl::StrCat(home == kNobody ? "the roomiest node " : "its node ",
                                               state_.input().nodes[node].name)));
  }
  for (const NodeIndex holder : holders_) {
    const std::vector<uint32_t> stuck = Resting(holder, rank);
    if (stuck.empty() || !state_.node(holder).leaving) continue;
    Block(holder, stuck,
          absl::StrCat(why, ", so it can't leave ", state_.input().nodes[holder].name));
  }
  for (const uint32_t shard : rank.shards) {
    const bool held = std::any_of(holders_.begin(), holders_.end(),
                                  [&](NodeIndex holder) { return state_.Keeps(holder, shard); });
    if (!held) unplaced.shards.push_back(ShardIndex(shard));
  }
  unplaced.message = std::move(why);
  if (!unplaced.shards.empty()) state_.AddUnplaced(std::move(unplaced));
}

void RankPlanner::Plan(const OpenRank& rank) {
  NodeIndex home = HomeOf(rank);
  const bool stays = home != kNobody;
  if (!stays) home = NewHomeFor(rank);
  const uint64_t missing_bytes = home == kNobody ? 0 : MissingBytes(home, rank);
  const bool complete = home != kNobody && BytesOn(home, rank) == rank.bytes + rank.shards.size();
  const bool fits =
      home != kNobody && state_.node(home).open && missing_bytes <= state_.FreeBytes(home);
  if (complete || fits) {
    Gather(home, rank);
  } else {
    refusals_.push_back({stays ? home : kNobody, &rank});
  }
}

// The largest first.
std::vector<OpenRank> FindOpenRanks(const PlanState& state, const std::vector<Coverage>& coverage) {
  std::map<uint32_t, OpenRank> ranks;
  std::map<uint32_t, bool> open;
  for (uint32_t shard = 0; shard < state.shard_count(); ++shard) {
    const uint32_t number = *state.input().shards[shard].rank;
    OpenRank& rank = ranks[number];
    rank.rank = number;
    rank.bytes += state.size_of(shard);
    rank.shards.push_back(shard);
    open[number] |= !coverage[shard].held;
  }
  std::vector<OpenRank> out;
  for (auto& [number, rank] : ranks) {
    if (open[number]) out.push_back(std::move(rank));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const OpenRank& a, const OpenRank& b) { return a.bytes > b.bytes; });
  return out;
}

}  // namespace

void PlanRanked(PlanState& state) {
  const std::vector<Coverage> coverage = CoverClaims(state);
  std::vector<NodeIndex> anyone;
  std::vector<NodeIndex> holders;
  for (const NodeIndex node : state.order()) {
    const bool any = state.ClaimOf(node) == ClaimKind::kAny;
    if (any) anyone.push_back(node);
    if (any || state.node(node).leaving) holders.push_back(node);
  }
  if (anyone.empty()) {
    ReportGaps(state, coverage);
    LeaveByClaims(state, {});
    return;
  }
  RankPlanner planner(state, std::move(anyone), std::move(holders));
  std::vector<bool> in_open_rank(state.shard_count());
  const std::vector<OpenRank> open_ranks = FindOpenRanks(state, coverage);
  for (const OpenRank& rank : open_ranks) {
    planner.Plan(rank);
    for (const uint32_t shard : rank.shards) in_open_rank[shard] = true;
  }
  planner.Report();
  LeaveByClaims(state, in_open_rank);
}

}  // namespace muster
