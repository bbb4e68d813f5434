#include "server/placement/shard_pool.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/placement/hash.h"

namespace muster {
namespace {

// No node: of the input's positions none is that high.
constexpr NodeIndex kNobody = std::numeric_limits<NodeIndex>::max();

uint64_t TieHash(const PlanShard& shard, uint32_t index) {
  return MixBits(shard.content.high ^ MixBits(shard.content.low ^ MixBits(index)));
}

}  // namespace

ShardPool::ShardPool(PlanState& state, const std::vector<NodeIndex>& members,
                     const std::vector<uint32_t>& shards)
    : state_(state),
      replicas_(std::max<uint32_t>(1, state.input().replicas)),
      slots_(state.shard_count(), kNone),
      leaf_of_node_(state.order().size(), kNone) {
  shards_.resize(shards.size());
  for (uint32_t slot = 0; slot < shards.size(); ++slot) {
    shards_[slot].shard = shards[slot];
    slots_[shards[slot]] = slot;
  }
  BuildLeaves(members);
  FindHolders(members);
  FindCheapNodes();
}

// Unbounded nodes weigh as much as the largest bounded one, so that unbounded nodes among
// themselves balance by bytes.
void ShardPool::BuildLeaves(const std::vector<NodeIndex>& members) {
  const std::vector<PlanNode>& nodes = state_.input().nodes;
  uint64_t unbounded_weight = 1;
  uint32_t zone_count = 0;
  for (const NodeIndex member : members) {
    zone_count = std::max(zone_count, state_.node(member).zone + 1);
    if (!state_.node(member).open) continue;
    leaf_nodes_.push_back(member);
    unbounded_weight = std::max(unbounded_weight, nodes[member].capacity_bytes);
  }
  const auto weight = [&](NodeIndex node) {
    return nodes[node].capacity_bytes == 0 ? unbounded_weight : nodes[node].capacity_bytes;
  };
  const auto key = [&](NodeIndex node) {
    return std::tuple(state_.node(node).zone, weight(node), MixBits(nodes[node].uid));
  };
  std::sort(leaf_nodes_.begin(), leaf_nodes_.end(),
            [&](NodeIndex a, NodeIndex b) { return key(a) < key(b); });

  std::vector<LoadLeaf> leaves;
  leaves.reserve(leaf_nodes_.size());
  zone_leaves_.resize(zone_count);
  uint32_t open_zones = 0;
  for (uint32_t leaf = 0; leaf < leaf_nodes_.size(); ++leaf) {
    const NodeIndex node = leaf_nodes_[leaf];
    leaf_of_node_[node] = leaf;
    LeafRange& zone = zone_leaves_[state_.node(node).zone];
    if (zone.end == 0) {
      zone.begin = leaf;
      ++open_zones;
    }
    zone.end = leaf + 1;
    leaves.push_back(
        {state_.node(node).load_bytes, state_.node(node).capacity_bytes, weight(node)});
  }
  zones_are_hard_ = open_zones >= replicas_;
  tree_.emplace(std::move(leaves));
}

void ShardPool::FindHolders(const std::vector<NodeIndex>& members) {
  for (const NodeIndex member : members) {
    for (const PlanAssignment& kept : state_.node(member).kept) {
      const uint32_t slot = slots_[kept.shard.value];
      if (slot != kNone) AddHolder(shards_[slot], member);
    }
  }
}

void ShardPool::FindCheapNodes() {
  for (uint32_t leaf = 0; leaf < leaf_nodes_.size(); ++leaf) {
    for (const uint32_t shard : state_.node(leaf_nodes_[leaf]).already_counted) {
      if (slots_[shard] != kNone) cheap_leaves_[shard].push_back(leaf);
    }
  }
}

void ShardPool::AddHolder(PoolShard& shard, NodeIndex node) {
  holders_.push_back({node, shard.first_holder});
  shard.first_holder = static_cast<uint32_t>(holders_.size() - 1);
  ++shard.holders;
  if (state_.input().nodes[node].live) ++shard.live;
}

void ShardPool::RemoveHolder(PoolShard& shard, NodeIndex node) {
  uint32_t* link = &shard.first_holder;
  while (*link != kNone && holders_[*link].node != node) link = &holders_[*link].next;
  if (*link == kNone) return;
  *link = holders_[*link].next;
  --shard.holders;
  if (state_.input().nodes[node].live) --shard.live;
}

uint32_t ShardPool::HoldersInZone(const PoolShard& shard, uint32_t zone, NodeIndex moving) const {
  uint32_t count = 0;
  for (uint32_t at = shard.first_holder; at != kNone; at = holders_[at].next) {
    const NodeIndex node = holders_[at].node;
    if (node != moving && state_.node(node).zone == zone) ++count;
  }
  return count;
}

ShardPool::Exclusions ShardPool::Excluded(const PoolShard& shard, uint32_t per_zone,
                                          NodeIndex moving) const {
  Exclusions excluded;
  for (uint32_t at = shard.first_holder; at != kNone; at = holders_[at].next) {
    const NodeIndex node = holders_[at].node;
    const uint32_t zone = state_.node(node).zone;
    // With none per zone, each holder that counts closes its zone: no need to count.
    const uint32_t in_zone =
        per_zone == 0 && node != moving ? 1 : HoldersInZone(shard, zone, moving);
    const uint32_t leaf = leaf_of_node_[node];
    if (in_zone > per_zone) {
      excluded.push_back(zone_leaves_[zone]);
    } else if (leaf != kNone) {
      excluded.push_back({leaf, leaf + 1});
    }
  }
  return excluded;
}

uint32_t ShardPool::LeastPerZone(const PoolShard& shard, NodeIndex moving) const {
  if (zones_are_hard_ || shard.first_holder == kNone) return 0;
  uint32_t least = kNone;
  for (uint32_t zone = 0; zone < zone_leaves_.size(); ++zone) {
    if (zone_leaves_[zone].end == 0) continue;
    least = std::min(least, HoldersInZone(shard, zone, moving));
  }
  return least == kNone ? 0 : least;
}

std::optional<uint32_t> ShardPool::CheapLeaf(const PoolShard& shard,
                                             const Exclusions& excluded) const {
  const auto found = cheap_leaves_.find(shard.shard);
  if (found == cheap_leaves_.end()) return std::nullopt;
  std::optional<uint32_t> best;
  for (const uint32_t leaf : found->second) {
    const bool closed = std::any_of(excluded.begin(), excluded.end(), [&](const LeafRange& range) {
      return range.begin <= leaf && leaf < range.end;
    });
    if (closed) continue;
    if (!best || tree_->RatioWith(leaf, 0) < tree_->RatioWith(*best, 0)) best = leaf;
  }
  return best;
}

// Zones with fewer holders come first; among their nodes the load decides.
std::optional<uint32_t> ShardPool::BestLeaf(const PoolShard& shard, uint32_t max_per_zone,
                                            NodeIndex moving) const {
  const uint64_t size = state_.size_of(shard.shard);
  const uint64_t tie_hash = TieHash(state_.input().shards[shard.shard], shard.shard);
  for (uint32_t per_zone = LeastPerZone(shard, moving); per_zone <= max_per_zone; ++per_zone) {
    const Exclusions excluded = Excluded(shard, per_zone, moving);
    const std::optional<uint32_t> leaf = tree_->Least(size, tie_hash, excluded);
    const std::optional<uint32_t> cheap = CheapLeaf(shard, excluded);
    if (cheap && (!leaf || tree_->RatioWith(*cheap, 0) <= tree_->RatioWith(*leaf, size))) {
      return cheap;
    }
    if (leaf) return leaf;
  }
  return std::nullopt;
}

bool ShardPool::PlaceOne(PoolShard& shard) {
  const std::optional<uint32_t> leaf =
      BestLeaf(shard, zones_are_hard_ ? 0 : shard.holders, kNobody);
  if (!leaf) return false;
  const NodeIndex node = leaf_nodes_[*leaf];
  tree_->Add(*leaf, state_.CostOn(node, shard.shard));
  state_.Add(node, shard.shard);
  AddHolder(shard, node);
  return true;
}

void ShardPool::Fill() {
  struct Wanted {
    uint64_t size_bytes;
    uint32_t slot;
  };
  std::vector<Wanted> wanted;
  for (uint32_t slot = 0; slot < shards_.size(); ++slot) {
    shards_[slot].unplaced = false;
    if (shards_[slot].holders < replicas_) {
      wanted.push_back({state_.size_of(shards_[slot].shard), slot});
    }
  }
  std::sort(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) {
    return a.size_bytes != b.size_bytes ? a.size_bytes > b.size_bytes : a.slot < b.slot;
  });
  for (uint32_t live = 0; !wanted.empty(); ++live) {
    for (const Wanted& entry : wanted) {
      PoolShard& shard = shards_[entry.slot];
      if (shard.live != live) continue;
      tree_->ExpectSize(entry.size_bytes);
      shard.unplaced = !PlaceOne(shard);
    }
    std::erase_if(wanted, [&](const Wanted& entry) {
      return shards_[entry.slot].unplaced || shards_[entry.slot].holders >= replicas_;
    });
  }
}

