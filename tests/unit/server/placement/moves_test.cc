// What is moved while it is READY somewhere: within a budget, off drained nodes, to make room.
#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(PlanMovesTest, ImprovementMovesStayWithinTheBudget) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, std::vector<uint64_t>(40, 10));
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  AddNode(sample, "n2");
  sample.input.move_budget_bytes = 55;

  const Plan plan = sample.Make();

  EXPECT_EQ(plan.moved_bytes, 50);
  EXPECT_EQ(plan.removed_bytes, 0);
  EXPECT_THAT(ShardsOf(sample, plan, "n1"), SizeIs(40));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), SizeIs(5));
}

TEST(PlanMovesTest, MovesOnTheWayUseUpTheBudget) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, std::vector<uint64_t>(40, 10));
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  AddNode(sample, "n2");
  sample.input.move_budget_bytes = 55;
  sample.Accept(sample.Make(), 2);

  EXPECT_FALSE(sample.Make().changed);
  sample.input.move_budget_bytes = 70;
  EXPECT_EQ(sample.Make().moved_bytes, 20);
}

TEST(PlanMovesTest, ReadyReplacementDropsWhatItReplacesAndKeepsItsGeneration) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  AddNode(sample, "old").present = {{ShardIndex(0), Generation(3), 0, true}};
  const uint64_t old_uid = sample.input.nodes[0].uid;
  AddNode(sample, "new").present = {{ShardIndex(0), Generation(5), old_uid, true}};

  const Plan plan = sample.Make();

  EXPECT_THAT(plan.nodes[0].assignments, IsEmpty());
  EXPECT_THAT(plan.nodes[1].assignments,
              ElementsAre(PlanAssignment{ShardIndex(0), Generation(5), 0, true}));
  EXPECT_TRUE(plan.nodes[1].changed);
  EXPECT_EQ(plan.removed_bytes, 10);
  EXPECT_EQ(plan.added_bytes, 0);
}

TEST(PlanMovesTest, ReplacementThatIsNotReadyChangesNothing) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  AddNode(sample, "old").present = {{ShardIndex(0), Generation(3), 0, true}};
  const uint64_t old_uid = sample.input.nodes[0].uid;
  AddNode(sample, "new").present = {{ShardIndex(0), Generation(5), old_uid, false}};

  EXPECT_FALSE(sample.Make().changed);

  // A report of a node that is lost does not count.
  sample.input.nodes[1].present[0].ready = true;
  sample.input.nodes[1].live = false;
  EXPECT_FALSE(sample.Make().changed);
}

TEST(PlanMovesTest, ReplacementWhoseSourceIsGoneIsOrdinaryAtOnce) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  PlanNode& released = AddNode(sample, "released");
  released.present = {{ShardIndex(0), Generation(3), 0, true}};
  released.live = false;
  released.keeps_assignments = false;
  const uint64_t uid = released.uid;
  AddNode(sample, "new").present = {{ShardIndex(0), Generation(5), uid, false}};

  const Plan plan = sample.Make();

  EXPECT_THAT(plan.nodes[1].assignments,
              ElementsAre(PlanAssignment{ShardIndex(0), Generation(5), 0, false}));
  EXPECT_THAT(plan.unplaced, IsEmpty());
}

TEST(PlanMovesTest, DrainedNodeKeepsItsShardsUntilTheReplacementsAreReady) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 20});
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  sample.Complete();
  AddNode(sample, "n2");
  sample.input.nodes[0].draining = true;

  const Plan started = sample.Make();

  const uint64_t n1 = sample.input.nodes[0].uid;
  EXPECT_FALSE(started.nodes[0].changed);
  EXPECT_THAT(started.nodes[1].assignments,
              ElementsAre(PlanAssignment{ShardIndex(0), kNewGeneration, n1},
                          PlanAssignment{ShardIndex(1), kNewGeneration, n1}));
  EXPECT_EQ(started.moved_bytes, 30);
  EXPECT_THAT(started.blocked, IsEmpty());
  sample.Accept(started, 2);
  sample.input.nodes[1].present[1].ready = true;
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n1"), ElementsAre(0));
  sample.Complete();
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n1"), IsEmpty());
}

