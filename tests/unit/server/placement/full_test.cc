// FULL: every live member gets everything.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(FullTest, FullGivesEveryLiveNodeEverything) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kFull, {10, 20, 30});
  AddNode(sample, "n1");
  AddNode(sample, "n2", 60).claim = ClaimShards({1});
  AddNode(sample, "lost").live = false;
  AddNode(sample, "draining").draining = true;

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0, 1, 2));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(0, 1, 2));
  EXPECT_THAT(ShardsOf(sample, plan, "lost"), IsEmpty());
  EXPECT_THAT(ShardsOf(sample, plan, "draining"), IsEmpty());
  EXPECT_THAT(plan.unplaced, IsEmpty());
}

TEST(FullTest, FullNamesTheNodeWithoutRoom) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kFull, {10, 20, 30});
  AddNode(sample, "n1");
  AddNode(sample, "n2", 35);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0, 1, 2));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), IsEmpty()) << "a part of it is of no use";
  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].node, 1);
  EXPECT_EQ(plan.unplaced[0].message, "node n2 needs 60 B for its shards, has 35 B left");
  EXPECT_EQ(plan.nodes[1].shortage, (PlanShortage{60, 35}));
  EXPECT_EQ(plan.nodes[0].shortage, std::nullopt);
}

TEST(FullTest, DrainUnderFullDropsWhatAnotherMemberHasReady) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kFull, {10, 20});
  AddNode(sample, "n1");
  AddNode(sample, "n2");
  sample.Accept(sample.Make(), 1);
  sample.input.nodes[0].draining = true;
  sample.input.nodes[1].present[0].ready = true;

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(1));
  ASSERT_THAT(plan.blocked, SizeIs(1));
  EXPECT_EQ(plan.blocked[0].message, "shard 1 (20 B) stays on n1 until n2 has it READY");
}

}  // namespace
}  // namespace muster
