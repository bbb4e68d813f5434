#include "server/placement/shard_pool.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "server/placement/hash.h"

namespace muster {
namespace {

uint64_t TieHash(const PlanShard& shard, uint32_t index) {
  return MixBits(shard.content.high ^ MixBits(shard.content.low ^ MixBits(index)));
}

bool Covers(const ShardPool::Exclusions& excluded, uint32_t leaf) {
  return std::any_of(excluded.begin(), excluded.end(), [&](const LeafRange& range) {
    return range.begin <= leaf && leaf < range.end;
  });
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
  FindSpecialLeaves();
  FindFarLeaves();
  SetPreferenceLimit();
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
    const PlanState::Node& node = state_.node(leaf_nodes_[leaf]);
    leaf_of_node_[leaf_nodes_[leaf]] = leaf;
    LeafRange& zone = zone_leaves_[node.zone];
    if (zone.end == 0) {
      zone.begin = leaf;
      ++open_zones;
    }
    zone.end = leaf + 1;
    leaves.push_back({node.load_bytes - node.leaving_bytes, node.capacity_bytes,
                      weight(leaf_nodes_[leaf]), node.leaving_bytes});
  }
  zones_are_hard_ = open_zones >= replicas_;
  tree_.emplace(std::move(leaves));
}

void ShardPool::FindHolders(const std::vector<NodeIndex>& members) {
  for (const NodeIndex member : members) {
    const PlanState::Node& node = state_.node(member);
    for (const PlanAssignment& kept : node.kept) {
      const uint32_t slot = slots_[kept.shard.value];
      if (slot == kNone) continue;
      Holder holder;
      holder.node = member;
      holder.extra = kept.replaces != 0;
      holder.moving = !node.replaced.empty() && node.replaced.contains(kept.shard.value);
      holder.ready = kept.ready;
      holder.kept = true;
      AddHolder(slot, holder);
    }
  }
}

void ShardPool::FindSpecialLeaves() {
  const auto note = [&](uint32_t shard, uint32_t leaf, LeavesByShard& leaves) {
    if (slots_[shard] != kNone) leaves[shard].push_back(leaf);
  };
  for (uint32_t leaf = 0; leaf < leaf_nodes_.size(); ++leaf) {
    const PlanNode& node = state_.input().nodes[leaf_nodes_[leaf]];
    for (const uint32_t shard : state_.node(leaf_nodes_[leaf]).already_counted) {
      note(shard, leaf, free_leaves_);
    }
    for (const ShardIndex shard : node.cached) note(shard.value, leaf, cached_leaves_);
    for (const ShardIndex shard : node.unfit) note(shard.value, leaf, unfit_leaves_);
  }
}

void ShardPool::FindFarLeaves() {
  std::vector<const std::string*> names(zone_leaves_.size(), nullptr);
  for (const NodeIndex node : leaf_nodes_) {
    names[state_.node(node).zone] = &state_.input().nodes[node].zone;
  }
  for (const std::vector<std::string>& zones : state_.input().location_zones) {
    std::vector<LeafRange>& far = far_leaves_.emplace_back();
    bool any_near = false;
    for (uint32_t zone = 0; zone < names.size(); ++zone) {
      if (names[zone] == nullptr) continue;
      if (std::binary_search(zones.begin(), zones.end(), *names[zone])) {
        any_near = true;
      } else if (!far.empty() && far.back().end == zone_leaves_[zone].begin) {
        far.back().end = zone_leaves_[zone].end;
      } else {
        far.push_back(zone_leaves_[zone]);
      }
    }
    if (!any_near) far.clear();
  }
}

void ShardPool::SetPreferenceLimit() {
  double load = 0;
  double weight = 0;
  for (uint32_t leaf = 0; leaf < tree_->size(); ++leaf) {
    load += static_cast<double>(tree_->leaf(leaf).load_bytes);
    weight += static_cast<double>(tree_->leaf(leaf).weight);
  }
  for (const Shard& shard : shards_) {
    if (shard.holders >= replicas_) continue;
    load += static_cast<double>(replicas_ - shard.holders) *
            static_cast<double>(state_.size_of(shard.shard));
  }
  preference_limit_ = (1 + std::max(0.0, state_.input().move_epsilon)) * load / weight;
}

ShardPool::Holder* ShardPool::MutableHolder(uint32_t slot, NodeIndex node) {
  uint32_t at = shards_[slot].first_holder;
  while (at != kNone && holders_[at].node != node) at = holders_[at].next;
  return at == kNone ? nullptr : &holders_[at];
}

const ShardPool::Holder* ShardPool::FindHolder(uint32_t slot, NodeIndex node) const {
  return const_cast<ShardPool*>(this)->MutableHolder(slot, node);
}

void ShardPool::AddHolder(uint32_t slot, const Holder& holder) {
  Shard& shard = shards_[slot];
  holders_.push_back(holder);
  holders_.back().next = shard.first_holder;
  shard.first_holder = static_cast<uint32_t>(holders_.size() - 1);
  if (holder.extra) return;
  ++shard.holders;
  if (state_.input().nodes[holder.node].live) ++shard.live;
}

void ShardPool::RemoveHolder(uint32_t slot, NodeIndex node) {
  Shard& shard = shards_[slot];
  uint32_t* link = &shard.first_holder;
  while (*link != kNone && holders_[*link].node != node) link = &holders_[*link].next;
  if (*link == kNone) return;
  const Holder& holder = holders_[*link];
  *link = holder.next;
  if (holder.extra) return;
  --shard.holders;
  if (state_.input().nodes[node].live) --shard.live;
}

// Both replicas of a move count: for as long as it lasts, neither zone is free.
uint32_t ShardPool::HoldersInZone(uint32_t slot, uint32_t zone, NodeIndex moving) const {
  uint32_t count = 0;
  for (uint32_t at = shards_[slot].first_holder; at != kNone; at = holders_[at].next) {
    const NodeIndex node = holders_[at].node;
    if (node != moving && state_.node(node).zone == zone) ++count;
  }
  return count;
}

// The holders' nodes, the zones that have more than `per_zone` holders, and the unfit nodes.
ShardPool::Exclusions ShardPool::Excluded(uint32_t slot, uint32_t per_zone,
                                          const Search& search) const {
  Exclusions excluded;
  for (uint32_t at = shards_[slot].first_holder; at != kNone; at = holders_[at].next) {
    const NodeIndex node = holders_[at].node;
    const uint32_t zone = state_.node(node).zone;
    // With none per zone, each holder that counts closes its zone: no need to count.
    const uint32_t in_zone =
        per_zone == 0 && node != search.moving ? 1 : HoldersInZone(slot, zone, search.moving);
    const uint32_t leaf = leaf_of_node_[node];
    if (in_zone > per_zone) {
      excluded.push_back(zone_leaves_[zone]);
    } else if (leaf != kNone) {
      excluded.push_back({leaf, leaf + 1});
    }
  }
  if (search.only_fit && !unfit_leaves_.empty()) {
    const auto unfit = unfit_leaves_.find(shards_[slot].shard);
    if (unfit != unfit_leaves_.end()) {
      for (const uint32_t leaf : unfit->second) excluded.push_back({leaf, leaf + 1});
    }
  }
  return excluded;
}

ShardPool::Exclusions ShardPool::Closed(uint32_t slot, const Search& search) const {
  return Excluded(slot, search.max_per_zone, search);
}

// How many holders the zone of a further replica has at least.
uint32_t ShardPool::LeastPerZone(uint32_t slot, NodeIndex moving) const {
  if (zones_are_hard_ || shards_[slot].first_holder == kNone) return 0;
  uint32_t least = kNone;
  for (uint32_t zone = 0; zone < zone_leaves_.size(); ++zone) {
    if (zone_leaves_[zone].end == 0) continue;
    least = std::min(least, HoldersInZone(slot, zone, moving));
  }
  return least == kNone ? 0 : least;
}

std::optional<uint32_t> ShardPool::CachedLeaf(uint32_t slot, const Exclusions& excluded) const {
  const auto found = cached_leaves_.find(shards_[slot].shard);
  if (found == cached_leaves_.end()) return std::nullopt;
  std::optional<uint32_t> best;
  double best_ratio = 0;
  for (const uint32_t leaf : found->second) {
    const uint64_t cost = state_.CostOn(leaf_nodes_[leaf], shards_[slot].shard);
    const double ratio = tree_->RatioWith(leaf, cost);
    if (cost > tree_->leaf(leaf).free_bytes() || Covers(excluded, leaf)) continue;
    if (ratio > preference_limit_ || (best && ratio >= best_ratio)) continue;
    best = leaf;
    best_ratio = ratio;
  }
  return best;
}

std::optional<uint32_t> ShardPool::NearLeaf(uint32_t slot, const Exclusions& excluded) const {
  const uint32_t index = shards_[slot].shard;
  const PlanShard& shard = state_.input().shards[index];
  if (shard.location_zones >= far_leaves_.size()) return std::nullopt;
  const std::vector<LeafRange>& far = far_leaves_[shard.location_zones];
  if (far.empty()) return std::nullopt;
  Exclusions all = excluded;
  all.insert(all.end(), far.begin(), far.end());
  const std::optional<uint32_t> leaf = tree_->Least(shard.size_bytes, TieHash(shard, index), all);
  if (!leaf || tree_->RatioWith(*leaf, shard.size_bytes) > preference_limit_) return std::nullopt;
  return leaf;
}

std::optional<uint32_t> ShardPool::LeastLoaded(uint32_t slot, const Exclusions& excluded) const {
  const uint32_t index = shards_[slot].shard;
  const PlanShard& shard = state_.input().shards[index];
  const std::optional<uint32_t> leaf =
      tree_->Least(shard.size_bytes, TieHash(shard, index), excluded);
  const auto found = free_leaves_.find(index);
  if (found == free_leaves_.end()) return leaf;
  std::optional<uint32_t> best;
  for (const uint32_t free : found->second) {
    if (Covers(excluded, free)) continue;
    if (!best || tree_->RatioWith(free, 0) < tree_->RatioWith(*best, 0)) best = free;
  }
  if (!best) return leaf;
  const bool better =
      !leaf || tree_->RatioWith(*best, 0) <= tree_->RatioWith(*leaf, shard.size_bytes);
  return better ? best : leaf;
}

std::optional<uint32_t> ShardPool::BestLeaf(uint32_t slot, const Search& search) const {
  // No zone has more holders than there are, so that the last round closes none.
  uint32_t last = 0;
  for (uint32_t at = shards_[slot].first_holder; at != kNone; at = holders_[at].next) ++last;
  last = std::min(last, search.max_per_zone);
  for (uint32_t per_zone = LeastPerZone(slot, search.moving); per_zone <= last; ++per_zone) {
    const Exclusions excluded = Excluded(slot, per_zone, search);
    std::optional<uint32_t> leaf;
    if (!cached_leaves_.empty()) leaf = CachedLeaf(slot, excluded);
    if (!leaf && !far_leaves_.empty()) leaf = NearLeaf(slot, excluded);
    if (!leaf) leaf = LeastLoaded(slot, excluded);
    if (leaf) return leaf;
  }
  return std::nullopt;
}

void ShardPool::Place(uint32_t slot, uint32_t leaf, NodeIndex replaces) {
  const uint32_t shard = shards_[slot].shard;
  const NodeIndex node = leaf_nodes_[leaf];
  tree_->Add(leaf, state_.CostOn(node, shard));
  state_.Add(node, shard, replaces);
  Holder holder;
  holder.node = node;
  holder.extra = replaces != kNobody;
  AddHolder(slot, holder);
  if (replaces == kNobody) return;
  MutableHolder(slot, replaces)->moving = true;
  const uint32_t from = leaf_of_node_[replaces];
  if (from == kNone) return;
  const uint64_t cost = state_.CostOn(replaces, shard);
  tree_->Remove(from, cost);
  tree_->AddExtra(from, static_cast<int64_t>(cost));
}

void ShardPool::Drop(uint32_t slot, NodeIndex node) {
  const uint32_t shard = shards_[slot].shard;
  const auto& moves = state_.moves();
  const auto move = std::find_if(moves.begin(), moves.end(), [&](const PlanState::Move& candidate) {
    return candidate.to == node && candidate.shard == shard;
  });
  if (move != moves.end()) {
    if (Holder* source = MutableHolder(slot, move->from)) source->moving = false;
    const uint32_t from = leaf_of_node_[move->from];
    if (from != kNone) {
      const uint64_t cost = state_.CostOn(move->from, shard);
      tree_->AddExtra(from, -static_cast<int64_t>(cost));
      tree_->Add(from, cost);
    }
  }
  if (leaf_of_node_[node] != kNone) tree_->Remove(leaf_of_node_[node], state_.CostOn(node, shard));
  state_.Remove(node, shard);
  RemoveHolder(slot, node);
}

}  // namespace muster
