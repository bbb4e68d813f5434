#include "storage/base/placement_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <vector>

namespace muster {
namespace {

using enum ClaimKind;

TEST(PlacementPolicyTest, EveryPolicyHasOneRow) {
  std::set<PlacementPolicy> seen;
  for (const PolicyTraits& traits : PlacementPolicies()) {
    EXPECT_TRUE(seen.insert(traits.policy).second) << traits.name;
    EXPECT_EQ(&TraitsOf(traits.policy), &traits) << traits.name;
    EXPECT_EQ(PolicyOf(static_cast<int>(traits.policy)), traits.policy) << traits.name;
    EXPECT_FALSE(traits.summary.empty()) << traits.name;
    EXPECT_FALSE(traits.claims_decide && traits.holds_all) << traits.name;
  }

  EXPECT_EQ(seen.size(), 5u);
}

TEST(PlacementPolicyTest, NumbersThatAreNotKnownAreTheServersChoice) {
  EXPECT_EQ(PolicyOf(0), PlacementPolicy::kBalanced);
  EXPECT_EQ(PolicyOf(1'000), PlacementPolicy::kBalanced);
  EXPECT_EQ(TraitsOf(static_cast<PlacementPolicy>(0)).policy, PlacementPolicy::kBalanced);
  EXPECT_EQ(ClaimKindOf(0), kAny);
  EXPECT_EQ(ClaimKindOf(5), kAny);
  EXPECT_EQ(ClaimKindOf(-1), kAny);
}

TEST(PlacementPolicyTest, ClaimMeansWhatThePolicyMakesOfIt) {
  for (const ClaimKind claim : {kAny, kAll, kShards, kRanks}) {
    EXPECT_EQ(MeaningOf(PlacementPolicy::kFull, claim), kAll);
    EXPECT_EQ(MeaningOf(PlacementPolicy::kBalanced, claim), kAny);
    EXPECT_EQ(MeaningOf(PlacementPolicy::kContiguous, claim), kAny);
    EXPECT_EQ(MeaningOf(PlacementPolicy::kDeclared, claim), claim);
    EXPECT_EQ(MeaningOf(PlacementPolicy::kRanked, claim), claim);
  }
}

TEST(PlacementPolicyTest, ClaimCoversItsShardsOrThoseOfItsRanks) {
  const std::vector<uint32_t> numbers = {2, 5};

  EXPECT_FALSE(Covers(kAny, numbers, 2, 2));
  EXPECT_TRUE(Covers(kAll, {}, 7, std::nullopt));
  EXPECT_TRUE(Covers(kShards, numbers, 5, std::nullopt));
  EXPECT_FALSE(Covers(kShards, numbers, 3, 5));
  EXPECT_TRUE(Covers(kRanks, numbers, 3, 5));
  EXPECT_FALSE(Covers(kRanks, numbers, 5, 3));
  EXPECT_FALSE(Covers(kRanks, numbers, 5, std::nullopt));
}

}  // namespace
}  // namespace muster
