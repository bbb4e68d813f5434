// Finds the least loaded node that has room, among thousands, in logarithmic time.
//
// A binary tree over the nodes ("leaves"), ordered by zone and weight. Each inner vertex keeps what
// bounds its leaves from below, so that a search enters only vertices that can still win. Not
// thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_LOAD_TREE_H_
#define MUSTER_SERVER_PLACEMENT_LOAD_TREE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace muster {

struct LoadLeaf {
  // What it has once the moves under way have ended; ratios are of this.
  uint64_t load_bytes = 0;
  // The highest value means unbounded.
  uint64_t capacity_bytes = 0;
  // What loads are compared by: the capacity, or what stands for it. At least 1.
  uint64_t weight = 1;
  // What takes room besides: replicas that are moving away, and room that is kept free.
  uint64_t extra_bytes = 0;

  uint64_t free_bytes() const {
    const uint64_t taken_bytes = load_bytes + extra_bytes;
    return capacity_bytes > taken_bytes ? capacity_bytes - taken_bytes : 0;
  }
};

// Leaves [begin, end).
struct LeafRange {
  uint32_t begin = 0;
  uint32_t end = 0;
};

class LoadTree {
 public:
  // Searches are fast when leaves of equal weight stand side by side.
  explicit LoadTree(std::vector<LoadLeaf> leaves);

  const LoadLeaf& leaf(uint32_t index) const { return leaves_[index]; }
  uint32_t size() const { return static_cast<uint32_t>(leaves_.size()); }

  // Load ÷ weight once `size_bytes` are added.
  double RatioWith(uint32_t index, uint64_t size_bytes) const;
  // The same once they are taken away; the load must hold that much.
  double RatioWithout(uint32_t index, uint64_t size_bytes) const;

  // Announces the size that Least is about to be asked for. Searches for sizes near it are the
  // fastest; what they find does not depend on it. Costs little on average, whatever the sizes.
  void ExpectSize(uint64_t size_bytes);

  // The leaf outside `excluded` with room for `size_bytes` and the lowest RatioWith. Among equals,
  // `tie_hash` decides at each fork of the tree: a rendezvous of the asking shard with both halves.
  std::optional<uint32_t> Least(uint64_t size_bytes, uint64_t tie_hash,
                                absl::Span<const LeafRange> excluded) const;

  // The leaf outside `excluded` with the most room; the first of equals.
  std::optional<uint32_t> Roomiest(absl::Span<const LeafRange> excluded) const;

  void Add(uint32_t index, uint64_t size_bytes);
  // The load must hold that much.
  void Remove(uint32_t index, uint64_t size_bytes);
  // Takes room without counting as load; a negative number gives it back.
  void AddExtra(uint32_t index, int64_t size_bytes);

 private:
  struct Vertex {
    // Over the leaves below: the lowest RatioWith the expected size, the lowest and highest 1 ÷
    // weight, the lowest load, and the most room.
    double min_ratio = 0;
    double min_inverse_weight = 0;
    double max_inverse_weight = 0;
    uint64_t min_load = 0;
    uint64_t max_free = 0;
    // Leaves [begin, end); a vertex with one leaf has no children.
    uint32_t begin = 0;
    uint32_t end = 0;
    uint32_t left = 0;
    uint32_t right = 0;
    uint32_t parent = 0;
  };

  uint32_t Build(uint32_t begin, uint32_t end, uint32_t parent);
  uint32_t SplitPoint(uint32_t begin, uint32_t end) const;
  void SetFromLeaf(Vertex& vertex) const;
  // Returns whether anything changed.
  bool SetFromChildren(Vertex& vertex) const;
  void Refresh(uint32_t index);
  // No leaf below has a lower RatioWith.
  double LowerBound(const Vertex& vertex, uint64_t size_bytes) const;

  uint64_t expected_size_ = 0;
  // Calls of ExpectSize since it last took effect.
  uint64_t expectations_ = 0;
  std::vector<LoadLeaf> leaves_;
  std::vector<double> inverse_weights_;
  std::vector<Vertex> vertices_;
  // The vertex of each leaf.
  std::vector<uint32_t> leaf_vertices_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_LOAD_TREE_H_
