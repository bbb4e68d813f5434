#include "server/placement/placement.h"

#include <cstdint>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(PlacementTest, NoNodesLeaveEveryShardUnplaced) {
  PlanSample sample = SampleWithSizes(PlacementPolicy::kBalanced, {10, 20});

  const Plan plan = sample.Make();

  ASSERT_THAT(plan.unplaced, SizeIs(1));
  EXPECT_EQ(plan.unplaced[0].cause, Unplaced::Cause::kTooFewNodes);
  EXPECT_THAT(Indices(plan.unplaced[0].shards), ElementsAre(0, 1));
  EXPECT_FALSE(plan.changed);
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