TEST(PlanMovesTest, UnselectedNodeIsLeftAsIfItWereDraining) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 20});
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  AddNode(sample, "n2");
  sample.input.nodes[0].selected = false;

  sample.Settle();

  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n1"), IsEmpty());
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n2"), ElementsAre(0, 1));
}

TEST(PlanMovesTest, DrainWithoutRoomElsewhereIsBlockedWithNumbers) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {kGiB, 12 * kGiB + 400'000'000});
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  AddNode(sample, "n2", 10 * kGiB);
  sample.input.nodes[0].draining = true;

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.blocked, SizeIs(1));
  EXPECT_EQ(plan.blocked[0].node, 0);
  EXPECT_THAT(Indices(plan.blocked[0].shards), ElementsAre(1));
  EXPECT_EQ(plan.blocked[0].message,
            "shard 1 (12.4 GiB) can't leave n1: it needs 12.4 GiB, the roomiest node n2 has 9.0 "
            "GiB left");
}

TEST(PlanMovesTest, DrainOfTheOnlyNodeSaysThatNoOtherMayTakeTheShard) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  sample.input.nodes[0].draining = true;

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.blocked, SizeIs(1));
  EXPECT_EQ(plan.blocked[0].message, "shard 0 (10 B) can't leave n1: no other node may take it");
}

TEST(PlanMovesTest, MoveToANodeThatIsDrainedTooStartsAgainElsewhere) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  sample.Complete();
  AddNode(sample, "n2");
  sample.input.nodes[0].draining = true;
  sample.Accept(sample.Make(), 2);
  sample.input.nodes[1].draining = true;
  AddNode(sample, "n3");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), IsEmpty());
  EXPECT_THAT(ShardsOf(sample, plan, "n3"), ElementsAre(0));
}

TEST(PlanMovesTest, SmallerShardMakesRoomForOneThatFitsNowhere) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {40, 90});
  AddNode(sample, "large", 100).present = {{ShardIndex(0), Generation(1), 0, true}};
  AddNode(sample, "small", 50);

  const Plan waiting = sample.Make();

  EXPECT_THAT(ShardsOf(sample, waiting, "large"), ElementsAre(0));
  EXPECT_THAT(ShardsOf(sample, waiting, "small"), ElementsAre(0));
  ASSERT_THAT(waiting.unplaced, SizeIs(1));
  EXPECT_EQ(waiting.unplaced[0].message,
            "shard 1 needs 90 B, the roomiest node large has 60 B left; room is being made on "
            "large");
  sample.Accept(waiting, 2);
  EXPECT_FALSE(sample.Make().changed);
  sample.Settle();
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "large"), ElementsAre(1));
  EXPECT_THAT(sample.Make().unplaced, IsEmpty());
}

TEST(PlanMovesTest, ShardThatIsNotReadyMakesRoomAtOnce) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {40, 90});
  AddNode(sample, "large", 100).present = {{ShardIndex(0), Generation(1)}};
  AddNode(sample, "small", 50);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "large"), ElementsAre(1));
  EXPECT_THAT(ShardsOf(sample, plan, "small"), ElementsAre(0));
}

TEST(PlanMovesTest, ImprovementMovesStopOnceLoadsAreEven) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, std::vector<uint64_t>(40, 10));
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  AddNode(sample, "n2");
  sample.input.move_budget_bytes = 1'000'000;
  sample.input.move_epsilon = 0.05;

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n2"), SizeIs(19));
  sample.Accept(plan, 2);
  EXPECT_FALSE(sample.Make().changed);
  sample.Settle();
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n1"), SizeIs(21));
}

TEST(PlanMovesTest, WithoutABudgetNothingMoves) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, std::vector<uint64_t>(40, 10));
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  AddNode(sample, "n2");

  EXPECT_FALSE(sample.Make().changed);
}

}  // namespace
}  // namespace muster
