// DECLARED: members get what they claim; the rest goes to those that take anything.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(DeclaredTest, DeclaredGivesWhatIsClaimedAndNamesTheRest) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20, 30, 40});
  AddNode(sample, "n1").claim = ClaimShards({1, 0, 1});
  AddNode(sample, "n2").claim = ClaimShards({1});

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0, 1));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(1));
  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kUnclaimed);
  EXPECT_THAT(Indices(plan.unplaced[0].shards), ElementsAre(2, 3));
  EXPECT_THAT(plan.unplaced[0].message, HasSubstr("no node claims shard 2"));
}

TEST(DeclaredTest, DeclaredGapsGoToAnyClaimsEvenly) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20, 20, 40});
  AddNode(sample, "n1").claim = ClaimShards({0});
  AddNode(sample, "any1");
  AddNode(sample, "any2");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0));
  EXPECT_EQ(LoadOf(sample, plan, 1), 40);
  EXPECT_EQ(LoadOf(sample, plan, 2), 40);
  EXPECT_THAT(plan.unplaced, IsEmpty());
}

TEST(DeclaredTest, ClaimAllGetsEverything) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20});
  AddNode(sample, "all").claim = ClaimAll();
  AddNode(sample, "any");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "all"), ElementsAre(0, 1));
  EXPECT_THAT(ShardsOf(sample, plan, "any"), IsEmpty());
}

TEST(DeclaredTest, ClaimOfRanksGetsTheShardsOfThoseRanks) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20, 30});
  sample.shards[1].rank = 4;
  sample.shards[2].rank = 0;
  PlanNode& node = AddNode(sample, "n1");
  node.claim.kind = PlanClaim::Kind::kRanks;
  node.claim.ranks = {4};

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(1));
}

TEST(DeclaredTest, ClaimedShardWithoutRoomIsNamedAndCoveredByAny) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 50});
  AddNode(sample, "n1", 45).claim = ClaimAll();
  AddNode(sample, "any");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), IsEmpty());
  EXPECT_THAT(ShardsOf(sample, plan, "any"), ElementsAre(0, 1));
  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kNoRoom);
  EXPECT_EQ(plan.unplaced[0].node, 0);
  EXPECT_EQ(plan.unplaced[0].message, "node n1 needs 60 B for its shards, has 45 B left");
}

TEST(DeclaredTest, ShardClaimedOnlyByALostNodeIsNotCalledUnclaimed) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20});
  PlanNode& lost = AddNode(sample, "lost");
  lost.live = false;
  lost.claim = ClaimAll();
  lost.present = {{ShardIndex(0), Generation(1)}};

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kTooFewNodes);
  EXPECT_THAT(Indices(plan.unplaced[0].shards), ElementsAre(1));
}

TEST(DeclaredTest, AssignmentThatTheClaimNoLongerCoversIsDropped) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20});
  PlanNode& node = AddNode(sample, "n1");
  node.claim = ClaimShards({1});
  node.present = {{ShardIndex(0), Generation(1)}, {ShardIndex(1), Generation(1)}};

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(1));
  EXPECT_TRUE(plan.changed);
  EXPECT_EQ(plan.removed_bytes, 10);
}

TEST(DeclaredTest, ShardOnAnAnyNodeStaysWhenItIsClaimedLater) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10});
  AddNode(sample, "any");
  sample.Accept(sample.Make(), 5);
  AddNode(sample, "all").claim = ClaimAll();

  const Plan plan = sample.Make();

  EXPECT_FALSE(plan.nodes[0].changed);
  EXPECT_THAT(ShardsOf(sample, plan, "all"), ElementsAre(0));
}

TEST(DeclaredTest, DrainOfTheOnlyClaimantIsBlocked) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20});
  AddNode(sample, "n1").claim = ClaimAll();
  AddNode(sample, "n2").claim = ClaimShards({1});
  sample.Accept(sample.Make(), 1);
  sample.Complete();
  sample.input.nodes[0].draining = true;

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0));
  ASSERT_THAT(plan.blocked, SizeIs(1));
  EXPECT_EQ(plan.blocked[0].message,
            "shard 0 (10 B) can't leave n1: no other live member that stays claims it");
}

TEST(DeclaredTest, ClaimsOfADrainedNodeGoToTheNodesThatTakeAnything) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20});
  AddNode(sample, "n1").claim = ClaimAll();
  sample.Accept(sample.Make(), 1);
  sample.Complete();
  AddNode(sample, "any");
  sample.input.nodes[0].draining = true;

  sample.Settle();

  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n1"), IsEmpty());
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "any"), ElementsAre(0, 1));
}

}  // namespace
}  // namespace muster
