// What a Tilings object holds
//
// R tilings, one per replica. A tiling is a list of runs by position, without overlaps; what lies
// between two runs, before the first or after the last, is a hole. A node has at most one run, in
// one tiling. Nodes that take shards and have no run are spares. Besides:
//
// - sums_: Bytes(stretch) in constant time.
// - loads_[n].end_bytes: what node n holds once all moves have ended: other assemblies' bytes and
//   its run, without the shards that it keeps outside the run. Balance goes by it (Ratio is
//   end_bytes ÷ weight).
// - loads_[n].free_bytes: what node n has room for now. Both ends of a move under way take room, so
//   a shard that the node already keeps costs none (RoomFor), and giving it away frees none yet.
// - loads_[n].has_run: false for spares.
//
// Only three functions write them: Sort starts from the state; Take adds a stretch to a node
// (end_bytes up by the cost, free_bytes down by RoomFor); Apply shifts shards from one end of a run
// to another node: the reverse of Take for the giver, Take for the receiver. `state_` is only read.
//
// What happens to the runs
//
// 1. Sort puts the runs that the caller has read into tilings. In order of position, each goes
//    behind the run that ends nearest before it, so that holes stay small. Where every tiling
//    already reaches beyond its begin, it goes to the shortest one and loses the overlap; a run of
//    which nothing remains leaves its node a spare. The outcome depends on the runs alone: the next
//    plan, which reads them from the assignments, gets the same tilings.
// 2. Cover fills holes, in three steps that only ever add to what is covered or prepare for it:
//    a. FillEmptyTilings: a tiling without any run (each one in a first plan) gets its own group of
//       spares. Where the zones of replicas must differ, it tries groups of nodes and groups of
//       whole zones and keeps the more even one; only groups of zones rule out conflicts.
//    b. FillHoles: the hole with the most bytes first, by the run before it, one spare (or two,
//       four… if one is too few) and the run behind it. If they can't take all of it, all spares
//       and both neighbours take what they can, and the rest of the hole is given up for this pass.
//       It ends: each turn closes a hole or gives up one more (tiling, begin), and nothing that is
//       covered is uncovered.
//    c. MakeRoom: for what is still a hole, the neighbours shed shards at their far ends
//       (ShedFrom), if need be in a chain: a receiver with too little room sheds in turn. The room
//       of a shard that is already there is free only once its move has ended, so a later plan
//       fills the hole. Until then RoomSoon, which counts what the moves will free, keeps the
//       planner from asking for more.
// 3. Improve shifts ends of runs, from nodes above (1 + epsilon) of the mean to a neighbour or to a
//    spare, within the budget. A shift must lower the higher of the two loads it touches, so the
//    loads, compared from the highest down, get lower with each shift: it ends. Tilings with a hole
//    are left alone, because there MakeRoom decides which way shards go.
//
// What each step keeps true, and what a change must keep
//
// - Runs of a tiling stay sorted and don't overlap; a node stays in one tiling.
// - What is added fits free_bytes and is not Forbidden. Sort alone may exceed that: what a node has
//   is legal even on an overfull node.
// - A run that gives shards away keeps at least one. A shard that is itself arriving by a move
//   (kept->replaces != 0) is not passed on: its move goes on until it is ready.
// - Ties are broken by uid (PlanState::order) and position, never by the order of the input.
// - Cover and Improve return true if they changed any run. The caller repeats Sort, Cover and
//   Improve until both return false; that planning on a plan's own output changes nothing depends
//   on it.
#include "server/placement/tilings.h"

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace muster {

Tilings::Tilings(const PlanState& state)
    : state_(state),
      replicas_(std::max<uint32_t>(1, state.input().replicas)),
      sums_(state.shard_count() + 1),
      loads_(state.order().size()) {
  for (uint32_t shard = 0; shard < state.shard_count(); ++shard) {
    sums_[shard + 1] = sums_[shard] + state.size_of(shard);
  }
  WeighNodes();
}

// As in a pool: unbounded nodes weigh as much as the largest bounded one.
void Tilings::WeighNodes() {
  uint64_t unbounded_weight = 1;
  std::set<uint32_t> zones;
  for (const NodeIndex node : state_.order()) {
    if (!Open(node)) continue;
    unbounded_weight = std::max(unbounded_weight, state_.input().nodes[node].capacity_bytes);
    zones.insert(state_.node(node).zone);
  }
  zones_are_hard_ = zones.size() >= replicas_ && replicas_ > 1;
  for (const NodeIndex node : state_.order()) {
    const uint64_t capacity_bytes = state_.input().nodes[node].capacity_bytes;
    loads_[node].weight = capacity_bytes == 0 ? unbounded_weight : capacity_bytes;
  }
}

void Tilings::Sort(std::vector<Run> runs) {
  std::stable_sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) {
    return std::tuple(a.at.begin, a.at.end) < std::tuple(b.at.begin, b.at.end);
  });
  tilings_.assign(replicas_, {});
  for (const NodeIndex node : state_.order()) {
    Load& load = loads_[node];
    load.has_run = false;
    load.free_bytes = state_.FreeBytes(node);
    // What of the kept shards lies in the run comes back by Take.
    load.end_bytes = state_.node(node).load_bytes;
    for (const PlanAssignment& kept : state_.node(node).kept) {
      load.end_bytes -= state_.CostOn(node, kept.shard.value);
    }
  }
  const auto end_of = [](const Tiling& tiling) {
    return tiling.empty() ? 0 : tiling.back().at.end;
  };
  for (Run run : runs) {
    Tiling* nearest = nullptr;
    Tiling* shortest = &tilings_.front();
    for (Tiling& tiling : tilings_) {
      const uint32_t end = end_of(tiling);
      if (end < end_of(*shortest)) shortest = &tiling;
      if (end > run.at.begin) continue;
      if (nearest == nullptr || end > end_of(*nearest)) nearest = &tiling;
    }
    if (nearest == nullptr) {
      nearest = shortest;
      run.at.begin = end_of(*shortest);
      if (run.at.empty()) continue;
    }
    nearest->push_back(run);
    Take(run.node, run.at);
  }
}

