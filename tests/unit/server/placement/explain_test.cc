#include "server/placement/explain.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

constexpr uint64_t kExplainedGiB = uint64_t{1} << 30;

NodeVerdict VerdictOf(PlanSample& sample, uint32_t shard, const std::string& name) {
  absl::StatusOr<std::vector<NodeVerdict>> verdicts =
      ExplainShard(sample.Ready(), ShardIndex(shard));
  EXPECT_THAT(verdicts, IsOk());
  return verdicts.ok() ? (*verdicts)[sample.Find(name)] : NodeVerdict{};
}

void ExpectVerdict(PlanSample& sample, uint32_t shard, const std::string& name,
                   VerdictOutcome outcome, VerdictRule rule, const std::string& message) {
  SCOPED_TRACE(name);
  const NodeVerdict verdict = VerdictOf(sample, shard, name);
  EXPECT_EQ(verdict.outcome, outcome);
  EXPECT_EQ(verdict.rule, rule);
  EXPECT_EQ(verdict.message, message);
}

TEST(ExplainTest, EachNodeHasTheRuleThatDecided) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {12 * kExplainedGiB});
  AddNode(sample, "holder", 0, "a").present = {{ShardIndex(0), Generation(1), 0, true}};
  AddNode(sample, "full", 9 * kExplainedGiB, "b");
  AddNode(sample, "lost").live = false;
  AddNode(sample, "drained").draining = true;
  AddNode(sample, "other").selected = false;
  AddNode(sample, "failing", 0, "c").unfit = {ShardIndex(0)};
  AddNode(sample, "idle", 20 * kExplainedGiB, "d");
  ExpectVerdict(sample, 0, "holder", VerdictOutcome::kHolds, VerdictRule::kSticky,
                "holder has shard 0 (12.0 GiB) already, and keeps it");
  ExpectVerdict(sample, 0, "full", VerdictOutcome::kRefused, VerdictRule::kNoRoom,
                "shard 0 needs 12.0 GiB, full has 9.0 GiB left");
  ExpectVerdict(sample, 0, "lost", VerdictOutcome::kRefused, VerdictRule::kNodeLost,
                "the lease of lost ran out");
  ExpectVerdict(sample, 0, "drained", VerdictOutcome::kRefused, VerdictRule::kNodeDraining,
                "drained is being drained");
  ExpectVerdict(sample, 0, "other", VerdictOutcome::kRefused, VerdictRule::kLabelsDiffer,
                "the labels of other don't fit the assembly's selector");
  ExpectVerdict(sample, 0, "failing", VerdictOutcome::kRefused, VerdictRule::kFailedHere,
                "shard 0 (12.0 GiB) failed on failing too often");
  ExpectVerdict(sample, 0, "idle", VerdictOutcome::kPossible, VerdictRule::kEnoughReplicas,
                "idle could take shard 0 (12.0 GiB), but it is enough that holder holds it; 0 B of "
                "20.0 GiB are assigned there");
}

TEST(ExplainTest, ZonesRefuseASecondReplica) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  sample.input.replicas = 2;
  AddNode(sample, "a1", 0, "a");
  AddNode(sample, "a2", 0, "a").used_bytes = 1000;
  AddNode(sample, "b1", 0, "b");

  EXPECT_EQ(VerdictOf(sample, 0, "a1").rule, VerdictRule::kLeastLoaded);
  ExpectVerdict(sample, 0, "a2", VerdictOutcome::kRefused, VerdictRule::kZoneSpread,
                "a1 holds shard 0 (10 B) in zone a of a2 already");
}

TEST(ExplainTest, MoveIsSeenFromBothSides) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  AddNode(sample, "old").present = {{ShardIndex(0), Generation(1), 0, true}};
  AddNode(sample, "new");
  sample.input.nodes[0].draining = true;

  ExpectVerdict(sample, 0, "old", VerdictOutcome::kLeaving, VerdictRule::kNodeDraining,
                "old holds shard 0 (10 B) until new has it READY");
  ExpectVerdict(sample, 0, "new", VerdictOutcome::kIncoming, VerdictRule::kMove,
                "new fetches shard 0 (10 B) to take it over from old");
}

