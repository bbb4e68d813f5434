// BALANCED: replicas by bytes, capacities, zones and caches.
#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(BalancedTest, BalancedSplitsByBytes) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {60, 30, 30});
  AddNode(sample, "n1");
  AddNode(sample, "n2");

  const Plan plan = sample.Make();

  EXPECT_EQ(LoadOf(sample, plan, 0), 60);
  EXPECT_EQ(LoadOf(sample, plan, 1), 60);
  EXPECT_TRUE(plan.changed);
  EXPECT_EQ(plan.added_bytes, 120);
  EXPECT_EQ(plan.removed_bytes, 0);
  EXPECT_EQ(plan.moved_bytes, 0);
}

TEST(BalancedTest, BalancedFollowsCapacities) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, std::vector<uint64_t>(60, 10));
  AddNode(sample, "small", 1000);
  AddNode(sample, "large", 2000);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "small"), SizeIs(20));
  EXPECT_THAT(ShardsOf(sample, plan, "large"), SizeIs(40));
}

TEST(BalancedTest, UnboundedNodesBalanceByBytesAndWeighAsTheLargestBounded) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, std::vector<uint64_t>(50, 10));
  AddNode(sample, "small", 1000);
  AddNode(sample, "open1");
  AddNode(sample, "large", 2000);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "small"), SizeIs(10));
  EXPECT_THAT(ShardsOf(sample, plan, "open1"), SizeIs(20));
  EXPECT_THAT(ShardsOf(sample, plan, "large"), SizeIs(20));
}

TEST(BalancedTest, LoadOfOtherAssembliesCounts) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 10, 10});
  AddNode(sample, "busy").used_bytes = 1000;
  AddNode(sample, "idle");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "busy"), IsEmpty());
  EXPECT_THAT(ShardsOf(sample, plan, "idle"), ElementsAre(0, 1, 2));
}

TEST(BalancedTest, ShardCountedElsewhereTakesNoRoom) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {100, 100});
  PlanNode& node = AddNode(sample, "full", 100);
  node.used_bytes = 100;
  node.already_counted = {ShardIndex(1)};

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "full"), ElementsAre(1));
  EXPECT_EQ(LoadOf(sample, plan, 0), 100);
}

TEST(BalancedTest, ShardCountedElsewhereIsFoundOnItsNode) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {100});
  for (const char* name : {"n1", "n2", "n3", "n4"}) AddNode(sample, name, 100).used_bytes = 100;
  // Nodes are kept by zone inside the planner, not by position.
  for (size_t i = 0; i < 4; ++i) sample.input.nodes[i].zone = std::string(1, 'd' - i);
  sample.input.nodes[0].already_counted = {ShardIndex(0)};

  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n1"), ElementsAre(0));
}

TEST(BalancedTest, ShardThatFitsNowhereIsNamedWithNumbers) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {kGiB, 12 * kGiB + 400'000'000});
  AddNode(sample, "n1", 5 * kGiB);
  AddNode(sample, "n2", 10 * kGiB);

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kNoRoom);
  EXPECT_THAT(Indices(plan.unplaced[0].shards), ElementsAre(1));
  EXPECT_FALSE(plan.unplaced[0].node.has_value());
  EXPECT_EQ(plan.unplaced[0].message,
            "shard 1 needs 12.4 GiB, the roomiest node n2 has 9.0 GiB left");
}

TEST(BalancedTest, NumbersThatLookAlikeAreGivenInBytes) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {kGiB + 1});
  AddNode(sample, "n1", kGiB);

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_THAT(plan.unplaced[0].message,
              AllOf(HasSubstr("needs 1073741825 bytes"), HasSubstr("has 1073741824 bytes left")));
}

TEST(BalancedTest, FewerNodesThanReplicasNamesTheMissingReplicas) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 20});
  sample.input.replicas = 3;
  AddNode(sample, "n1");
  AddNode(sample, "n2");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0, 1));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(0, 1));
  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kTooFewNodes);
  EXPECT_EQ(plan.unplaced[0].message,
            "shard 1 has 2 of 3 replicas, and no further node can take one; one more shard is in "
            "the same position");
}

TEST(BalancedTest, EnoughZonesMakeTheSpreadHard) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  sample.input.replicas = 2;
  AddNode(sample, "a1", 0, "a");
  AddNode(sample, "a2", 0, "a");
  AddNode(sample, "b1", 5, "b");

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kNoRoom);
  EXPECT_EQ(plan.unplaced[0].message,
            "shard 0 needs 10 B, the roomiest node outside its zones b1 has 5 B left");
}

