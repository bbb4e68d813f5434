#include "server/placement/load_tree.h"

#include <limits>
#include <optional>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"

namespace muster {
namespace {

bool IsExcluded(const std::vector<LeafRange>& excluded, uint32_t leaf) {
  for (const LeafRange& range : excluded) {
    if (range.begin <= leaf && leaf < range.end) return true;
  }
  return false;
}

// The lowest ratio by looking at every leaf; infinity where none has room.
double LeastByScan(const LoadTree& tree, uint64_t size, const std::vector<LeafRange>& excluded) {
  double best = std::numeric_limits<double>::infinity();
  for (uint32_t leaf = 0; leaf < tree.size(); ++leaf) {
    if (IsExcluded(excluded, leaf) || tree.leaf(leaf).free_bytes() < size) continue;
    best = std::min(best, tree.RatioWith(leaf, size));
  }
  return best;
}

TEST(LoadTreeTest, EmptyTreeHasNoLeast) {
  const LoadTree tree({});
  EXPECT_EQ(tree.Least(0, 1, {}), std::nullopt);
  EXPECT_EQ(tree.Roomiest({}), std::nullopt);
}

TEST(LoadTreeTest, FullLeafIsNotChosen) {
  const LoadTree tree({{90, 100, 100}, {950, 1000, 1000}});
  EXPECT_EQ(tree.Least(11, 1, {}), 1);
  EXPECT_EQ(tree.Least(51, 1, {}), std::nullopt);
}

// Goal: the search never misses the least loaded leaf. Method: compare with a scan while loads,
// sizes, weights and exclusions are drawn at random.
TEST(LoadTreeTest, SearchAgreesWithScan) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::unique_ptr<Random> random = NewSeededRandom(seed);
    const uint64_t weights = 1 + random->Below(20);
    std::vector<LoadLeaf> leaves(1 + random->Below(70));
    for (LoadLeaf& leaf : leaves) {
      leaf.weight = 500 + 137 * random->Below(weights);
      leaf.capacity_bytes = random->Below(5) == 0 ? ~uint64_t{0} : leaf.weight;
      leaf.load_bytes = random->Below(600);
    }
    LoadTree tree(leaves);
    for (int step = 0; step < 60; ++step) {
      std::vector<LeafRange> excluded;
      for (uint64_t n = random->Below(4); n > 0; --n) {
        const uint32_t begin = static_cast<uint32_t>(random->Below(leaves.size()));
        const uint32_t end =
            begin + static_cast<uint32_t>(random->Below(leaves.size() - begin + 1));
        excluded.push_back({begin, end});
      }
      const uint64_t size = random->Below(120);
      if (random->Below(2) == 0) tree.ExpectSize(random->Below(120));
      const double expected = LeastByScan(tree, size, excluded);
      const std::optional<uint32_t> found = tree.Least(size, random->Next64(), excluded);
      ASSERT_EQ(found.has_value(), expected != std::numeric_limits<double>::infinity());
      if (!found) continue;
      ASSERT_FALSE(IsExcluded(excluded, *found));
      ASSERT_EQ(tree.RatioWith(*found, size), expected);
      tree.Add(*found, size);
      if (random->Below(3) == 0) tree.Remove(*found, random->Below(size + 1));
    }
  }
}

TEST(LoadTreeTest, TiesSpreadByHash) {
  const LoadTree tree(std::vector<LoadLeaf>(16, LoadLeaf{0, 100, 100}));
  std::set<uint32_t> winners;
  for (uint64_t hash = 0; hash < 400; ++hash) winners.insert(*tree.Least(10, hash, {}));
  EXPECT_EQ(winners.size(), 16);
  EXPECT_EQ(tree.Least(10, 5, {}), tree.Least(10, 5, {}));
}

}  // namespace
}  // namespace muster