// Books the stretch on the node, on top of what it has. The caller changes the run.
void Tilings::Take(NodeIndex node, Stretch stretch) {
  Load& load = loads_[node];
  load.has_run = true;
  for (uint32_t shard = stretch.begin; shard < stretch.end; ++shard) {
    load.end_bytes += state_.CostOn(node, shard);
    load.free_bytes -= std::min(load.free_bytes, RoomFor(node, shard));
  }
}

bool Tilings::ForbiddenWithin(NodeIndex node, Stretch stretch, NodeIndex giver) const {
  const PlanState::Node& at = state_.node(node);
  // What is on its way off the node must not be given back to it.
  if (!at.replaced.empty()) {
    for (uint32_t shard = stretch.begin; shard < stretch.end; ++shard) {
      if (at.replaced.contains(shard)) return true;
    }
  }
  if (!zones_are_hard_) return false;
  for (const Tiling& tiling : tilings_) {
    auto run =
        std::upper_bound(tiling.begin(), tiling.end(), stretch.begin,
                         [](uint32_t begin, const Run& other) { return begin < other.at.end; });
    for (; run != tiling.end() && run->at.begin < stretch.end; ++run) {
      if (run->node == node || run->node == giver) continue;
      if (state_.node(run->node).zone == at.zone) return true;
    }
  }
  return false;
}

// The one with the most bytes first.
std::vector<Tilings::Hole> Tilings::Holes() const {
  std::vector<Hole> holes;
  for (size_t tiling = 0; tiling < tilings_.size(); ++tiling) {
    uint32_t end = 0;
    for (size_t position = 0; position <= tilings_[tiling].size(); ++position) {
      const bool last = position == tilings_[tiling].size();
      const uint32_t begin = last ? state_.shard_count() : tilings_[tiling][position].at.begin;
      if (end < begin) holes.push_back({tiling, position, {end, begin}});
      if (!last) end = tilings_[tiling][position].at.end;
    }
  }
  std::stable_sort(holes.begin(), holes.end(),
                   [&](const Hole& a, const Hole& b) { return Bytes(a.at) > Bytes(b.at); });
  return holes;
}

// Nodes that take shards and have no run, the least loaded first.
std::vector<NodeIndex> Tilings::Spares() const {
  std::vector<NodeIndex> spares;
  for (const NodeIndex node : state_.order()) {
    if (Open(node) && !loads_[node].has_run) spares.push_back(node);
  }
  std::stable_sort(spares.begin(), spares.end(),
                   [&](NodeIndex a, NodeIndex b) { return Ratio(a, 0) < Ratio(b, 0); });
  return spares;
}

