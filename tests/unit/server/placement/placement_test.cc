#include "server/placement/placement.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kGiB = uint64_t{1} << 30;

TEST(PlacementTest, NoNodesLeaveEveryShardUnplaced) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 20});

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kTooFewNodes);
  EXPECT_THAT(Indices(plan.unplaced[0].shards), ElementsAre(0, 1));
  EXPECT_FALSE(plan.changed);
}

TEST(PlacementTest, BalancedSplitsByBytes) {
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

TEST(PlacementTest, BalancedFollowsCapacities) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, std::vector<uint64_t>(60, 10));
  AddNode(sample, "small", 1000);
  AddNode(sample, "large", 2000);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "small"), SizeIs(20));
  EXPECT_THAT(ShardsOf(sample, plan, "large"), SizeIs(40));
}

TEST(PlacementTest, UnboundedNodesBalanceByBytesAndWeighAsTheLargestBounded) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, std::vector<uint64_t>(50, 10));
  AddNode(sample, "small", 1000);
  AddNode(sample, "open1");
  AddNode(sample, "large", 2000);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "small"), SizeIs(10));
  EXPECT_THAT(ShardsOf(sample, plan, "open1"), SizeIs(20));
  EXPECT_THAT(ShardsOf(sample, plan, "large"), SizeIs(20));
}

TEST(PlacementTest, LoadOfOtherAssembliesCounts) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 10, 10});
  AddNode(sample, "busy").used_bytes = 1000;
  AddNode(sample, "idle");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "busy"), IsEmpty());
  EXPECT_THAT(ShardsOf(sample, plan, "idle"), ElementsAre(0, 1, 2));
}

TEST(PlacementTest, ShardCountedElsewhereTakesNoRoom) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {100, 100});
  PlanNode& node = AddNode(sample, "full", 100);
  node.used_bytes = 100;
  node.already_counted = {ShardIndex(1)};

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "full"), ElementsAre(1));
  EXPECT_EQ(LoadOf(sample, plan, 0), 100);
}

TEST(PlacementTest, ShardCountedElsewhereIsFoundOnItsNode) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {100});
  for (const char* name : {"n1", "n2", "n3", "n4"}) AddNode(sample, name, 100).used_bytes = 100;
  // Nodes are kept by zone inside the planner, not by position.
  for (size_t i = 0; i < 4; ++i) sample.input.nodes[i].zone = std::string(1, 'd' - i);
  sample.input.nodes[0].already_counted = {ShardIndex(0)};

  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n1"), ElementsAre(0));
}

TEST(PlacementTest, ShardThatFitsNowhereIsNamedWithNumbers) {
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

TEST(PlacementTest, NumbersThatLookAlikeAreGivenInBytes) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {kGiB + 1});
  AddNode(sample, "n1", kGiB);

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_THAT(plan.unplaced[0].message,
              AllOf(HasSubstr("needs 1073741825 bytes"), HasSubstr("has 1073741824 bytes left")));
}

TEST(PlacementTest, FewerNodesThanReplicasNamesTheMissingReplicas) {
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

TEST(PlacementTest, EnoughZonesMakeTheSpreadHard) {
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

TEST(PlacementTest, TooFewZonesSpreadAsEvenlyAsTheyCan) {
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

TEST(PlacementTest, LostNodeKeepsItsShardsAndGetsNone) {
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

TEST(PlacementTest, ReleasedNodeLosesItsShardsToOthers) {
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

TEST(PlacementTest, FewestLiveReplicasComeFirstWhereRoomIsShort) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {30, 10});
  sample.input.replicas = 2;
  AddNode(sample, "n1").present = {{ShardIndex(0), Generation(3)}};
  AddNode(sample, "n2", 30);

  const Plan plan = sample.Make();

  // Shard 0 is larger, but shard 1 has no replica at all.
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(1));
}

TEST(PlacementTest, ReplicaOnALostNodeDoesNotCountAsLive) {
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

TEST(PlacementTest, FullGivesEveryLiveNodeEverything) {
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

TEST(PlacementTest, FullNamesTheNodeWithoutRoom) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kFull, {10, 20, 30});
  AddNode(sample, "n1");
  AddNode(sample, "n2", 35);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0, 1, 2));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(0, 1));
  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].node, 1);
  EXPECT_EQ(plan.unplaced[0].message, "shard 2 needs 30 B, node n2 has 5 B left");
}

