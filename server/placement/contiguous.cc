// Nothing but assignments is stored, so each plan reads the runs from them, changes the runs, and
// turns the runs into assignments again. The steps of ContiguousPlanner::Plan:
//
// 1. ReadRuns: a node's run is the largest stretch of what it is to have once the moves under way
//    have ended: shards that are there or arriving, without those on their way off. Nodes that are
//    to be left have no run. A move onto a node that does not extend its run is given up; that
//    returns the shard to its source, whose run may grow, so the reading starts over.
// 2. Sort the runs into tilings, then DropSurplus: what lies outside the runs and is held often
//    enough by the runs goes at once, since its room may be what the plan needs. Repeated until
//    nothing is dropped.
// 3. Sort, Cover and Improve (tilings.cc) until they change nothing. Only runs change here; no
//    assignment does. The move budget is counted again in each pass, from first_runs_ to the runs
//    as they are by then (BudgetLeft).
// 4. Assign: shard by shard, the nodes whose run has the shard (wanted) against those that have it
//    (present):
//      wanted and present      stays as it is.
//      wanted, not present     added; as a move off a leftover, if one is left.
//      leftover (present, not wanted, neither arriving nor on its way off):
//        taken over by a move  stays until the new replica is ready (SettleMoves ends it).
//        not needed            gone_: dropped now. A ready one is not needed if R wanted replicas
//                              are ready on open nodes, another if R wanted replicas are there.
//        needed                stuck_: stays outside the run, and the next plan tries again.
// 5. ReportHoles names the shards with fewer than R runs over them (uncovered_), and ReportStuck
//    what can't leave a node that is to be left.
//
// The next plan must read the same runs, or plans would never come to rest. That is why leftovers
// that are a part of their node's first run are taken over first: left in place, they would be read
// as that node's run again.
#include "server/placement/contiguous.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/placement/tilings.h"

namespace muster {
namespace {

// Room that is made on one side may be filled again by an improvement on the other, so passes are
// bounded; two or three are the rule.
constexpr int kMaxPasses = 32;

class ContiguousPlanner {
 public:
  explicit ContiguousPlanner(PlanState& state)
      : state_(state),
        tilings_(state),
        first_runs_(state.order().size()),
        gone_(state.order().size()),
        stuck_(state.order().size()) {}

  void Plan();

 private:
  std::vector<Run> ReadRuns();
  Stretch RunOf(NodeIndex node) const;
  bool GiveUpStrayMoves(const Run& run);
  bool DropSurplus();
  uint64_t BudgetLeft(const std::vector<Run>& runs) const;
  void Assign();
  void AssignShard(uint32_t shard, const std::vector<NodeIndex>& wanted,
                   const std::vector<NodeIndex>& present);
  void ReportHoles();
  void ReportStuck();

