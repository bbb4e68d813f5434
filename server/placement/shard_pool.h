// Shards that any of a group of nodes may hold, each wanted R times: which nodes hold them, and
// where one more replica would go best.
//
// Internal to server/placement. Not thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_SHARD_POOL_H_
#define MUSTER_SERVER_PLACEMENT_SHARD_POOL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "server/placement/load_tree.h"
#include "server/placement/plan_state.h"

namespace muster {

class ShardPool {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};

  // One replica. A shard's holders are a list of these.
  struct Holder {
    NodeIndex node = 0;
    uint32_t next = kNone;
    // Is to replace another one, and is not counted before.
    bool extra = false;
    // Another one is to replace it.
    bool moving = false;
    // Ready, as far as the input says.
    bool ready = false;
    // Present before the plan.
    bool kept = false;
  };
  // A shard by its position in the pool, its slot.
  struct Shard {
    uint32_t shard = 0;
    uint32_t first_holder = kNone;
    // Ordinary replicas, and those of them on live nodes.
    uint32_t holders = 0;
    uint32_t live = 0;
    bool unplaced = false;
  };
  // What a search for a node asks for.
  struct Search {
    // The replica on this node is the one that would go, so its zone does not count.
    NodeIndex moving = kNobody;
    // A zone with more replicas than this is closed.
    uint32_t max_per_zone = 0;
    // Nodes where the shard failed too often are closed.
    bool only_fit = true;
  };
  using Exclusions = absl::InlinedVector<LeafRange, 8>;

  // `members` by uid; those that are not open only hold. `shards` ascending. `state` must outlive
  // the pool.
  ShardPool(PlanState& state, const std::vector<NodeIndex>& members,
            const std::vector<uint32_t>& shards);

  PlanState& state() { return state_; }
  const PlanState& state() const { return state_; }
  uint32_t replicas() const { return replicas_; }
  // No two replicas in one zone, because there are enough zones.
  bool zones_are_hard() const { return zones_are_hard_; }
  std::vector<Shard>& shards() { return shards_; }
  const std::vector<Shard>& shards() const { return shards_; }
  // The shard's slot, or kNone.
  uint32_t slot_of(uint32_t shard) const { return slots_[shard]; }
  uint64_t size_of(uint32_t slot) const { return state_.size_of(shards_[slot].shard); }
  const Holder& holder(uint32_t index) const { return holders_[index]; }
  const Holder* FindHolder(uint32_t slot, NodeIndex node) const;

  // The leaves are the open members.
  LoadTree& tree() { return *tree_; }
  const LoadTree& tree() const { return *tree_; }
  NodeIndex node_of(uint32_t leaf) const { return leaf_nodes_[leaf]; }
  // kNone for a node that is not open.
  uint32_t leaf_of(NodeIndex node) const { return leaf_of_node_[node]; }

  // The load ÷ weight up to which a node that is preferred for a shard gets it, though another one
  // is less loaded: (1 + epsilon) of the mean once every missing replica is placed.
  void SetPreferenceLimit();

  // Highest max_per_zone for a replica that must go somewhere.
  uint32_t AnyZone() const { return zones_are_hard_ ? 0 : kNone - 1; }
  uint32_t HoldersInZone(uint32_t slot, uint32_t zone, NodeIndex moving) const;

  // The best leaf for one more replica: zones with fewer replicas come first, then nodes that have
  // the bytes in their cache, then those near a location, then the least loaded.
  std::optional<uint32_t> BestLeaf(uint32_t slot, const Search& search) const;
  // What a search that goes as far as it may can't choose, room aside.
  Exclusions Closed(uint32_t slot, const Search& search) const;
  bool HasUnfit(uint32_t slot) const { return unfit_leaves_.contains(shards_[slot].shard); }

  // Adds a replica; `replaces` is the node of an ordinary one, on no other move.
  void Place(uint32_t slot, uint32_t leaf, NodeIndex replaces = kNobody);
  // Takes a replica away that is on no move, or that is the new one of a move.
  void Drop(uint32_t slot, NodeIndex node);

 private:
  using LeavesByShard = absl::flat_hash_map<uint32_t, std::vector<uint32_t>>;

  void BuildLeaves(const std::vector<NodeIndex>& members);
  void FindHolders(const std::vector<NodeIndex>& members);
  void FindSpecialLeaves();
  void FindFarLeaves();

  Holder* MutableHolder(uint32_t slot, NodeIndex node);
  void AddHolder(uint32_t slot, const Holder& holder);
  void RemoveHolder(uint32_t slot, NodeIndex node);

  Exclusions Excluded(uint32_t slot, uint32_t per_zone, const Search& search) const;
  uint32_t LeastPerZone(uint32_t slot, NodeIndex moving) const;
  std::optional<uint32_t> CachedLeaf(uint32_t slot, const Exclusions& excluded) const;
  std::optional<uint32_t> NearLeaf(uint32_t slot, const Exclusions& excluded) const;
  std::optional<uint32_t> LeastLoaded(uint32_t slot, const Exclusions& excluded) const;

  PlanState& state_;
  uint32_t replicas_;
  bool zones_are_hard_ = false;
  std::vector<Shard> shards_;
  // Position in shards_ of each shard of the model version, or kNone.
  std::vector<uint32_t> slots_;
  std::vector<Holder> holders_;
  // By zone and weight.
  std::vector<NodeIndex> leaf_nodes_;
  // Per node of the input, its leaf or kNone.
  std::vector<uint32_t> leaf_of_node_;
  // Per zone number, its leaves; empty where no member is open.
  std::vector<LeafRange> zone_leaves_;
  std::optional<LoadTree> tree_;
  double preference_limit_ = 0;
  // By shard: leaves on which it costs no room, that have it in their cache, where it failed too
  // often.
  LeavesByShard free_leaves_;
  LeavesByShard cached_leaves_;
  LeavesByShard unfit_leaves_;
  // Per list of location zones: the leaves outside them; empty where that is none or all.
  std::vector<std::vector<LeafRange>> far_leaves_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_SHARD_POOL_H_