TEST(PlacementTest, DeclaredGivesWhatIsClaimedAndNamesTheRest) {
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

TEST(PlacementTest, DeclaredGapsGoToAnyClaimsEvenly) {
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

TEST(PlacementTest, ClaimAllGetsEverything) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20});
  AddNode(sample, "all").claim = ClaimAll();
  AddNode(sample, "any");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "all"), ElementsAre(0, 1));
  EXPECT_THAT(ShardsOf(sample, plan, "any"), IsEmpty());
}

TEST(PlacementTest, ClaimOfRanksGetsTheShardsOfThoseRanks) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20, 30});
  sample.shards[1].rank = 4;
  sample.shards[2].rank = 0;
  PlanNode& node = AddNode(sample, "n1");
  node.claim.kind = PlanClaim::Kind::kRanks;
  node.claim.ranks = {4};

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(1));
}

TEST(PlacementTest, ClaimedShardWithoutRoomIsNamedAndCoveredByAny) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 50});
  AddNode(sample, "n1", 45).claim = ClaimAll();
  AddNode(sample, "any");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0));
  EXPECT_THAT(ShardsOf(sample, plan, "any"), ElementsAre(1));
  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kNoRoom);
  EXPECT_EQ(plan.unplaced[0].node, 0);
  EXPECT_EQ(plan.unplaced[0].message, "shard 1 needs 50 B, node n1 has 35 B left");
}

TEST(PlacementTest, ShardClaimedOnlyByALostNodeIsNotCalledUnclaimed) {
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

TEST(PlacementTest, AssignmentThatTheClaimNoLongerCoversIsDropped) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20});
  PlanNode& node = AddNode(sample, "n1");
  node.claim = ClaimShards({1});
  node.present = {{ShardIndex(0), Generation(1)}, {ShardIndex(1), Generation(1)}};

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(1));
  EXPECT_TRUE(plan.changed);
  EXPECT_EQ(plan.removed_bytes, 10);
}

TEST(PlacementTest, ShardOnAnAnyNodeStaysWhenItIsClaimedLater) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10});
  AddNode(sample, "any");
  sample.Accept(sample.Make(), 5);
  AddNode(sample, "all").claim = ClaimAll();

  const Plan plan = sample.Make();

  EXPECT_FALSE(plan.nodes[0].changed);
  EXPECT_THAT(ShardsOf(sample, plan, "all"), ElementsAre(0));
}

TEST(PlacementTest, ImprovementMovesStayWithinTheBudget) {
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

TEST(PlacementTest, MovesOnTheWayUseUpTheBudget) {
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

TEST(PlacementTest, ReadyReplacementDropsWhatItReplacesAndKeepsItsGeneration) {
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

TEST(PlacementTest, ReplacementThatIsNotReadyChangesNothing) {
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

TEST(PlacementTest, ReplacementWhoseSourceIsGoneIsOrdinaryAtOnce) {
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

TEST(PlacementTest, DrainedNodeKeepsItsShardsUntilTheReplacementsAreReady) {
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

TEST(PlacementTest, UnselectedNodeIsLeftAsIfItWereDraining) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 20});
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  AddNode(sample, "n2");
  sample.input.nodes[0].selected = false;

  sample.Settle();

  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n1"), IsEmpty());
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "n2"), ElementsAre(0, 1));
}

TEST(PlacementTest, DrainWithoutRoomElsewhereIsBlockedWithNumbers) {
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

TEST(PlacementTest, DrainOfTheOnlyNodeSaysThatNoOtherMayTakeTheShard) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  sample.input.nodes[0].draining = true;

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.blocked, SizeIs(1));
  EXPECT_EQ(plan.blocked[0].message, "shard 0 (10 B) can't leave n1: no other node may take it");
}