// How far the taker gets from the begin of the stretch: up to the first shard for which it lacks
// room, that is forbidden to it, or that brings it above the ratio.
uint32_t Tilings::TakeUpTo(NodeIndex taker, Stretch stretch, double ratio_limit) const {
  const Load& load = loads_[taker];
  uint32_t end = stretch.begin;
  uint64_t added_bytes = 0;
  uint64_t room_bytes = 0;
  for (; end < stretch.end; ++end) {
    added_bytes += state_.CostOn(taker, end);
    room_bytes += RoomFor(taker, end);
    if (room_bytes > load.free_bytes || Ratio(taker, added_bytes) > ratio_limit) break;
  }
  // One look at the whole stretch is much cheaper than one per shard, and mostly enough.
  if (!ForbiddenWithin(taker, {stretch.begin, end})) return end;
  end = stretch.begin;
  while (!Forbidden(taker, end)) ++end;
  return end;
}

// The same from the end of the stretch backwards, whatever the load.
uint32_t Tilings::TakeBackTo(NodeIndex taker, Stretch stretch) const {
  uint32_t begin = stretch.end;
  uint64_t room_bytes = 0;
  while (begin > stretch.begin) {
    room_bytes += RoomFor(taker, begin - 1);
    if (room_bytes > loads_[taker].free_bytes || Forbidden(taker, begin - 1)) break;
    --begin;
  }
  return begin;
}

std::vector<uint32_t> Tilings::Partition(const std::vector<NodeIndex>& takers, Stretch hole,
                                         double ratio_limit) const {
  std::vector<uint32_t> ends;
  ends.reserve(takers.size());
  for (const NodeIndex taker : takers) {
    hole.begin = TakeUpTo(taker, hole, ratio_limit);
    ends.push_back(hole.begin);
  }
  return ends;
}

// Shares the hole out between the run before it, the spares and the run behind it, so that the
// fullest of them is as empty as can be. Returns whether anything was done. If they can't take all
// of the hole, nothing is done, unless `partly` is set: then each takes what it can.
//
// 1. The takers stand in the order in which their stretches will lie: left run, spares, right run.
// 2. Partition at a given limit is greedy: each taker in turn takes all that the limit, its room
//    and the zones allow. A higher limit never covers less. At the limit `high` only room and zones
//    bind: what is not covered there can't be covered in this order.
// 3. Whole: bisect for the lowest limit at which the takers still cover the hole.
//    Partly: take the stretches at `high` from the front. The right run can't be reached from
//    there, so it takes from the back instead; what is left is one hole in between.
// 4. Book the stretches, extend the two runs, insert runs of the spares.
bool Tilings::FillHole(const Hole& hole, const std::vector<NodeIndex>& spares, bool partly) {
  Tiling& tiling = tilings_[hole.tiling];
  const bool left = hole.position > 0 && Open(tiling[hole.position - 1].node);
  const bool right = hole.position < tiling.size() && Open(tiling[hole.position].node);
  std::vector<NodeIndex> takers;
  if (left) takers.push_back(tiling[hole.position - 1].node);
  takers.insert(takers.end(), spares.begin(), spares.end());
  if (right) takers.push_back(tiling[hole.position].node);
  if (takers.empty()) return false;

  double high = 0;
  for (const NodeIndex taker : takers) high = std::max(high, Ratio(taker, Bytes(hole.at)));
  std::vector<uint32_t> ends = Partition(takers, hole.at, high);
  const bool whole = ends.back() == hole.at.end;
  if (!whole && !partly) return false;
  if (whole) {
    double low = 0;
    // Halved 50 times, the interval is too narrow for a difference that matters.
    for (int round = 0; round < 50; ++round) {
      const double middle = low + (high - low) / 2;
      std::vector<uint32_t> tried = Partition(takers, hole.at, middle);
      const bool enough = tried.back() == hole.at.end;
      (enough ? high : low) = middle;
      if (enough) ends = std::move(tried);
    }
  } else if (right) {
    ends.pop_back();
  }
  Stretch rest{ends.empty() ? hole.at.begin : ends.back(), hole.at.end};
  std::vector<Run> inserted;
  uint32_t begin = hole.at.begin;
  for (size_t i = 0; i < ends.size(); ++i) {
    const Stretch stretch{begin, ends[i]};
    begin = ends[i];
    if (stretch.empty()) continue;
    if (left && i == 0) {
      tiling[hole.position - 1].at.end = stretch.end;
    } else if (right && i + 1 == takers.size()) {
      tiling[hole.position].at.begin = stretch.begin;
    } else {
      inserted.push_back({takers[i], stretch});
    }
    Take(takers[i], stretch);
  }
  bool changed = begin > hole.at.begin;
  if (!whole && right) {
    const uint32_t back = TakeBackTo(takers.back(), rest);
    changed |= back < rest.end;
    if (back < rest.end) {
      Take(takers.back(), {back, rest.end});
      tiling[hole.position].at.begin = back;
    }
  }
  tiling.insert(tiling.begin() + static_cast<std::ptrdiff_t>(hole.position), inserted.begin(),
                inserted.end());
  return changed;
}

