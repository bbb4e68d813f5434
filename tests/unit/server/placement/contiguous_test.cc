#include "server/placement/contiguous.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(ContiguousTest, RunsAreBalancedByBytesAndFollowTheOrderOfTheNodes) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kContiguous, {30, 10, 20, 20, 30, 10});
  for (const char* name : {"n1", "n2", "n3"}) AddNode(sample, name);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0, 1));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(2, 3));
  EXPECT_THAT(ShardsOf(sample, plan, "n3"), ElementsAre(4, 5));
}

TEST(ContiguousTest, RunsFollowTheCapacities) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kContiguous, std::vector<uint64_t>(60, 10));
  AddNode(sample, "small", 1000);
  AddNode(sample, "large", 2000);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "small"), SizeIs(20));
  EXPECT_THAT(ShardsOf(sample, plan, "large"), SizeIs(40));
}

TEST(ContiguousTest, NeighboursShareTheRunOfALostNode) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kContiguous, std::vector<uint64_t>(12, 10));
  for (const char* name : {"n1", "n2", "n3", "n4"}) AddNode(sample, name);
  sample.Accept(sample.Make(), 1);
  sample.input.nodes[1].live = false;
  sample.input.nodes[1].keeps_assignments = false;

  const Plan plan = sample.Make();

  EXPECT_EQ(plan.added_bytes, 30);
  EXPECT_EQ(plan.moved_bytes, 30);
  EXPECT_THAT(plan.unplaced, IsEmpty());
  EXPECT_FALSE(plan.nodes[3].changed);
  EXPECT_THAT(ShardsOf(sample, plan, "n4"), ElementsAre(9, 10, 11));
}

TEST(ContiguousTest, NodeWithoutARunTakesThatOfALostNode) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kContiguous, std::vector<uint64_t>(9, 10));
  for (const char* name : {"n1", "n2", "n3"}) AddNode(sample, name);
  sample.Accept(sample.Make(), 1);
  AddNode(sample, "spare");
  EXPECT_FALSE(sample.Make().changed);
  sample.input.nodes[1].live = false;
  sample.input.nodes[1].keeps_assignments = false;

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "spare"), ElementsAre(3, 4, 5));
  EXPECT_FALSE(plan.nodes[0].changed);
}

TEST(ContiguousTest, NodeThatJoinsGetsAPartOfARunWithinTheBudget) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kContiguous, std::vector<uint64_t>(12, 10));
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  sample.Complete();
  AddNode(sample, "n2");
  sample.input.move_budget_bytes = 25;

  const Plan plan = sample.Make();

  EXPECT_EQ(plan.moved_bytes, 20);
  EXPECT_FALSE(plan.nodes[0].changed);
  sample.Accept(plan, 2);
  sample.Settle();
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n2"), SizeIs(6));
}

TEST(ContiguousTest, DrainedNodeKeepsItsRunUntilOthersHaveItReady) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kContiguous, std::vector<uint64_t>(6, 10));
  AddNode(sample, "n1");
  AddNode(sample, "n2");
  sample.Accept(sample.Make(), 1);
  sample.Complete();
  sample.input.nodes[0].draining = true;

  const Plan started = sample.Make();

  EXPECT_FALSE(started.nodes[0].changed);
  EXPECT_THAT(ShardsOf(sample, started, "n2"), SizeIs(6));
  sample.Accept(started, 2);
  EXPECT_FALSE(sample.Make().changed);
  sample.Settle();
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n1"), IsEmpty());
}

TEST(ContiguousTest, RunsOfOneZoneDoNotOverlap) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kContiguous, std::vector<uint64_t>(60, 10));
  sample.input.replicas = 2;
  for (int i = 0; i < 10; ++i) {
    AddNode(sample, "n" + std::to_string(i), 0, "z" + std::to_string(i % 5));
  }

  const Plan plan = sample.Make();

  EXPECT_THAT(plan.unplaced, IsEmpty());
  for (size_t a = 0; a < 5; ++a) {
    const std::vector<uint32_t> first = ShardsOf(sample, plan, "n" + std::to_string(a));
    const std::vector<uint32_t> second = ShardsOf(sample, plan, "n" + std::to_string(a + 5));
    EXPECT_THAT(first, SizeIs(12));
    EXPECT_THAT(second, SizeIs(12));
    for (const uint32_t shard : first) EXPECT_THAT(second, testing::Not(testing::Contains(shard)));
  }
}

TEST(ContiguousTest, NeighboursOfAHoleMakeRoomForIt) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kContiguous, std::vector<uint64_t>(12, 10));
  for (const char* name : {"n1", "n2", "n3", "n4"}) AddNode(sample, name, 40);
  sample.Accept(sample.Make(), 1);
  sample.Complete();
  sample.input.nodes[3].live = false;
  sample.input.nodes[3].keeps_assignments = false;

  const Plan first = sample.Make();

  EXPECT_THAT(ShardsOf(sample, first, "n3"), SizeIs(4));
  ASSERT_THAT(first.unplaced, SizeIs(1));
  EXPECT_THAT(Indices(first.unplaced[0].shards), ElementsAre(10, 11));
  sample.Accept(first, 2);
  sample.Settle();
  EXPECT_THAT(sample.Make().unplaced, IsEmpty());
}

// Once nothing is on the move, each open node has one run, and what is not named has its replicas
// in different zones where there are enough.
TEST(ContiguousPropertyTest, RunsAreRunsAndCoverEverything) {
  for (uint64_t seed = 1; seed <= 200 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::unique_ptr<Random> random = NewSeededRandom(seed);
    PlanSample sample = RandomSample(*random, PlacementPolicy::kContiguous);
    for (int round = 0; round < 3; ++round) {
      for (PlanNode& node : sample.input.nodes) node.keeps_assignments = node.live;
      sample.Settle();
      const Plan plan = sample.Make();
      std::set<uint32_t> named;
      for (const Unplaced& unplaced : plan.unplaced) {
        for (const ShardIndex shard : unplaced.shards) named.insert(shard.value);
      }
      std::vector<uint32_t> holders(sample.shards.size());
      for (size_t i = 0; i < plan.nodes.size(); ++i) {
        const PlanNode& node = sample.input.nodes[i];
        const std::vector<PlanAssignment>& run = plan.nodes[i].assignments;
        for (const PlanAssignment& assignment : run) ++holders[assignment.shard.value];
        if (!node.live || node.draining || !node.selected || run.empty()) continue;
        ASSERT_EQ(run.back().shard.value - run.front().shard.value + 1, run.size())
            << "node " << node.name;
      }
      for (uint32_t shard = 0; shard < holders.size(); ++shard) {
        ASSERT_TRUE(named.contains(shard) ||
                    holders[shard] >= std::max<uint32_t>(1, sample.input.replicas))
            << "shard " << shard;
      }
      Churn(sample, *random);
    }
  }
}

}  // namespace
}  // namespace muster