TEST(ExplainTest, ClaimsDecideUnderDeclared) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kDeclared, {10, 10});
  AddNode(sample, "n1").claim = ClaimShards({0});
  AddNode(sample, "n2").claim = ClaimShards({1});

  EXPECT_EQ(VerdictOf(sample, 0, "n1").rule, VerdictRule::kClaimed);
  EXPECT_EQ(VerdictOf(sample, 0, "n2").rule, VerdictRule::kNotClaimed);
}

TEST(ExplainTest, RunsDecideUnderContiguous) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kContiguous, {10, 10});
  AddNode(sample, "n1");
  AddNode(sample, "n2");

  EXPECT_EQ(VerdictOf(sample, 1, "n2").rule, VerdictRule::kInRun);
  ExpectVerdict(sample, 1, "n1", VerdictOutcome::kRefused, VerdictRule::kOutsideRun,
                "the run of n1 is shard 0 only");
}

TEST(ExplainTest, ShardOutOfRangeIsRefused) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10});
  EXPECT_THAT(ExplainShard(sample.Ready(), ShardIndex(1)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// A node that gets a shard is never refused it, and what a refusal says is so.
TEST(ExplainPropertyTest, VerdictsAgreeWithThePlan) {
  for (uint64_t seed = 1; seed <= 250 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::unique_ptr<Random> random = NewSeededRandom(seed);
    const absl::Span<const PolicyTraits> policies = PlacementPolicies();
    PlanSample sample = RandomSample(*random, policies[seed % policies.size()].policy);
    sample.Accept(sample.Make(), 1);
    sample.CompleteSome(*random, 2);
    Churn(sample, *random);
    if (sample.shards.empty()) continue;
    const uint32_t shard = static_cast<uint32_t>(random->Below(sample.shards.size()));
    const Plan plan = sample.Make();
    const absl::StatusOr<std::vector<NodeVerdict>> verdicts =
        ExplainShard(sample.Ready(), ShardIndex(shard));
    ASSERT_THAT(verdicts, IsOk());
    for (const NodeVerdict& verdict : *verdicts) {
      const PlanNode& node = sample.input.nodes[verdict.node];
      SCOPED_TRACE(verdict.message);
      ASSERT_NE(verdict.outcome, VerdictOutcome::kUnspecified);
      const std::vector<uint32_t> given = ShardsOf(sample, plan, node.name);
      const bool has = std::find(given.begin(), given.end(), shard) != given.end();
      ASSERT_FALSE(has && verdict.outcome == VerdictOutcome::kRefused);
      ASSERT_FALSE(!has && verdict.outcome == VerdictOutcome::kHolds);
      if (verdict.outcome == VerdictOutcome::kPossible) {
        ASSERT_TRUE(node.live && node.selected && !node.draining);
      }
      switch (verdict.rule) {
        case VerdictRule::kNoRoom:
          // By a claim a node gets all or nothing.
          ASSERT_TRUE(plan.nodes[verdict.node].shortage.has_value() ||
                      LoadOf(sample, plan, verdict.node) + sample.shards[shard].size_bytes >
                          node.capacity_bytes);
          break;
        case VerdictRule::kNodeLost:
          ASSERT_FALSE(node.live);
          break;
        case VerdictRule::kNodeDraining:
          ASSERT_TRUE(node.draining);
          break;
        case VerdictRule::kLabelsDiffer:
          ASSERT_FALSE(node.selected);
          break;
        case VerdictRule::kFailedHere:
          ASSERT_TRUE(std::binary_search(node.unfit.begin(), node.unfit.end(), ShardIndex(shard)));
          break;
        case VerdictRule::kOutsideRun:
          ASSERT_FALSE(given.empty());
          break;
        default:
          break;
      }
    }
  }
}

}  // namespace
}  // namespace muster
