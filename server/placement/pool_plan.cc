// The steps of a pass, in this order. Passes repeat until one changes nothing that the next could
// see, so that a plan of this plan's output finds nothing to do. Before them Trim drops what fewer
// replicas than before leave over.
// 1. Fill places the missing replicas.
// 2. MakeRoom moves smaller shards off a node so that one that fits nowhere fits there.
// 3. Leave starts the moves off nodes that are to be left.
// 4. Refit takes shards off nodes where they failed.
// 5. Improve evens out the loads.
#include "server/placement/pool_plan.h"

#include <algorithm>
#include <optional>
#include <queue>
#include <string>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "server/placement/shard_pool.h"

namespace muster {
namespace {

constexpr uint32_t kNone = ShardPool::kNone;

// Bounds on the search for room: the shards that lack a replica, largest first, and the nodes
// looked at for each, roomiest first.
constexpr size_t kMaxRoomSeekers = 64;
constexpr size_t kMaxRoomNodes = 16;

// A replica that is to leave its node.
struct Leaver {
  uint64_t size_bytes = 0;
  uint32_t slot = 0;
  NodeIndex node = 0;

  // The largest first.
  bool operator<(const Leaver& other) const {
    return std::tuple(other.size_bytes, slot) < std::tuple(size_bytes, other.slot);
  }
};

// Room that is being made on a leaf for a shard that fits nowhere yet.
struct RoomInTheMaking {
  uint32_t slot = 0;
  uint32_t leaf = 0;
  // What is kept free there meanwhile.
  uint64_t reserved_bytes = 0;
};

class PoolPlanner {
 public:
  PoolPlanner(PlanState& state, const std::vector<NodeIndex>& members,
              const std::vector<uint32_t>& shards)
      : state_(state), members_(members), pool_(state, members, shards) {}

  void Plan();
  void Report();

 private:
  struct Improvement {
    uint32_t slot = 0;
    uint32_t target = 0;
    // The higher load ÷ weight of the two nodes after the move.
    double peak = 0;
  };
  struct Eviction {
    uint32_t slot = 0;
    uint32_t target = 0;
    // Ready: it is moved only once its replacement is ready too.
    bool ready = false;
  };

  void Trim();
  std::optional<NodeIndex> SurplusOf(uint32_t slot) const;
  void Fill();
  bool PlaceOne(uint32_t slot);

  bool MakeRoom();
  std::vector<uint32_t> RoomSeekers() const;
  bool WaitForRoom(uint32_t slot, const std::vector<uint32_t>& leaves);
  bool MakeRoomOn(uint32_t slot, uint32_t leaf);
  std::vector<uint32_t> OpenLeaves(uint32_t slot) const;
  uint64_t RoomSoon(uint32_t leaf) const;
  std::vector<Eviction> ChooseEvictions(uint32_t slot, uint32_t leaf) const;
  void Reserve(uint32_t slot, uint32_t leaf);
  // Gives the reserved room back for a sign of -1, and takes it again for 1.
  void KeepReservedRoom(int sign);

  bool Leave();
  bool EnoughWithout(const Leaver& leaver) const;
  bool Refit();
  bool Improve();
  std::optional<Improvement> BestImprovement(uint32_t leaf, uint64_t budget_bytes) const;

  ShardPool::Search SearchFor(NodeIndex moving) const {
    return {.moving = moving, .max_per_zone = pool_.AnyZone()};
  }
  // Drops the replica and places another, with nothing in between.
  void Relocate(uint32_t slot, NodeIndex from, uint32_t to_leaf);

  bool NothingElseIsOpen(uint32_t slot, NodeIndex moving) const;
  std::string DescribeShortage(uint32_t slot, NodeIndex moving) const;
  uint32_t LargestOf(const std::vector<uint32_t>& slots) const;
  void ReportUnplaced(Unplaced::Cause cause, const std::vector<uint32_t>& slots);
  void ReportBlocked(NodeIndex node, const std::vector<uint32_t>& slots);