// Consecutive groups, by zone and uid, of about equal weight; of whole zones on demand.
std::vector<std::vector<NodeIndex>> Tilings::GroupSpares(size_t groups, bool by_zone) const {
  std::vector<NodeIndex> spares;
  double total = 0;
  for (const NodeIndex node : state_.order()) {
    if (!Open(node) || loads_[node].has_run) continue;
    spares.push_back(node);
    total += static_cast<double>(loads_[node].weight);
  }
  std::stable_sort(spares.begin(), spares.end(), [&](NodeIndex a, NodeIndex b) {
    return state_.node(a).zone < state_.node(b).zone;
  });
  // Units that stay together: nodes, or the nodes of a zone.
  std::vector<std::vector<NodeIndex>> units;
  for (const NodeIndex node : spares) {
    const bool joins = by_zone && !units.empty() &&
                       state_.node(units.back().back()).zone == state_.node(node).zone;
    if (!joins) units.emplace_back();
    units.back().push_back(node);
  }
  std::vector<std::vector<NodeIndex>> out(groups);
  double weight = 0;
  size_t group = 0;
  for (size_t unit = 0; unit < units.size(); ++unit) {
    double unit_weight = 0;
    for (const NodeIndex node : units[unit]) {
      unit_weight += static_cast<double>(loads_[node].weight);
    }
    const double share = total * static_cast<double>(group + 1) / static_cast<double>(groups);
    const bool full = !out[group].empty() && weight + unit_weight / 2 > share;
    const bool needed = !out[group].empty() && units.size() - unit <= groups - group - 1;
    if (group + 1 < groups && (full || needed)) ++group;
    out[group].insert(out[group].end(), units[unit].begin(), units[unit].end());
    weight += unit_weight;
  }
  return out;
}

// Returns the highest load ÷ weight afterwards; infinity when a hole is left.
double Tilings::FillEmptyTilings(const std::vector<size_t>& empty, bool by_zone) {
  const std::vector<std::vector<NodeIndex>> groups = GroupSpares(empty.size(), by_zone);
  double peak = 0;
  for (size_t i = 0; i < empty.size(); ++i) {
    const Hole hole{empty[i], 0, {0, state_.shard_count()}};
    if (!FillHole(hole, groups[i], false)) {
      FillHole(hole, groups[i], true);
      peak = std::numeric_limits<double>::infinity();
    }
    for (const Run& run : tilings_[empty[i]]) peak = std::max(peak, Ratio(run.node, 0));
  }
  return peak;
}

// Groups of nodes balance better; groups of zones always keep the replicas in different zones.
bool Tilings::FillEmptyTilings() {
  std::vector<size_t> empty;
  for (size_t tiling = 0; tiling < tilings_.size(); ++tiling) {
    if (tilings_[tiling].empty()) empty.push_back(tiling);
  }
  if (empty.empty() || Spares().empty() || state_.shard_count() == 0) return false;
  const std::vector<Tiling> tilings = tilings_;
  const std::vector<Load> loads = loads_;
  const double peak = FillEmptyTilings(empty, false);
  const auto filled = [&] {
    return std::any_of(empty.begin(), empty.end(),
                       [&](size_t tiling) { return !tilings_[tiling].empty(); });
  };
  if (!zones_are_hard_) return filled();
  const std::vector<Tiling> by_node_tilings = std::exchange(tilings_, tilings);
  const std::vector<Load> by_node_loads = std::exchange(loads_, loads);
  if (FillEmptyTilings(empty, true) >= peak) {
    tilings_ = by_node_tilings;
    loads_ = by_node_loads;
  }
  return filled();
}