std::optional<ShardPool::Move> ShardPool::BestMove(uint32_t leaf, uint64_t budget_bytes) const {
  const NodeIndex node = leaf_nodes_[leaf];
  const double ratio = tree_->RatioWith(leaf, 0);
  std::optional<Move> best;
  const auto consider = [&](uint32_t shard, bool kept) {
    const uint32_t slot = slots_[shard];
    const uint64_t cost = state_.CostOn(node, shard);
    if (slot == kNone || cost == 0 || (kept && cost > budget_bytes)) return;
    const uint32_t max_per_zone =
        zones_are_hard_ ? 0 : HoldersInZone(shards_[slot], state_.node(node).zone, node);
    const std::optional<uint32_t> target = BestLeaf(shards_[slot], max_per_zone, node);
    if (!target) return;
    const double peak =
        std::max(tree_->RatioWith(*target, state_.CostOn(leaf_nodes_[*target], shard)),
                 tree_->RatioWithout(leaf, cost));
    if (peak < ratio && (!best || peak < best->peak)) best = Move{slot, *target, peak};
  };
  for (const PlanAssignment& kept : state_.node(node).kept) consider(kept.shard.value, true);
  for (const uint32_t added : state_.node(node).added) consider(added, false);
  return best;
}

uint64_t ShardPool::Apply(const Move& move, uint32_t from_leaf) {
  PoolShard& shard = shards_[move.slot];
  const NodeIndex from = leaf_nodes_[from_leaf];
  const NodeIndex to = leaf_nodes_[move.target_leaf];
  const uint64_t cost = state_.CostOn(from, shard.shard);
  const bool kept = state_.Keeps(from, shard.shard);
  tree_->Remove(from_leaf, cost);
  tree_->Add(move.target_leaf, state_.CostOn(to, shard.shard));
  state_.Remove(from, shard.shard);
  state_.Add(to, shard.shard);
  RemoveHolder(shard, from);
  AddHolder(shard, to);
  return kept ? cost : 0;
}

