// Shards that any of a group of nodes may hold, each wanted R times: BALANCED as a whole, and the
// gaps under DECLARED.
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
  // `members` by uid; `shards` ascending. `state` must outlive the pool.
  ShardPool(PlanState& state, const std::vector<NodeIndex>& members,
            const std::vector<uint32_t>& shards);

  // Places the missing replicas: of the shards with the fewest live ones first, then the largest.
  void Fill();

  // Evens out the loads of the open members within the input's move budget. Each move lowers the
  // higher one of the two loads that it touches.
  void Improve();

  // Names in the state's plan what Fill could not place.
  void ReportUnplaced();

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};

  // A shard's holders are a list of these.
  struct Holder {
    NodeIndex node = 0;
    uint32_t next = kNone;
  };
  struct PoolShard {
    uint32_t shard = 0;
    uint32_t first_holder = kNone;
    // Replicas that are kept or placed, and those of them on live nodes.
    uint32_t holders = 0;
    uint32_t live = 0;
    bool unplaced = false;
  };
  struct Move {
    uint32_t slot = 0;
    uint32_t target_leaf = 0;
    // The higher load ÷ weight of the two nodes after the move.
    double peak = 0;
  };
  using Exclusions = absl::InlinedVector<LeafRange, 8>;

  void BuildLeaves(const std::vector<NodeIndex>& members);
  void FindHolders(const std::vector<NodeIndex>& members);
  void FindCheapNodes();

  // Where one more replica may not go: the holders' nodes, and the zones that have more than
  // `per_zone` holders. The holder `moving` does not count.
  Exclusions Excluded(const PoolShard& shard, uint32_t per_zone, NodeIndex moving) const;
  // How many holders the zone of a further replica has at least, and may have at most.
  uint32_t LeastPerZone(const PoolShard& shard, NodeIndex moving) const;
  uint32_t HoldersInZone(const PoolShard& shard, uint32_t zone, NodeIndex moving) const;
  std::optional<uint32_t> BestLeaf(const PoolShard& shard, uint32_t max_per_zone,
                                   NodeIndex moving) const;
  std::optional<uint32_t> CheapLeaf(const PoolShard& shard, const Exclusions& excluded) const;
  bool PlaceOne(PoolShard& shard);
  void AddHolder(PoolShard& shard, NodeIndex node);
  void RemoveHolder(PoolShard& shard, NodeIndex node);

  std::optional<Move> BestMove(uint32_t leaf, uint64_t budget_bytes) const;
  // Returns what the move takes from the budget.
  uint64_t Apply(const Move& move, uint32_t from_leaf);

  Unplaced Describe(Unplaced::Cause cause, const std::vector<uint32_t>& slots) const;

  PlanState& state_;
  uint32_t replicas_;
  // No two replicas in one zone, because there are enough zones.
  bool zones_are_hard_ = false;
  std::vector<PoolShard> shards_;
  // Position in shards_ of each shard of the model version, or kNone.
  std::vector<uint32_t> slots_;
  std::vector<Holder> holders_;
  // The open members, by zone and weight.
  std::vector<NodeIndex> leaf_nodes_;
  // Per node of the input, its leaf or kNone.
  std::vector<uint32_t> leaf_of_node_;
  // Per zone number, its leaves; empty where no member is open.
  std::vector<LeafRange> zone_leaves_;
  std::optional<LoadTree> tree_;
  // Leaves on which a shard costs no room, by shard.
  absl::flat_hash_map<uint32_t, std::vector<uint32_t>> cheap_leaves_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_SHARD_POOL_H_