// With as few spares as it takes, but with one if there is one: otherwise the neighbours would
// grow, only to give shards to the idle spare later.
bool Tilings::FillHoles() {
  bool changed = false;
  std::set<std::pair<size_t, uint32_t>> given_up;
  for (bool again = true; again;) {
    again = false;
    for (const Hole& hole : Holes()) {
      if (given_up.contains({hole.tiling, hole.at.begin})) continue;
      std::vector<NodeIndex> spares = Spares();
      std::erase_if(spares, [&](NodeIndex node) { return ForbiddenWithin(node, hole.at); });
      bool filled = false;
      for (size_t count = std::min<size_t>(1, spares.size()); !filled; count *= 2) {
        count = std::min(count, spares.size());
        filled = FillHole(
            hole, {spares.begin(), spares.begin() + static_cast<std::ptrdiff_t>(count)}, false);
        if (count == spares.size()) break;
      }
      if (!filled) {
        filled = FillHole(hole, spares, true);
        given_up.insert({hole.tiling, hole.at.begin});
      }
      changed |= filled;
      // The positions of the other holes, the loads and the spares have changed: look again.
      again = true;
      break;
    }
  }
  return changed;
}

NodeIndex Tilings::Neighbour(size_t tiling, size_t position, bool front) const {
  const Tiling& runs = tilings_[tiling];
  if (front ? position == 0 : position + 1 == runs.size()) return kNobody;
  const Run& run = runs[position];
  const Run& other = runs[front ? position - 1 : position + 1];
  const bool touches = front ? other.at.end == run.at.begin : other.at.begin == run.at.end;
  return touches && Open(other.node) ? other.node : kNobody;
}

// The room that the node will have once all moves, and those of this plan, have ended.
uint64_t Tilings::RoomSoon(NodeIndex node) const {
  if (!Open(node)) return 0;
  const uint64_t capacity_bytes = state_.node(node).capacity_bytes;
  const uint64_t end_bytes = loads_[node].end_bytes;
  return capacity_bytes > end_bytes ? capacity_bytes - end_bytes : 0;
}

// Shifts shards off one end of a run until the node will have room for that much more. A neighbour
// that has too little room for them sheds its own far end in turn. What is left of `needed_bytes`
// can't be had.
//
// The loop walks outwards, away from the hole. At each run it shifts shards, one at a time, while
// the next run has room for them now. If room is what stops it, the next run becomes the giver: it
// must shed what is still needed, less what it will have room for soon anyway. Anything else that
// stops it ends the walk, since no room further out would help.
bool Tilings::ShedFrom(size_t tiling, size_t giver, bool front, uint64_t& needed_bytes) {
  bool changed = false;
  for (size_t position = giver; needed_bytes > 0; position += front ? -1 : 1) {
    const NodeIndex to = Neighbour(tiling, position, front);
    if (to == kNobody) break;
    const Run& run = tilings_[tiling][position];
    bool movable = true;
    while (needed_bytes > 0) {
      const uint32_t shard = front ? run.at.begin : run.at.end - 1;
      const PlanAssignment* kept = state_.FindKept(run.node, shard);
      movable = run.at.end - run.at.begin > 1 && (kept == nullptr || kept->replaces == 0) &&
                !Forbidden(to, shard, run.node);
      if (!movable || RoomFor(to, shard) > loads_[to].free_bytes) break;
      needed_bytes -= std::min(needed_bytes, state_.CostOn(run.node, shard));
      Apply(tiling, position, {.to = to, .front = front, .count = 1});
      changed = true;
    }
    if (!movable) break;
    // `to` is full for now. What it will have soon need not be shed further out.
    needed_bytes -= std::min(needed_bytes, RoomSoon(to));
  }
  return changed;
}

// The runs between two neighbouring holes touch one another, and both holes would push into them,
// each undoing the other's shifts. So only the one that comes first in the list does.
bool Tilings::MayPush(const std::vector<Hole>& holes, size_t index, bool front) const {
  const Hole& hole = holes[index];
  std::optional<size_t> nearest;
  for (size_t i = 0; i < holes.size(); ++i) {
    const bool beyond =
        front ? holes[i].position < hole.position : hole.position < holes[i].position;
    if (holes[i].tiling != hole.tiling || !beyond) continue;
    const bool nearer = !nearest || (front ? holes[*nearest].position < holes[i].position
                                           : holes[i].position < holes[*nearest].position);
    if (nearer) nearest = i;
  }
  return !nearest || index < *nearest;
}