  PlanState& state_;
  Tilings tilings_;
  // By node, as they were read.
  std::vector<Stretch> first_runs_;
  // By node: what others have ready, and what they don't; neither is in its run.
  std::vector<std::vector<uint32_t>> gone_;
  std::vector<std::vector<uint32_t>> stuck_;
  // With fewer runs over them than wanted.
  std::vector<uint32_t> uncovered_;
};

// The largest stretch that the node is to have once the moves under way have ended; the first of
// equals.
Stretch ContiguousPlanner::RunOf(NodeIndex node) const {
  Stretch best;
  uint64_t best_bytes = 0;
  Stretch at;
  uint64_t bytes = 0;
  for (const PlanAssignment& kept : state_.node(node).kept) {
    const uint32_t shard = kept.shard.value;
    if (state_.node(node).replaced.contains(shard)) continue;
    if (at.end != shard) {
      at = {shard, shard};
      bytes = 0;
    }
    at.end = shard + 1;
    bytes += state_.size_of(shard);
    if (!best.empty() && bytes <= best_bytes) continue;
    best = at;
    best_bytes = bytes;
  }
  return best;
}

// Moves onto the node that bring nothing to its run.
bool ContiguousPlanner::GiveUpStrayMoves(const Run& run) {
  std::vector<uint32_t> stray;
  for (const PlanAssignment& kept : state_.node(run.node).kept) {
    if (kept.replaces != 0 && !run.at.contains(kept.shard.value)) stray.push_back(kept.shard.value);
  }
  for (const uint32_t shard : stray) state_.Remove(run.node, shard);
  return !stray.empty();
}

std::vector<Run> ContiguousPlanner::ReadRuns() {
  std::vector<Run> runs;
  for (bool again = true; again;) {
    again = false;
    runs.clear();
    for (const NodeIndex node : state_.order()) {
      if (state_.node(node).leaving) continue;
      const Run run{node, RunOf(node)};
      again |= GiveUpStrayMoves(run);
      if (!run.at.empty()) runs.push_back(run);
    }
  }
  return runs;
}

// Drops what lies outside the runs and isn't needed, so that its room counts for the plan.
bool ContiguousPlanner::DropSurplus() {
  std::vector<uint32_t> ordinary(state_.shard_count(), 0);
  std::vector<uint32_t> ready(state_.shard_count(), 0);
  std::vector<Stretch> runs(state_.order().size());
  const auto rests = [&](NodeIndex node, const PlanAssignment& kept) {
    return kept.replaces == 0 && !state_.node(node).replaced.contains(kept.shard.value);
  };
  for (const Tilings::Tiling& tiling : tilings_.tilings()) {
    for (const Run& run : tiling) {
      runs[run.node] = run.at;
      for (uint32_t shard = run.at.begin; shard < run.at.end; ++shard) {
        const PlanAssignment* kept = state_.FindKept(run.node, shard);
        if (kept == nullptr || !rests(run.node, *kept)) continue;
        ++ordinary[shard];
        if (kept->ready && state_.node(run.node).open) ++ready[shard];
      }
    }
  }
  bool changed = false;
  for (const NodeIndex node : state_.order()) {
    std::vector<uint32_t> gone;
    for (const PlanAssignment& kept : state_.node(node).kept) {
      const uint32_t shard = kept.shard.value;
      if (!rests(node, kept) || runs[node].contains(shard)) continue;
      if ((kept.ready ? ready : ordinary)[shard] >= tilings_.replicas()) gone.push_back(shard);
    }
    changed |= !gone.empty();
    state_.RemoveKept(node, gone);
  }
  return changed;
}

// `wanted` are the nodes whose run has the shard, `present` those that have it now.
void ContiguousPlanner::AssignShard(uint32_t shard, const std::vector<NodeIndex>& wanted,
                                    const std::vector<NodeIndex>& present) {
  const auto is_wanted = [&](NodeIndex node) {
    return std::find(wanted.begin(), wanted.end(), node) != wanted.end();
  };
  std::vector<NodeIndex> leftovers;
  uint32_t ordinary = 0;
  uint32_t ready = 0;
  for (const NodeIndex node : present) {
    const PlanAssignment& kept = *state_.FindKept(node, shard);
    if (kept.replaces != 0 || state_.node(node).replaced.contains(shard)) continue;
    if (!is_wanted(node)) {
      leftovers.push_back(node);
      continue;
    }
    ++ordinary;
    if (kept.ready && state_.node(node).open) ++ready;
  }
  // Nodes that give up a part of their run come first, or the next plan would read it as theirs;
  // nodes that are to be left come last.
  std::stable_sort(leftovers.begin(), leftovers.end(), [&](NodeIndex a, NodeIndex b) {
    return std::pair(state_.node(a).leaving, !first_runs_[a].contains(shard)) <
           std::pair(state_.node(b).leaving, !first_runs_[b].contains(shard));
  });
  auto next = leftovers.begin();
  for (const NodeIndex node : wanted) {
    if (state_.Keeps(node, shard)) continue;
    if (next == leftovers.end()) {
      state_.Add(node, shard);
      ++ordinary;
    } else {
      state_.Add(node, shard, *next++);
    }
  }
  for (; next != leftovers.end(); ++next) {
    const bool needed = state_.FindKept(*next, shard)->ready ? ready < tilings_.replicas()
                                                             : ordinary < tilings_.replicas();
    (needed ? stuck_ : gone_)[*next].push_back(shard);
  }
  if (wanted.size() < tilings_.replicas()) uncovered_.push_back(shard);
}

void ContiguousPlanner::Assign() {
  std::vector<std::vector<NodeIndex>> present(state_.shard_count());
  for (const NodeIndex node : state_.order()) {
    for (const PlanAssignment& kept : state_.node(node).kept) {
      present[kept.shard.value].push_back(node);
    }
  }
  std::vector<size_t> positions(tilings_.tilings().size(), 0);
  std::vector<NodeIndex> wanted;
  for (uint32_t shard = 0; shard < state_.shard_count(); ++shard) {
    wanted.clear();
    for (size_t tiling = 0; tiling < tilings_.tilings().size(); ++tiling) {
      const Tilings::Tiling& runs = tilings_.tilings()[tiling];
      size_t& position = positions[tiling];
      while (position < runs.size() && runs[position].at.end <= shard) ++position;
      if (position < runs.size() && runs[position].at.begin <= shard) {
        wanted.push_back(runs[position].node);
      }
    }
    AssignShard(shard, wanted, present[shard]);
  }
  for (const NodeIndex node : state_.order()) state_.RemoveKept(node, gone_[node]);
}

void ContiguousPlanner::ReportHoles() {
  std::vector<uint32_t> no_room;
  std::vector<uint32_t> too_few_nodes;
  bool is_short = false;
  for (size_t i = 0; i < uncovered_.size(); ++i) {
    // The shards of a hole share their cause; there may be millions.
    if (i == 0 || uncovered_[i] != uncovered_[i - 1] + 1) {
      is_short = !tilings_.DescribeShortage(uncovered_[i]).empty();
    }
    (is_short ? no_room : too_few_nodes).push_back(uncovered_[i]);
  }
  const auto report = [&](Unplaced::Cause cause, const std::vector<uint32_t>& shards) {
    if (shards.empty()) return;
    const uint32_t largest = state_.LargestOf(shards);
    const std::string shortage = tilings_.DescribeShortage(largest);
    Unplaced unplaced;
    unplaced.cause = cause;
    unplaced.message = absl::StrCat(
        "shard ", largest, " ",
        shortage.empty()
            ? "has too few replicas, and no further node can take a run that includes it"
            : shortage,
        FormatOthers(shards.size()));
    for (const uint32_t shard : shards) unplaced.shards.push_back(ShardIndex(shard));
    state_.AddUnplaced(std::move(unplaced));
  };
  report(Unplaced::Cause::kNoRoom, no_room);
  report(Unplaced::Cause::kTooFewNodes, too_few_nodes);
}

void ContiguousPlanner::ReportStuck() {
  for (const NodeIndex node : state_.order()) {
    if (!state_.node(node).leaving || stuck_[node].empty()) continue;
    const uint32_t largest = state_.LargestOf(stuck_[node]);
    const std::string shortage = tilings_.DescribeShortage(largest);
    BlockedMove blocked;
    blocked.node = node;
    blocked.message = absl::StrCat(
        "shard ", largest, " (", FormatBytes(state_.size_of(largest)), ") can't leave ",
        state_.input().nodes[node].name, ": ",
        shortage.empty() ? "no other node has it READY or can take a run that includes it"
                         : absl::StrCat("it ", shortage),
        FormatOthers(stuck_[node].size()));
    for (const uint32_t shard : stuck_[node]) blocked.shards.push_back(ShardIndex(shard));
    state_.AddBlocked(std::move(blocked));
  }
}

// What the budget leaves once every shard that has left its node's first run so far is on the move.
uint64_t ContiguousPlanner::BudgetLeft(const std::vector<Run>& runs) const {
  std::vector<Stretch> now(first_runs_.size());
  for (const Run& run : runs) now[run.node] = run.at;
  uint64_t budget_bytes = state_.MoveBudgetLeft();
  for (const NodeIndex node : state_.order()) {
    for (uint32_t shard = first_runs_[node].begin; shard < first_runs_[node].end; ++shard) {
      if (now[node].contains(shard) || !state_.Keeps(node, shard)) continue;
      budget_bytes -= std::min(budget_bytes, state_.CostOn(node, shard));
    }
  }
  return budget_bytes;
}

void ContiguousPlanner::Plan() {
  std::vector<Run> runs;
  do {
    runs = ReadRuns();
    tilings_.Sort(runs);
  } while (DropSurplus());
  for (const Run& run : runs) first_runs_[run.node] = run.at;
  bool again = true;
  // What Sort makes of the runs of a pass is what it will make of them in the next plan.
  for (int pass = 0; again && pass < kMaxPasses; ++pass) {
    tilings_.Sort(std::move(runs));
    again = tilings_.Cover();
    runs = tilings_.Runs();
    again |= tilings_.Improve(BudgetLeft(runs));
    runs = tilings_.Runs();
  }
  Assign();
  ReportHoles();
  ReportStuck();
}

}  // namespace

void PlanContiguous(PlanState& state) {
  ContiguousPlanner planner(state);
  planner.Plan();
}

}  // namespace muster