  PlanState& state_;
  const std::vector<NodeIndex>& members_;
  ShardPool pool_;
  std::optional<RoomInTheMaking> making_room_;
  std::vector<Leaver> blocked_;
};

void PoolPlanner::KeepReservedRoom(int sign) {
  if (!making_room_) return;
  pool_.tree().AddExtra(making_room_->leaf,
                        sign * static_cast<int64_t>(making_room_->reserved_bytes));
}

// The node that one replica more than wanted is taken from: where it is not ready, then where its
// zone has another one, then the fullest. Those on nodes that are lost or to be left do not count;
// others deal with them.
std::optional<NodeIndex> PoolPlanner::SurplusOf(uint32_t slot) const {
  using Key = std::tuple<bool, bool, double, uint64_t>;
  std::optional<std::pair<Key, NodeIndex>> worst;
  uint32_t open = 0;
  for (uint32_t at = pool_.shards()[slot].first_holder; at != kNone;) {
    const ShardPool::Holder& holder = pool_.holder(at);
    at = holder.next;
    if (holder.extra || !state_.node(holder.node).open) continue;
    ++open;
    if (holder.moving) continue;
    const uint32_t zone = state_.node(holder.node).zone;
    const Key key{!holder.ready, pool_.HoldersInZone(slot, zone, holder.node) > 0,
                  pool_.tree().RatioWith(pool_.leaf_of(holder.node), 0),
                  state_.input().nodes[holder.node].uid};
    if (!worst || worst->first < key) worst = {key, holder.node};
  }
  if (open <= pool_.replicas() || !worst) return std::nullopt;
  const bool ready = !std::get<0>(worst->first);
  if (ready && !EnoughWithout({pool_.size_of(slot), slot, worst->second})) return std::nullopt;
  return worst->second;
}

void PoolPlanner::Trim() {
  for (uint32_t slot = 0; slot < pool_.shards().size(); ++slot) {
    if (pool_.shards()[slot].holders <= pool_.replicas()) continue;
    while (const std::optional<NodeIndex> node = SurplusOf(slot)) pool_.Drop(slot, *node);
  }
}

void PoolPlanner::Plan() {
  Trim();
  for (bool again = true; again;) {
    // The reservation of the last pass ends before Fill, which may be able to use it by now.
    KeepReservedRoom(-1);
    making_room_.reset();
    pool_.SetPreferenceLimit();
    Fill();
    // Some replicas cost less than their size, so the mean is known only now.
    pool_.SetPreferenceLimit();
    again = MakeRoom();
    again |= Leave();
    again |= Refit();
    again |= Improve();
  }
}

bool PoolPlanner::PlaceOne(uint32_t slot) {
  ShardPool::Search search = SearchFor(kNobody);
  std::optional<uint32_t> leaf = pool_.BestLeaf(slot, search);
  if (!leaf && pool_.HasUnfit(slot)) {
    search.only_fit = false;
    leaf = pool_.BestLeaf(slot, search);
  }
  if (leaf) pool_.Place(slot, *leaf);
  return leaf.has_value();
}

// Of the shards with the fewest live replicas first, then the largest: in round `live` each shard
// with that many live replicas gets one more, so that none gets its second before all have their
// first. Large ones go first, while there is room that is large enough. A shard that fits nowhere
// is out of the later rounds, which only have less room.
void PoolPlanner::Fill() {
  struct Wanted {
    uint64_t size_bytes;
    uint32_t slot;
  };
  std::vector<Wanted> wanted;
  std::vector<ShardPool::Shard>& shards = pool_.shards();
  for (uint32_t slot = 0; slot < shards.size(); ++slot) {
    shards[slot].unplaced = false;
    if (shards[slot].holders < pool_.replicas()) wanted.push_back({pool_.size_of(slot), slot});
  }
  std::sort(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) {
    return a.size_bytes != b.size_bytes ? a.size_bytes > b.size_bytes : a.slot < b.slot;
  });
  for (uint32_t live = 0; !wanted.empty(); ++live) {
    for (const Wanted& entry : wanted) {
      ShardPool::Shard& shard = shards[entry.slot];
      if (shard.live != live) continue;
      pool_.tree().ExpectSize(entry.size_bytes);
      shard.unplaced = !PlaceOne(entry.slot);
    }
    std::erase_if(wanted, [&](const Wanted& entry) {
      return shards[entry.slot].unplaced || shards[entry.slot].holders >= pool_.replicas();
    });
  }
}

// What is free on the leaf once the moves under way have ended.
uint64_t PoolPlanner::RoomSoon(uint32_t leaf) const {
  const LoadLeaf& at = pool_.tree().leaf(leaf);
  return at.capacity_bytes > at.load_bytes ? at.capacity_bytes - at.load_bytes : 0;
}

std::vector<uint32_t> PoolPlanner::RoomSeekers() const {
  std::vector<uint32_t> slots;
  for (uint32_t slot = 0; slot < pool_.shards().size(); ++slot) {
    if (pool_.shards()[slot].unplaced) slots.push_back(slot);
  }
  const size_t count = std::min(slots.size(), kMaxRoomSeekers);
  std::partial_sort(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(count), slots.end(),
                    [&](uint32_t a, uint32_t b) {
                      return std::tuple(pool_.size_of(b), a) < std::tuple(pool_.size_of(a), b);
                    });
  slots.resize(count);
  return slots;
}

// The leaves that may take the shard, room aside; those with the most room soon come first.
std::vector<uint32_t> PoolPlanner::OpenLeaves(uint32_t slot) const {
  const ShardPool::Exclusions closed = pool_.Closed(slot, SearchFor(kNobody));
  std::vector<uint32_t> leaves;
  for (uint32_t leaf = 0; leaf < pool_.tree().size(); ++leaf) {
    const bool is_closed = std::any_of(closed.begin(), closed.end(), [&](const LeafRange& range) {
      return range.begin <= leaf && leaf < range.end;
    });
    if (!is_closed) leaves.push_back(leaf);
  }
  std::sort(leaves.begin(), leaves.end(), [&](uint32_t a, uint32_t b) {
    return std::tuple(RoomSoon(b), a) < std::tuple(RoomSoon(a), b);
  });
  return leaves;
}

// For each shard that fits nowhere, the largest first:
// 1. If the moves under way free enough on some node, nothing is evicted; the room is reserved
//    there.
// 2. Otherwise the roomiest nodes are asked in turn for smaller shards that can go elsewhere. Those
//    that are not ready go at once, and the shard may fit now; those that are ready go by moves,
//    and the room that there is so far is reserved.
// At most one shard at a time waits for room: others might count on the same bytes.
bool PoolPlanner::MakeRoom() {
  bool changed = false;
  for (const uint32_t slot : RoomSeekers()) {
    std::vector<uint32_t> leaves = OpenLeaves(slot);
    if (WaitForRoom(slot, leaves)) return changed;
    leaves.resize(std::min(leaves.size(), kMaxRoomNodes));
    for (const uint32_t leaf : leaves) {
      if (!MakeRoomOn(slot, leaf)) continue;
      changed = true;
      break;
    }
    if (making_room_) return changed;
  }
  return changed;
}

// Books the leaf's free bytes as taken, up to the shard's size, so that nothing smaller slips in.
void PoolPlanner::Reserve(uint32_t slot, uint32_t leaf) {
  const uint64_t bytes = std::min(pool_.tree().leaf(leaf).free_bytes(), pool_.size_of(slot));
  pool_.tree().AddExtra(leaf, static_cast<int64_t>(bytes));
  making_room_ = {slot, leaf, bytes};
}

// The moves under way may make enough room already. `leaves` has the roomiest first; of those with
// enough room the tightest is taken, which leaves the others for larger shards.
bool PoolPlanner::WaitForRoom(uint32_t slot, const std::vector<uint32_t>& leaves) {
  if (leaves.empty() || RoomSoon(leaves.front()) < pool_.size_of(slot)) return false;
  uint32_t tightest = leaves.front();
  for (const uint32_t leaf : leaves) {
    if (RoomSoon(leaf) < pool_.size_of(slot)) break;
    tightest = leaf;
  }
  Reserve(slot, tightest);
  return true;
}

// The smallest smaller shard that makes enough room alone, else the largest smaller ones; only such
// as have somewhere to go. Empty if that is not enough.
std::vector<PoolPlanner::Eviction> PoolPlanner::ChooseEvictions(uint32_t slot,
                                                                uint32_t leaf) const {
  const NodeIndex node = pool_.node_of(leaf);
  const uint64_t needed_bytes = pool_.size_of(slot) - RoomSoon(leaf);
  std::vector<Leaver> victims;
  uint64_t total_bytes = 0;
  const auto consider = [&](uint32_t shard) {
    const uint32_t victim = pool_.slot_of(shard);
    if (victim == kNone || state_.CostOn(node, shard) == 0) return;
    if (pool_.size_of(victim) >= pool_.size_of(slot)) return;
    const ShardPool::Holder* holder = pool_.FindHolder(victim, node);
    if (holder->extra || holder->moving) return;
    victims.push_back({pool_.size_of(victim), victim, node});
    total_bytes += pool_.size_of(victim);
  };
  for (const PlanAssignment& kept : state_.node(node).kept) consider(kept.shard.value);
  for (const PlanState::Added& added : state_.node(node).added) consider(added.shard);
  if (total_bytes < needed_bytes) return {};
  std::sort(victims.begin(), victims.end());
  // Those that are large enough alone go first, the smallest of them in front.
  const auto alone = std::find_if(victims.begin(), victims.end(), [&](const Leaver& victim) {
    return victim.size_bytes < needed_bytes;
  });
  std::reverse(victims.begin(), alone);

  std::vector<Eviction> evictions;
  absl::flat_hash_map<uint32_t, uint64_t> taken_bytes;
  uint64_t made_bytes = 0;
  for (const Leaver& victim : victims) {
    const std::optional<uint32_t> target = pool_.BestLeaf(victim.slot, SearchFor(node));
    if (!target) continue;
    // The tree does not know of the victims before this one.
    uint64_t& taken = taken_bytes[*target];
    if (taken + victim.size_bytes > pool_.tree().leaf(*target).free_bytes()) continue;
    taken += victim.size_bytes;
    made_bytes += victim.size_bytes;
    evictions.push_back({victim.slot, *target, pool_.FindHolder(victim.slot, node)->ready});
    if (made_bytes >= needed_bytes) return evictions;
  }
  return {};
}

bool PoolPlanner::MakeRoomOn(uint32_t slot, uint32_t leaf) {
  const std::vector<Eviction> evictions = ChooseEvictions(slot, leaf);
  if (evictions.empty()) return false;
  const NodeIndex node = pool_.node_of(leaf);
  for (const Eviction& eviction : evictions) {
    if (eviction.ready) {
      pool_.Place(eviction.slot, eviction.target, node);
    } else {
      Relocate(eviction.slot, node, eviction.target);
    }
  }
  if (pool_.tree().leaf(leaf).free_bytes() >= pool_.size_of(slot)) {
    pool_.Place(slot, leaf);
    pool_.shards()[slot].unplaced = false;
  } else {
    Reserve(slot, leaf);
  }
  return true;
}

void PoolPlanner::Relocate(uint32_t slot, NodeIndex from, uint32_t to_leaf) {
  pool_.Drop(slot, from);
  pool_.Place(slot, to_leaf);
}

// Enough other replicas are ready on live nodes that stay.
bool PoolPlanner::EnoughWithout(const Leaver& leaver) const {
  uint32_t enough = 0;
  for (uint32_t at = pool_.shards()[leaver.slot].first_holder; at != kNone;) {
    const ShardPool::Holder& holder = pool_.holder(at);
    if (holder.node != leaver.node && state_.node(holder.node).open && holder.ready &&
        !holder.extra && !holder.moving) {
      ++enough;
    }
    at = holder.next;
  }
  return enough >= pool_.replicas();
}

// Starts a move for each replica on a node that is to be left, the largest first; drops those that
// enough others have. What finds no place is blocked_, which the last pass leaves for the report.
bool PoolPlanner::Leave() {
  std::vector<Leaver> leavers;
  for (const NodeIndex node : members_) {
    if (!state_.node(node).leaving) continue;
    for (const PlanAssignment& kept : state_.node(node).kept) {
      const uint32_t slot = pool_.slot_of(kept.shard.value);
      if (slot == kNone || pool_.FindHolder(slot, node)->moving) continue;
      leavers.push_back({pool_.size_of(slot), slot, node});
    }
  }
  std::stable_sort(leavers.begin(), leavers.end());
  blocked_.clear();
  bool changed = false;
  for (const Leaver& leaver : leavers) {
    if (EnoughWithout(leaver)) {
      pool_.Drop(leaver.slot, leaver.node);
    } else if (const auto leaf = pool_.BestLeaf(leaver.slot, SearchFor(leaver.node))) {
      pool_.Place(leaver.slot, *leaf, leaver.node);
    } else {
      blocked_.push_back(leaver);
      continue;
    }
    changed = true;
  }
  return changed;
}

// A replica that is not ready where the shard failed too often goes to a node where it did not; one
// that was to replace another is given up, and whoever wanted the move starts it again elsewhere.
bool PoolPlanner::Refit() {
  bool changed = false;
  for (const NodeIndex node : members_) {
    for (const ShardIndex shard : state_.input().nodes[node].unfit) {
      const uint32_t slot = pool_.slot_of(shard.value);
      const ShardPool::Holder* holder = slot == kNone ? nullptr : pool_.FindHolder(slot, node);
      if (holder == nullptr || holder->ready || holder->moving) continue;
      // Where there is none, starting again would end here again.
      const std::optional<uint32_t> leaf = pool_.BestLeaf(slot, SearchFor(node));
      if (!leaf) continue;
      if (holder->extra) {
        pool_.Drop(slot, node);
      } else {
        Relocate(slot, node, *leaf);
      }
      changed = true;
    }
  }
  return changed;
}

std::optional<PoolPlanner::Improvement> PoolPlanner::BestImprovement(uint32_t leaf,
                                                                     uint64_t budget_bytes) const {
  const NodeIndex node = pool_.node_of(leaf);
  const double ratio = pool_.tree().RatioWith(leaf, 0);
  std::optional<Improvement> best;
  const auto consider = [&](uint32_t shard, bool kept) {
    const uint32_t slot = pool_.slot_of(shard);
    const uint64_t cost = state_.CostOn(node, shard);
    if (slot == kNone || cost == 0 || (kept && cost > budget_bytes)) return;
    const ShardPool::Holder* holder = pool_.FindHolder(slot, node);
    if (holder->extra || holder->moving) return;
    ShardPool::Search search = SearchFor(node);
    if (!pool_.zones_are_hard()) {
      search.max_per_zone = pool_.HoldersInZone(slot, state_.node(node).zone, node);
    }
    const std::optional<uint32_t> target = pool_.BestLeaf(slot, search);
    if (!target) return;
    // Another assembly's copy on the target makes the shard cheaper there than here.
    const uint64_t target_cost = state_.CostOn(pool_.node_of(*target), shard);
    const double peak = std::max(pool_.tree().RatioWith(*target, target_cost),
                                 pool_.tree().RatioWithout(leaf, cost));
    if (peak < ratio && (!best || peak < best->peak)) best = Improvement{slot, *target, peak};
  };
  for (const PlanAssignment& kept : state_.node(node).kept) consider(kept.shard.value, true);
  for (const PlanState::Added& added : state_.node(node).added) consider(added.shard, false);
  return best;
}

// Takes the fullest node, and the one replica on it whose move leaves the lowest peak; again, until
// the fullest is even enough, the budget is spent, or no move helps. Each move lowers the higher of
// the two loads that it touches, so this ends. A replica that is there already moves and takes from
// the budget; one that this plan has only just added goes elsewhere for free.
bool PoolPlanner::Improve() {
  struct Entry {
    double ratio;
    uint32_t leaf;
    bool operator<(const Entry& other) const {
      return ratio != other.ratio ? ratio < other.ratio : leaf > other.leaf;
    }
  };
  uint64_t budget_bytes = state_.MoveBudgetLeft();
  if (budget_bytes == 0) return false;
  const LoadTree& tree = pool_.tree();
  double load = 0;
  double weight = 0;
  std::priority_queue<Entry> fullest;
  for (uint32_t leaf = 0; leaf < tree.size(); ++leaf) {
    load += static_cast<double>(tree.leaf(leaf).load_bytes);
    weight += static_cast<double>(tree.leaf(leaf).weight);
    fullest.push({tree.RatioWith(leaf, 0), leaf});
  }
  const double even = (1 + std::max(0.0, state_.input().move_epsilon)) * load / weight;
  bool changed = false;
  while (!fullest.empty() && fullest.top().ratio > even && budget_bytes > 0) {
    const Entry top = fullest.top();
    fullest.pop();
    // A leaf is queued again whenever its load changes, so entries may be out of date.
    if (top.ratio != tree.RatioWith(top.leaf, 0)) continue;
    const std::optional<Improvement> move = BestImprovement(top.leaf, budget_bytes);
    if (!move) continue;
    const NodeIndex from = pool_.node_of(top.leaf);
    if (pool_.FindHolder(move->slot, from)->kept) {
      budget_bytes -= state_.CostOn(from, pool_.shards()[move->slot].shard);
      pool_.Place(move->slot, move->target, from);
    } else {
      Relocate(move->slot, from, move->target);
    }
    changed = true;
    fullest.push({tree.RatioWith(top.leaf, 0), top.leaf});
    fullest.push({tree.RatioWith(move->target, 0), move->target});
  }
  return changed;
}

// No node may take the shard, however much room it had.
bool PoolPlanner::NothingElseIsOpen(uint32_t slot, NodeIndex moving) const {
  ShardPool::Search search = SearchFor(moving);
  search.only_fit = moving != kNobody;
  ShardPool::Exclusions closed = pool_.Closed(slot, search);
  std::sort(closed.begin(), closed.end(),
            [](const LeafRange& a, const LeafRange& b) { return a.begin < b.begin; });
  uint32_t closed_up_to = 0;
  for (const LeafRange& range : closed) {
    if (range.begin <= closed_up_to) closed_up_to = std::max(closed_up_to, range.end);
  }
  return closed_up_to == pool_.tree().size();
}

// "needs 12.4 GiB, the roomiest node n2 has 9.1 GiB left".
std::string PoolPlanner::DescribeShortage(uint32_t slot, NodeIndex moving) const {
  ShardPool::Search search = SearchFor(moving);
  search.only_fit = moving != kNobody;
  const std::optional<uint32_t> roomiest = pool_.tree().Roomiest(pool_.Closed(slot, search));
  const uint32_t leaf = roomiest.value_or(0);
  const uint32_t others = pool_.shards()[slot].holders - (moving == kNobody ? 0 : 1);
  const bool in_zones = pool_.zones_are_hard() && others > 0;
  return FormatNeed(pool_.size_of(slot), pool_.tree().leaf(leaf).free_bytes(),
                    absl::StrCat("the roomiest node ", in_zones ? "outside its zones " : "",
                                 state_.input().nodes[pool_.node_of(leaf)].name));
}

// The first of equals.
uint32_t PoolPlanner::LargestOf(const std::vector<uint32_t>& slots) const {
  uint32_t largest = slots.front();
  for (const uint32_t slot : slots) {
    if (pool_.size_of(slot) > pool_.size_of(largest)) largest = slot;
  }
  return largest;
}

void PoolPlanner::ReportUnplaced(Unplaced::Cause cause, const std::vector<uint32_t>& slots) {
  if (slots.empty()) return;
  const uint32_t largest = LargestOf(slots);
  const ShardPool::Shard& shard = pool_.shards()[largest];
  Unplaced unplaced;
  unplaced.cause = cause;
  unplaced.message = absl::StrCat("shard ", shard.shard, " ");
  if (cause == Unplaced::Cause::kTooFewNodes) {
    absl::StrAppend(&unplaced.message, "has ", shard.holders, " of ", pool_.replicas(),
                    " replicas, and no further node can take one");
  } else {
    absl::StrAppend(&unplaced.message, DescribeShortage(largest, kNobody));
  }
  if (making_room_ && making_room_->slot == largest) {
    const NodeIndex node = pool_.node_of(making_room_->leaf);
    absl::StrAppend(&unplaced.message, "; room is being made on ", state_.input().nodes[node].name);
  }
  absl::StrAppend(&unplaced.message, FormatOthers(slots.size()));
  for (const uint32_t slot : slots) {
    unplaced.shards.push_back(ShardIndex(pool_.shards()[slot].shard));
  }
  state_.AddUnplaced(std::move(unplaced));
}

void PoolPlanner::ReportBlocked(NodeIndex node, const std::vector<uint32_t>& slots) {
  const uint32_t largest = LargestOf(slots);
  BlockedMove blocked;
  blocked.node = node;
  blocked.message = absl::StrCat("shard ", pool_.shards()[largest].shard, " (",
                                 FormatBytes(pool_.size_of(largest)), ") can't leave ",
                                 state_.input().nodes[node].name, ": ");
  if (NothingElseIsOpen(largest, node)) {
    absl::StrAppend(&blocked.message, "no other node may take it");
  } else {
    absl::StrAppend(&blocked.message, "it ", DescribeShortage(largest, node));
  }
  absl::StrAppend(&blocked.message, FormatOthers(slots.size()));
  for (const uint32_t slot : slots) {
    blocked.shards.push_back(ShardIndex(pool_.shards()[slot].shard));
  }
  std::sort(blocked.shards.begin(), blocked.shards.end());
  state_.AddBlocked(std::move(blocked));
}

void PoolPlanner::Report() {
  std::vector<uint32_t> no_room;
  std::vector<uint32_t> too_few_nodes;
  for (uint32_t slot = 0; slot < pool_.shards().size(); ++slot) {
    if (!pool_.shards()[slot].unplaced) continue;
    (NothingElseIsOpen(slot, kNobody) ? too_few_nodes : no_room).push_back(slot);
  }
  // Room is reserved for one of these, but is taken for those that are to leave.
  KeepReservedRoom(-1);
  ReportUnplaced(Unplaced::Cause::kNoRoom, no_room);
  ReportUnplaced(Unplaced::Cause::kTooFewNodes, too_few_nodes);
  KeepReservedRoom(1);
  absl::flat_hash_map<NodeIndex, std::vector<uint32_t>> blocked;
  for (const Leaver& leaver : blocked_) blocked[leaver.node].push_back(leaver.slot);
  for (const NodeIndex node : members_) {
    const auto found = blocked.find(node);
    if (found != blocked.end()) ReportBlocked(node, found->second);
  }
}

}  // namespace

void PlanPool(PlanState& state, const std::vector<NodeIndex>& members,
              const std::vector<uint32_t>& shards) {
  PoolPlanner planner(state, members, shards);
  planner.Plan();
  planner.Report();
}

}  // namespace muster