TEST(BalancedTest, TooFewZonesSpreadAsEvenlyAsTheyCan) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  sample.input.replicas = 4;
  for (const char* name : {"a1", "a2", "a3", "a4"}) AddNode(sample, name, 0, "a");
  AddNode(sample, "b1", 0, "b").used_bytes = 1000;
  AddNode(sample, "b2", 0, "b").used_bytes = 1000;

  const Plan plan = sample.Make();

  EXPECT_THAT(plan.unplaced, IsEmpty());
  EXPECT_THAT(ShardsOf(sample, plan, "b1"), SizeIs(1));
  EXPECT_THAT(ShardsOf(sample, plan, "b2"), SizeIs(1));
}

TEST(BalancedTest, LostNodeKeepsItsShardsAndGetsNone) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 20, 30});
  PlanNode& lost = AddNode(sample, "lost");
  lost.live = false;
  lost.present = {{ShardIndex(1), Generation(7)}};
  AddNode(sample, "n2");

  const Plan plan = sample.Make();

  EXPECT_THAT(plan.nodes[0].assignments, ElementsAre(PlanAssignment{ShardIndex(1), Generation(7)}));
  EXPECT_FALSE(plan.nodes[0].changed);
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(0, 2));
}

TEST(BalancedTest, ReleasedNodeLosesItsShardsToOthers) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 20, 30});
  PlanNode& released = AddNode(sample, "released");
  released.live = false;
  released.keeps_assignments = false;
  released.present = {{ShardIndex(1), Generation(7)}};
  AddNode(sample, "n2").present = {{ShardIndex(0), Generation(7)}, {ShardIndex(2), Generation(7)}};

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "released"), IsEmpty());
  EXPECT_THAT(plan.nodes[1].assignments, ElementsAre(PlanAssignment{ShardIndex(0), Generation(7)},
                                                     PlanAssignment{ShardIndex(1), kNewGeneration},
                                                     PlanAssignment{ShardIndex(2), Generation(7)}));
  EXPECT_EQ(plan.added_bytes, 20);
  EXPECT_EQ(plan.removed_bytes, 20);
  EXPECT_EQ(plan.moved_bytes, 20);
}

TEST(BalancedTest, FewestLiveReplicasComeFirstWhereRoomIsShort) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {30, 10});
  sample.input.replicas = 2;
  AddNode(sample, "n1").present = {{ShardIndex(0), Generation(3)}};
  AddNode(sample, "n2", 30);

  const Plan plan = sample.Make();

  // Shard 0 is larger, but shard 1 has no replica at all.
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(1));
}

TEST(BalancedTest, ReplicaOnALostNodeDoesNotCountAsLive) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 30});
  sample.input.replicas = 2;
  PlanNode& lost = AddNode(sample, "lost");
  lost.live = false;
  lost.present = {{ShardIndex(0), Generation(3)}};
  AddNode(sample, "full", 30).present = {{ShardIndex(1), Generation(3)}};
  AddNode(sample, "n3", 30);

  const Plan plan = sample.Make();

  // Room for one of the two: shard 1 is larger, but shard 0 has no live replica.
  EXPECT_THAT(ShardsOf(sample, plan, "n3"), ElementsAre(0));
}

TEST(BalancedTest, NodeWithTheShardInItsCacheComesFirst) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 10, 10, 10});
  AddNode(sample, "n1").cached = {ShardIndex(1), ShardIndex(3)};
  AddNode(sample, "n2").cached = {ShardIndex(0), ShardIndex(2)};

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(1, 3));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(0, 2));
}

TEST(BalancedTest, CachesDoNotBreakTheBalance) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 10, 10, 10});
  AddNode(sample, "n1").cached = {ShardIndex(0), ShardIndex(1), ShardIndex(2), ShardIndex(3)};
  AddNode(sample, "n2");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), SizeIs(2));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), SizeIs(2));
}

TEST(BalancedTest, NodeInAZoneOfALocationComesBeforeALessLoadedOne) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {30, 10, 10, 10});
  sample.input.location_zones = {{}, {"b"}};
  for (PlanShard& shard : sample.shards) shard.location_zones = 1;
  sample.shards[0].location_zones = 0;
  AddNode(sample, "n1", 0, "a");
  AddNode(sample, "n2", 0, "b");
  sample.input.nodes[1].used_bytes = 20;
  sample.input.nodes[0].used_bytes = 10;

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), testing::Contains(0));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), testing::IsSupersetOf({1, 2}));
}

TEST(BalancedTest, ShardGoesWhereItDidNotFail) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  PlanNode& failing = AddNode(sample, "failing");
  failing.unfit = {ShardIndex(0)};
  failing.present = {{ShardIndex(0), Generation(1)}};
  EXPECT_FALSE(sample.Make().changed);
  AddNode(sample, "fit").used_bytes = 1000;

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "failing"), IsEmpty());
  EXPECT_THAT(ShardsOf(sample, plan, "fit"), ElementsAre(0));
}

}  // namespace
}  // namespace muster
