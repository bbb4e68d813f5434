#include "server/placement/load_tree.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "server/placement/hash.h"

namespace muster {
namespace {

// Two sums of rounded numbers may end up on the wrong side of each other by a few units in the last
// place; the bound that adds is lowered by more than that, so that it never cuts off the true
// winner.
constexpr double kRoundingSlack = 1 - 1e-12;

bool NodeCovers(absl::Span<const LeafRange> excluded, uint32_t begin, uint32_t end) {
  for (const LeafRange& range : excluded) {
    if (range.begin <= begin && end <= range.end) return true;
  }
  return false;
}

}  // namespace

LoadTree::LoadTree(std::vector<LoadLeaf> leaves) : leaves_(std::move(leaves)) {
  inverse_weights_.reserve(leaves_.size());
  for (const LoadLeaf& leaf : leaves_) {
    inverse_weights_.push_back(1.0 / static_cast<double>(leaf.weight));
  }
  leaf_vertices_.resize(leaves_.size());
  if (leaves_.empty()) return;
  vertices_.reserve(2 * leaves_.size());
  Build(0, size(), 0);
}

uint32_t LoadTree::Build(uint32_t begin, uint32_t end, uint32_t parent) {
  const uint32_t index = static_cast<uint32_t>(vertices_.size());
  vertices_.emplace_back();
  vertices_[index].begin = begin;
  vertices_[index].end = end;
  vertices_[index].parent = parent;
  if (end - begin == 1) {
    leaf_vertices_[begin] = index;
    SetFromLeaf(vertices_[index]);
    return index;
  }
  const uint32_t split = SplitPoint(begin, end);
  const uint32_t left = Build(begin, split, index);
  const uint32_t right = Build(split, end, index);
  vertices_[index].left = left;
  vertices_[index].right = right;
  SetFromChildren(vertices_[index]);
  return index;
}

// Splits where the weight changes, as near to the middle as there is such a place, because bounds
// are exact where all weights are equal. The depth stays logarithmic: the smaller part has at most
// half of the leaves, and a larger part that keeps its size is split off on its other side next.
uint32_t LoadTree::SplitPoint(uint32_t begin, uint32_t end) const {
  const uint32_t middle = begin + (end - begin) / 2;
  for (uint32_t distance = 0; distance <= end - begin; ++distance) {
    const uint32_t above = middle + distance;
    if (above < end && leaves_[above - 1].weight != leaves_[above].weight) return above;
    if (middle >= begin + 1 + distance) {
      const uint32_t below = middle - distance;
      if (leaves_[below - 1].weight != leaves_[below].weight) return below;
    }
  }
  return middle;
}

void LoadTree::SetFromLeaf(Vertex& vertex) const {
  const LoadLeaf& leaf = leaves_[vertex.begin];
  vertex.min_inverse_weight = inverse_weights_[vertex.begin];
  vertex.max_inverse_weight = vertex.min_inverse_weight;
  vertex.min_ratio = RatioWith(vertex.begin, expected_size_);
  vertex.min_load = leaf.load_bytes;
  vertex.max_free = leaf.free_bytes();
}

bool LoadTree::SetFromChildren(Vertex& vertex) const {
  const Vertex& left = vertices_[vertex.left];
  const Vertex& right = vertices_[vertex.right];
  const double min_ratio = std::min(left.min_ratio, right.min_ratio);
  const uint64_t min_load = std::min(left.min_load, right.min_load);
  const uint64_t max_free = std::max(left.max_free, right.max_free);
  vertex.min_inverse_weight = std::min(left.min_inverse_weight, right.min_inverse_weight);
  vertex.max_inverse_weight = std::max(left.max_inverse_weight, right.max_inverse_weight);
  if (min_ratio == vertex.min_ratio && min_load == vertex.min_load && max_free == vertex.max_free) {
    return false;
  }
  vertex.min_ratio = min_ratio;
  vertex.min_load = min_load;
  vertex.max_free = max_free;
  return true;
}

void LoadTree::Refresh(uint32_t index) {
  uint32_t vertex = leaf_vertices_[index];
  SetFromLeaf(vertices_[vertex]);
  while (vertex != 0) {
    vertex = vertices_[vertex].parent;
    if (!SetFromChildren(vertices_[vertex])) return;
  }
}

// A new expectation renews every vertex. Each call pays for 16 of them, and a size within half a
// percent of the expected one is near enough.
void LoadTree::ExpectSize(uint64_t size_bytes) {
  ++expectations_;
  const bool near = size_bytes <= expected_size_ && expected_size_ - size_bytes <= size_bytes / 200;
  if (near || expectations_ * 16 < vertices_.size()) return;
  expectations_ = 0;
  expected_size_ = size_bytes;
  // Children stand behind their parents.
  for (auto vertex = vertices_.rbegin(); vertex != vertices_.rend(); ++vertex) {
    if (vertex->end - vertex->begin == 1) {
      SetFromLeaf(*vertex);
    } else {
      SetFromChildren(*vertex);
    }
  }
}

double LoadTree::RatioWith(uint32_t index, uint64_t size_bytes) const {
  return static_cast<double>(leaves_[index].load_bytes + size_bytes) * inverse_weights_[index];
}

double LoadTree::RatioWithout(uint32_t index, uint64_t size_bytes) const {
  return static_cast<double>(leaves_[index].load_bytes - size_bytes) * inverse_weights_[index];
}

// Two bounds, the better one counts. The first rounds exactly as RatioWith does, so that it equals
// the best leaf where all weights are equal. The second starts from the best leaf for the expected
// size and allows for what the difference in size may change, so it is close where weights differ
// and sizes are as expected.
double LoadTree::LowerBound(const Vertex& vertex, uint64_t size_bytes) const {
  if (vertex.max_free < size_bytes) return std::numeric_limits<double>::infinity();
  const double least_load =
      static_cast<double>(vertex.min_load + size_bytes) * vertex.min_inverse_weight;
  const double expected_ratio = vertex.min_ratio * kRoundingSlack;
  const double least_ratio =
      size_bytes < expected_size_
          ? expected_ratio -
                static_cast<double>(expected_size_ - size_bytes) * vertex.max_inverse_weight
          : expected_ratio + static_cast<double>(size_bytes - expected_size_) *
                                 vertex.min_inverse_weight * kRoundingSlack;
  return std::max(least_load, least_ratio);
}

std::optional<uint32_t> LoadTree::Least(uint64_t size_bytes, uint64_t tie_hash,
                                        absl::Span<const LeafRange> excluded) const {
  if (leaves_.empty()) return std::nullopt;
  struct Pending {
    double bound;
    uint32_t vertex;
  };
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double best = kNone;
  std::optional<uint32_t> winner;
  absl::InlinedVector<Pending, 64> stack;
  stack.push_back({LowerBound(vertices_[0], size_bytes), 0});
  while (!stack.empty()) {
    const Pending top = stack.back();
    stack.pop_back();
    if (top.bound >= best) continue;
    const Vertex& vertex = vertices_[top.vertex];
    if (NodeCovers(excluded, vertex.begin, vertex.end)) continue;
    if (vertex.end - vertex.begin == 1) {
      // The bound of a single leaf may be below its ratio by the slack, hence the second
      // comparison.
      const double ratio = RatioWith(vertex.begin, size_bytes);
      if (ratio >= best) continue;
      best = ratio;
      winner = vertex.begin;
      continue;
    }
    const Pending left{LowerBound(vertices_[vertex.left], size_bytes), vertex.left};
    const Pending right{LowerBound(vertices_[vertex.right], size_bytes), vertex.right};
    const bool left_first = left.bound != right.bound
                                ? left.bound < right.bound
                                : (MixBits(tie_hash ^ MixBits(top.vertex)) & 1) == 0;
    const Pending& later = left_first ? right : left;
    const Pending& sooner = left_first ? left : right;
    if (later.bound < best) stack.push_back(later);
    if (sooner.bound < best) stack.push_back(sooner);
  }
  return winner;
}

std::optional<uint32_t> LoadTree::Roomiest(absl::Span<const LeafRange> excluded) const {
  std::optional<uint32_t> winner;
  for (uint32_t index = 0; index < size(); ++index) {
    if (NodeCovers(excluded, index, index + 1)) continue;
    if (!winner || leaves_[index].free_bytes() > leaves_[*winner].free_bytes()) winner = index;
  }
  return winner;
}

void LoadTree::Add(uint32_t index, uint64_t size_bytes) {
  leaves_[index].load_bytes += size_bytes;
  Refresh(index);
}

void LoadTree::Remove(uint32_t index, uint64_t size_bytes) {
  leaves_[index].load_bytes -= size_bytes;
  Refresh(index);
}

void LoadTree::AddExtra(uint32_t index, int64_t size_bytes) {
  leaves_[index].extra_bytes += static_cast<uint64_t>(size_bytes);
  Refresh(index);
}

}  // namespace muster