TEST(PlacementTest, MoveToANodeThatIsDrainedTooStartsAgainElsewhere) {
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

TEST(PlacementTest, DrainUnderFullDropsWhatAnotherMemberHasReady) {
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

TEST(PlacementTest, DrainOfTheOnlyClaimantIsBlocked) {
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

TEST(PlacementTest, ClaimsOfADrainedNodeGoToTheNodesThatTakeAnything) {
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

TEST(PlacementTest, SmallerShardMakesRoomForOneThatFitsNowhere) {
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

TEST(PlacementTest, ShardThatIsNotReadyMakesRoomAtOnce) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {40, 90});
  AddNode(sample, "large", 100).present = {{ShardIndex(0), Generation(1)}};
  AddNode(sample, "small", 50);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "large"), ElementsAre(1));
  EXPECT_THAT(ShardsOf(sample, plan, "small"), ElementsAre(0));
}

TEST(PlacementTest, NodeWithTheShardInItsCacheComesFirst) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 10, 10, 10});
  AddNode(sample, "n1").cached = {ShardIndex(1), ShardIndex(3)};
  AddNode(sample, "n2").cached = {ShardIndex(0), ShardIndex(2)};

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(1, 3));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(0, 2));
}

TEST(PlacementTest, CachesDoNotBreakTheBalance) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 10, 10, 10});
  AddNode(sample, "n1").cached = {ShardIndex(0), ShardIndex(1), ShardIndex(2), ShardIndex(3)};
  AddNode(sample, "n2");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), SizeIs(2));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), SizeIs(2));
}

TEST(PlacementTest, NodeInAZoneOfALocationComesBeforeALessLoadedOne) {
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

TEST(PlacementTest, ShardGoesWhereItDidNotFail) {
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

TEST(PlacementTest, ImprovementMovesStopOnceLoadsAreEven) {
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

TEST(PlacementTest, WithoutABudgetNothingMoves) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, std::vector<uint64_t>(40, 10));
  AddNode(sample, "n1");
  sample.Accept(sample.Make(), 1);
  AddNode(sample, "n2");

  EXPECT_FALSE(sample.Make().changed);
}

TEST(PlacementTest, ContradictoryInputIsRefused) {
  const auto error = [](auto change) {
    PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 20});
    change(sample, AddNode(sample, "n1"));
    return MakePlan(sample.Ready()).status();
  };
  const auto kCode = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(error([](PlanSample&, PlanNode& n) { n.claim = ClaimShards({2}); }),
              StatusIs(kCode, HasSubstr("node n1 claims shard 2")));
  EXPECT_THAT(error([](PlanSample&, PlanNode& n) {
                n.present = {{ShardIndex(9), Generation(1)}};
              }),
              StatusIs(kCode, HasSubstr("node n1 has shard 9")));
  EXPECT_THAT(error([](PlanSample&, PlanNode& n) {
                n.present = {{ShardIndex(0), Generation(0)}};
              }),
              StatusIs(kCode, HasSubstr("without a generation")));
  EXPECT_THAT(error([](PlanSample&, PlanNode& n) {
                n.present = {{ShardIndex(0), Generation(1)}, {ShardIndex(0), Generation(2)}};
              }),
              StatusIs(kCode, HasSubstr("shard 0 twice")));
  EXPECT_THAT(error([](PlanSample&, PlanNode& n) { n.already_counted = {ShardIndex(2)}; }),
              StatusIs(kCode, HasSubstr("shard 2")));
  EXPECT_THAT(error([](PlanSample& s, PlanNode& n) {
                const uint64_t uid = n.uid;
                AddNode(s, "n2").uid = uid;
              }),
              StatusIs(kCode, HasSubstr("share the uid")));
  EXPECT_THAT(error([](PlanSample&, PlanNode& n) { n.cached = {ShardIndex(2)}; }),
              StatusIs(kCode, HasSubstr("caches shard 2")));
  EXPECT_THAT(error([](PlanSample&, PlanNode& n) {
                n.unfit = {ShardIndex(1), ShardIndex(0)};
              }),
              StatusIs(kCode, HasSubstr("not ascending at shard 0")));
  EXPECT_THAT(error([](PlanSample& s, PlanNode&) { s.input.policy = PlacementPolicy::kRanked; }),
              StatusIs(kCode, HasSubstr("shard 0 has no rank")));
  EXPECT_THAT(error([](PlanSample& s, PlanNode&) { s.shards[0].size_bytes = ~uint64_t{0}; }),
              StatusIs(kCode, HasSubstr("add up to more")));
}

TEST(PlacementTest, HugeUsedBytesLeaveNoRoomAndDoNotWrap) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  AddNode(sample, "n1", 1000).used_bytes = ~uint64_t{0};

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kNoRoom);
}

}  // namespace
}  // namespace muster
