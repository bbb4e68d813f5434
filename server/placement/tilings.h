// R tilings of a model version's shards by runs, each node in one of them: where the runs are, and
// how holes in them are filled and uneven loads evened out. Changes no assignments.
//
// Internal to server/placement. Not thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_TILINGS_H_
#define MUSTER_SERVER_PLACEMENT_TILINGS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/placement/plan_state.h"

namespace muster {

// Shards [begin, end).
struct Stretch {
  uint32_t begin = 0;
  uint32_t end = 0;

  bool empty() const { return begin >= end; }
  bool contains(uint32_t shard) const { return begin <= shard && shard < end; }
};

struct Run {
  NodeIndex node = 0;
  Stretch at;
};

class Tilings {
 public:
  // By position, without overlaps.
  using Tiling = std::vector<Run>;

  // `state` must outlive the tilings; between Sort and the next Sort it must not change, other than
  // by the assignments that the runs ask for.
  explicit Tilings(const PlanState& state);

  uint32_t replicas() const { return replicas_; }
  const std::vector<Tiling>& tilings() const { return tilings_; }
  // By uid of the nodes: what Sort makes of them does not depend on how they came about.
  std::vector<Run> Runs() const;

  // Starts from these runs, one per node, by uid. Each goes behind the run that ends nearest before
  // it; where there is none, it loses what overlaps the shortest tiling.
  void Sort(std::vector<Run> runs);

  // Fills the holes: with nodes that have no run, and by the neighbours. Neighbours that have no
  // room shed the far ends of their runs. Returns whether anything changed.
  bool Cover();

  // Evens out neighbouring runs, and gives parts of full ones to nodes without a run, moving no
  // more than the budget allows. Returns whether anything changed.
  bool Improve(uint64_t budget_bytes);

  // "needs 12.4 GiB, the roomiest node without a run or with one beside it, n2, has 9.1 GiB left";
  // "" when a shard without enough runs lacks something other than room.
  std::string DescribeShortage(uint32_t shard) const;

 private:
  struct Hole {
    size_t tiling = 0;
    // Where in the tiling a run for it would be inserted.
    size_t position = 0;
    Stretch at;
  };
  // Shards that go from an end of a run to another node.
  struct Shift {
    NodeIndex to = kNobody;
    // From the front of the run, or from its back.
    bool front = false;
    uint32_t count = 0;
    // What it takes from the move budget.
    uint64_t moved_bytes = 0;
    // The higher load ÷ weight of the two nodes afterwards.
    double peak = 0;
  };
  // A node's numbers while the runs change.
  struct Load {
    // Once all moves have ended.
    uint64_t end_bytes = 0;
    uint64_t free_bytes = 0;
    uint64_t weight = 1;
    bool has_run = false;
  };

  void WeighNodes();
  std::vector<Hole> Holes() const;
  std::vector<NodeIndex> Spares() const;
  bool FillEmptyTilings();
  double FillEmptyTilings(const std::vector<size_t>& empty, bool by_zone);
  std::vector<std::vector<NodeIndex>> GroupSpares(size_t groups, bool by_zone) const;
  bool FillHoles();
  bool FillHole(const Hole& hole, const std::vector<NodeIndex>& spares, bool partly);
  // The ends of what each taker gets, one after the other from the hole's begin.
  std::vector<uint32_t> Partition(const std::vector<NodeIndex>& takers, Stretch hole,
                                  double ratio_limit) const;
  uint32_t TakeUpTo(NodeIndex taker, Stretch stretch, double ratio_limit) const;
  uint32_t TakeBackTo(NodeIndex taker, Stretch stretch) const;
  void Take(NodeIndex node, Stretch stretch);

  bool MakeRoom();
  bool MayPush(const std::vector<Hole>& holes, size_t index, bool front) const;
  bool ShedFrom(size_t tiling, size_t giver, bool front, uint64_t& needed_bytes);
  uint64_t RoomSoon(NodeIndex node) const;

  bool ImproveRun(size_t tiling, size_t position, uint64_t& budget_bytes);
  std::optional<Shift> BestShift(const Run& run, NodeIndex to, bool front,
                                 uint64_t budget_bytes) const;
  void Apply(size_t tiling, size_t position, const Shift& shift);
  // The node whose run touches this one, if it takes shards; kNobody otherwise.
  NodeIndex Neighbour(size_t tiling, size_t position, bool front) const;

  uint64_t Bytes(Stretch stretch) const { return sums_[stretch.end] - sums_[stretch.begin]; }
  double Ratio(NodeIndex node, uint64_t more_bytes) const {
    return static_cast<double>(loads_[node].end_bytes + more_bytes) /
           static_cast<double>(loads_[node].weight);
  }
  bool Open(NodeIndex node) const { return node != kNobody && state_.node(node).open; }
  // What the node has to find room for.
  uint64_t RoomFor(NodeIndex node, uint32_t shard) const {
    return state_.Keeps(node, shard) ? 0 : state_.CostOn(node, shard);
  }
  // Another replica than the giver's is in the node's zone, or the node's own is on its way off.
  bool Forbidden(NodeIndex node, uint32_t shard, NodeIndex giver = kNobody) const {
    return ForbiddenWithin(node, {shard, shard + 1}, giver);
  }
  bool ForbiddenWithin(NodeIndex node, Stretch stretch, NodeIndex giver = kNobody) const;

  const PlanState& state_;
  uint32_t replicas_;
  bool zones_are_hard_ = false;
  // Sizes of the shards before each index.
  std::vector<uint64_t> sums_;
  std::vector<Load> loads_;
  std::vector<Tiling> tilings_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_TILINGS_H_