void ShardPool::Improve() {
  struct Entry {
    double ratio;
    uint32_t leaf;
    bool operator<(const Entry& other) const {
      return ratio != other.ratio ? ratio < other.ratio : leaf > other.leaf;
    }
  };
  uint64_t budget_bytes = state_.input().move_budget_bytes;
  double load = 0;
  double weight = 0;
  std::priority_queue<Entry> fullest;
  for (uint32_t leaf = 0; leaf < tree_->size(); ++leaf) {
    load += static_cast<double>(tree_->leaf(leaf).load_bytes);
    weight += static_cast<double>(tree_->leaf(leaf).weight);
    fullest.push({tree_->RatioWith(leaf, 0), leaf});
  }
  const double even = (1 + std::max(0.0, state_.input().move_epsilon)) * load / weight;
  while (!fullest.empty() && fullest.top().ratio > even && budget_bytes > 0) {
    const Entry top = fullest.top();
    fullest.pop();
    // A leaf is queued again whenever its load changes, so entries may be out of date.
    if (top.ratio != tree_->RatioWith(top.leaf, 0)) continue;
    const std::optional<Move> move = BestMove(top.leaf, budget_bytes);
    if (!move) continue;
    budget_bytes -= Apply(*move, top.leaf);
    fullest.push({tree_->RatioWith(top.leaf, 0), top.leaf});
    fullest.push({tree_->RatioWith(move->target_leaf, 0), move->target_leaf});
  }
}

Unplaced ShardPool::Describe(Unplaced::Cause cause, const std::vector<uint32_t>& slots) const {
  Unplaced unplaced;
  unplaced.cause = cause;
  uint32_t largest = slots.front();
  for (const uint32_t slot : slots) {
    unplaced.shards.push_back(ShardIndex(shards_[slot].shard));
    if (state_.size_of(shards_[slot].shard) > state_.size_of(shards_[largest].shard)) {
      largest = slot;
    }
  }
  const PoolShard& shard = shards_[largest];
  if (cause == Unplaced::Cause::kTooFewNodes) {
    unplaced.message = absl::StrCat("shard ", shard.shard, " has ", shard.holders, " of ",
                                    replicas_, " replicas, and no further node can take one");
  } else {
    const Exclusions excluded = Excluded(shard, zones_are_hard_ ? 0 : kNone, kNobody);
    const std::optional<uint32_t> roomiest = tree_->Roomiest(excluded);
    const NodeIndex node = leaf_nodes_[roomiest.value_or(0)];
    const bool in_zones = zones_are_hard_ && shard.holders > 0;
    unplaced.message = absl::StrCat(
        "shard ", shard.shard, " ",
        FormatNeed(state_.size_of(shard.shard), state_.FreeBytes(node),
                   absl::StrCat("the roomiest node ", in_zones ? "outside its zones " : "",
                                state_.input().nodes[node].name)));
  }
  absl::StrAppend(&unplaced.message, FormatOthers(slots.size()));
  return unplaced;
}

void ShardPool::ReportUnplaced() {
  std::vector<uint32_t> no_room;
  std::vector<uint32_t> too_few_nodes;
  for (uint32_t slot = 0; slot < shards_.size(); ++slot) {
    if (!shards_[slot].unplaced) continue;
    Exclusions excluded = Excluded(shards_[slot], zones_are_hard_ ? 0 : kNone, kNobody);
    std::sort(excluded.begin(), excluded.end(),
              [](const LeafRange& a, const LeafRange& b) { return a.begin < b.begin; });
    uint32_t closed_up_to = 0;
    for (const LeafRange& range : excluded) {
      if (range.begin <= closed_up_to) closed_up_to = std::max(closed_up_to, range.end);
    }
    (closed_up_to == tree_->size() ? too_few_nodes : no_room).push_back(slot);
  }
  if (!no_room.empty()) {
    state_.AddUnplaced(Describe(Unplaced::Cause::kNoRoom, no_room));
  }
  if (!too_few_nodes.empty()) {
    state_.AddUnplaced(Describe(Unplaced::Cause::kTooFewNodes, too_few_nodes));
  }
}

}  // namespace muster
