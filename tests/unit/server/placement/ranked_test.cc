#include "server/placement/ranked.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Two shards of each rank.
PlanSample RankedSample(const std::vector<uint64_t>& sizes) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kRanked, sizes);
  for (size_t i = 0; i < sizes.size(); ++i) sample.shards[i].rank = static_cast<uint32_t>(i / 2);
  return sample;
}

PlanClaim ClaimRanks(const std::vector<uint32_t>& ranks) {
  PlanClaim claim;
  claim.kind = PlanClaim::Kind::kRanks;
  claim.ranks = ranks;
  return claim;
}

TEST(RankedTest, NodesGetTheRanksThatTheyClaim) {
  PlanSample sample = RankedSample({10, 10, 10, 10, 10, 10});
  AddNode(sample, "n1").claim = ClaimRanks({0, 2});
  AddNode(sample, "n2").claim = ClaimRanks({2});
  AddNode(sample, "all").claim = ClaimAll();

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0, 1, 4, 5));
  EXPECT_THAT(ShardsOf(sample, plan, "n2"), ElementsAre(4, 5));
  EXPECT_THAT(ShardsOf(sample, plan, "all"), SizeIs(6));
  EXPECT_THAT(plan.unplaced, IsEmpty());
}

TEST(RankedTest, UnclaimedRanksGoWholeToTheNodesThatTakeAnything) {
  PlanSample sample = RankedSample({10, 10, 40, 1, 20, 1, 20, 1});
  AddNode(sample, "n1").claim = ClaimRanks({0});
  AddNode(sample, "any1");
  AddNode(sample, "any2");

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0, 1));
  EXPECT_THAT(ShardsOf(sample, plan, "any1"), ElementsAre(2, 3));
  EXPECT_THAT(ShardsOf(sample, plan, "any2"), ElementsAre(4, 5, 6, 7));
}

TEST(RankedTest, UnclaimedRankWithoutTakersIsNamed) {
  PlanSample sample = RankedSample({10, 10, 10, 10});
  AddNode(sample, "n1").claim = ClaimRanks({0});

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kUnclaimed);
  EXPECT_THAT(Indices(plan.unplaced[0].shards), ElementsAre(2, 3));
}

TEST(RankedTest, RankWithoutRoomIsNamedWithNumbers) {
  PlanSample sample = RankedSample({10, 10, 10, 20});
  AddNode(sample, "any", 45);

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "any"), ElementsAre(2, 3));
  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].message, "rank 0 needs 20 B, the roomiest node any has 15 B left");
}

TEST(RankedTest, DrainMovesAWholeRankOnceItIsReadyElsewhere) {
  PlanSample sample = RankedSample({10, 10});
  AddNode(sample, "any1");
  sample.Accept(sample.Make(), 1);
  sample.Complete();
  AddNode(sample, "any2");
  sample.input.nodes[0].draining = true;

  const Plan started = sample.Make();

  EXPECT_FALSE(started.nodes[0].changed);
  EXPECT_THAT(ShardsOf(sample, started, "any2"), ElementsAre(0, 1));
  sample.Accept(started, 2);
  EXPECT_FALSE(sample.Make().changed);
  sample.Settle();
  EXPECT_THAT(ShardsOf(sample, sample.Make(), "any1"), IsEmpty());
}

TEST(RankedTest, DrainOfTheOnlyClaimantIsBlocked) {
  PlanSample sample = RankedSample({10, 10});
  AddNode(sample, "n1").claim = ClaimRanks({0});
  AddNode(sample, "n2").claim = ClaimRanks({1});
  sample.Accept(sample.Make(), 1);
  sample.Complete();
  sample.input.nodes[0].draining = true;

  const Plan plan = sample.Make();

  EXPECT_THAT(ShardsOf(sample, plan, "n1"), ElementsAre(0, 1));
  ASSERT_THAT(plan.blocked, SizeIs(1));
}

}  // namespace
}  // namespace muster