// Counts what the moves under way will free, so that it asks for no more once they have begun.
bool Tilings::MakeRoom() {
  bool changed = false;
  const std::vector<Hole> holes = Holes();
  for (size_t index = 0; index < holes.size(); ++index) {
    const Hole& hole = holes[index];
    const Tiling& tiling = tilings_[hole.tiling];
    const NodeIndex left = hole.position > 0 ? tiling[hole.position - 1].node : kNobody;
    const NodeIndex right = hole.position < tiling.size() ? tiling[hole.position].node : kNobody;
    const uint64_t room_bytes = std::min(RoomSoon(left), Bytes(hole.at)) + RoomSoon(right);
    if (room_bytes >= Bytes(hole.at)) continue;
    uint64_t needed_bytes = Bytes(hole.at) - room_bytes;
    if (Open(left) && !Forbidden(left, hole.at.begin) && MayPush(holes, index, true)) {
      changed |= ShedFrom(hole.tiling, hole.position - 1, true, needed_bytes);
    }
    if (Open(right) && !Forbidden(right, hole.at.end - 1) && MayPush(holes, index, false)) {
      changed |= ShedFrom(hole.tiling, hole.position, false, needed_bytes);
    }
  }
  return changed;
}

// The shift off this end of the run that leaves the lowest peak, if one lowers it at all. Longer
// shifts are tried until one is not allowed, since none beyond it would be.
std::optional<Tilings::Shift> Tilings::BestShift(const Run& run, NodeIndex to, bool front,
                                                 uint64_t budget_bytes) const {
  const double ratio = Ratio(run.node, 0);
  std::optional<Shift> best;
  uint64_t given_bytes = 0;
  uint64_t taken_bytes = 0;
  uint64_t room_bytes = 0;
  Shift shift;
  shift.to = to;
  shift.front = front;
  for (uint32_t count = 1; count < run.at.end - run.at.begin; ++count) {
    const uint32_t shard = front ? run.at.begin + count - 1 : run.at.end - count;
    const PlanAssignment* kept = state_.FindKept(run.node, shard);
    if (kept != nullptr && kept->replaces != 0) break;
    given_bytes += state_.CostOn(run.node, shard);
    taken_bytes += state_.CostOn(to, shard);
    room_bytes += RoomFor(to, shard);
    // A shard that the run has not got yet goes elsewhere for free.
    if (kept != nullptr) shift.moved_bytes += state_.size_of(shard);
    if (room_bytes > loads_[to].free_bytes || shift.moved_bytes > budget_bytes) break;
    if (Ratio(to, taken_bytes) >= ratio || Forbidden(to, shard, run.node)) break;
    shift.count = count;
    shift.peak = std::max(Ratio(to, taken_bytes),
                          static_cast<double>(loads_[run.node].end_bytes - given_bytes) /
                              static_cast<double>(loads_[run.node].weight));
    if (shift.peak < ratio && (!best || shift.peak < best->peak)) best = shift;
  }
  return best;
}

// Gives the run's end to its neighbour on that side or, if `to` has no run, to a new run there.
void Tilings::Apply(size_t tiling, size_t position, const Shift& shift) {
  Run& run = tilings_[tiling][position];
  const Stretch stretch = shift.front ? Stretch{run.at.begin, run.at.begin + shift.count}
                                      : Stretch{run.at.end - shift.count, run.at.end};
  (shift.front ? run.at.begin : run.at.end) = shift.front ? stretch.end : stretch.begin;
  for (uint32_t shard = stretch.begin; shard < stretch.end; ++shard) {
    loads_[run.node].end_bytes -= state_.CostOn(run.node, shard);
    // Frees nothing if the node keeps the shard: it stays until the receiver is ready.
    loads_[run.node].free_bytes += RoomFor(run.node, shard);
  }
  const bool has_run = loads_[shift.to].has_run;
  Take(shift.to, stretch);
  if (!has_run) {
    const size_t at = shift.front ? position : position + 1;
    tilings_[tiling].insert(tilings_[tiling].begin() + static_cast<std::ptrdiff_t>(at),
                            {shift.to, stretch});
    return;
  }
  Run& other = tilings_[tiling][shift.front ? position - 1 : position + 1];
  (shift.front ? other.at.end : other.at.begin) = shift.front ? stretch.end : stretch.begin;
}

bool Tilings::ImproveRun(size_t tiling, size_t position, uint64_t& budget_bytes) {
  const Run& run = tilings_[tiling][position];
  const std::vector<NodeIndex> spares = Spares();
  const NodeIndex spare = spares.empty() ? kNobody : spares.front();
  std::optional<Shift> best;
  for (const bool front : {true, false}) {
    for (const NodeIndex to : {Neighbour(tiling, position, front), spare}) {
      if (to == kNobody) continue;
      const std::optional<Shift> shift = BestShift(run, to, front, budget_bytes);
      if (shift && (!best || shift->peak < best->peak)) best = shift;
    }
  }
  if (!best) return false;
  budget_bytes -= best->moved_bytes;
  Apply(tiling, position, *best);
  return true;
}

bool Tilings::Cover() {
  bool changed = FillEmptyTilings();
  changed |= FillHoles();
  changed |= MakeRoom();
  return changed;
}

std::vector<Run> Tilings::Runs() const {
  std::vector<Run> runs;
  for (const Tiling& tiling : tilings_) runs.insert(runs.end(), tiling.begin(), tiling.end());
  std::sort(runs.begin(), runs.end(), [&](const Run& a, const Run& b) {
    return state_.input().nodes[a.node].uid < state_.input().nodes[b.node].uid;
  });
  return runs;
}

// Each shift lowers the higher of the two loads that it touches, so this ends. After each one the
// runs above the mean are listed again, the fullest first.
bool Tilings::Improve(uint64_t budget_bytes) {
  if (budget_bytes == 0) return false;
  double load = 0;
  double weight = 0;
  for (const NodeIndex node : state_.order()) {
    if (!Open(node)) continue;
    load += static_cast<double>(loads_[node].end_bytes);
    weight += static_cast<double>(loads_[node].weight);
  }
  const double even = (1 + std::max(0.0, state_.input().move_epsilon)) * load / weight;
  std::vector<bool> has_hole(tilings_.size());
  for (const Hole& hole : Holes()) has_hole[hole.tiling] = true;
  bool changed = false;
  for (bool again = true; again;) {
    again = false;
    std::vector<std::tuple<double, size_t, size_t>> fullest;
    for (size_t tiling = 0; tiling < tilings_.size(); ++tiling) {
      // Where a hole waits for room, shifts for balance would undo those that make room.
      if (has_hole[tiling]) continue;
      for (size_t position = 0; position < tilings_[tiling].size(); ++position) {
        const NodeIndex node = tilings_[tiling][position].node;
        if (!Open(node) || Ratio(node, 0) <= even) continue;
        fullest.emplace_back(-Ratio(node, 0), tiling, position);
      }
    }
    std::sort(fullest.begin(), fullest.end());
    for (const auto& [ratio, tiling, position] : fullest) {
      again = ImproveRun(tiling, position, budget_bytes);
      changed |= again;
      if (again) break;
    }
  }
  return changed;
}

std::string Tilings::DescribeShortage(uint32_t shard) const {
  NodeIndex roomiest = kNobody;
  const auto consider = [&](NodeIndex node) {
    if (!Open(node) || Forbidden(node, shard)) return;
    if (roomiest == kNobody || loads_[node].free_bytes > loads_[roomiest].free_bytes) {
      roomiest = node;
    }
  };
  for (const NodeIndex node : Spares()) consider(node);
  for (const Hole& hole : Holes()) {
    const Tiling& tiling = tilings_[hole.tiling];
    if (shard < hole.at.begin || shard >= hole.at.end) continue;
    if (hole.position > 0) consider(tiling[hole.position - 1].node);
    if (hole.position < tiling.size()) consider(tiling[hole.position].node);
  }
  if (roomiest == kNobody) return "";
  const uint64_t free_bytes = loads_[roomiest].free_bytes;
  return FormatNeed(state_.size_of(shard), free_bytes,
                    absl::StrCat("the roomiest node without a run or with one beside it, ",
                                 state_.input().nodes[roomiest].name, ","));
}

}  // namespace muster
