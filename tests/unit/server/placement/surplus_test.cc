// Fewer replicas than before.

#include <algorithm>
#include <string>

#include "gtest/gtest.h"
#include "tests/unit/server/placement/plan_samples.h"

namespace muster {
namespace {

uint32_t HoldersOf(const Plan& plan, uint32_t shard) {
  uint32_t holders = 0;
  for (const NodePlan& node : plan.nodes) {
    for (const PlanAssignment& assignment : node.assignments) {
      if (assignment.shard.value == shard) ++holders;
    }
  }
  return holders;
}

class SurplusTest : public testing::Test {
 protected:
  // Four nodes, of which three have each shard.
  SurplusTest() : sample_(SampleWithSizes(PlacementPolicy::kBalanced, {100, 100, 100, 100})) {
    for (const char* name : {"n1", "n2", "n3", "n4"}) AddNode(sample_, name, 0, "");
    sample_.input.replicas = 3;
    sample_.Accept(sample_.Make(), 1);
    sample_.input.replicas = 1;
  }

  PlanSample sample_;
};

TEST_F(SurplusTest, WhatIsTooMuchIsDroppedAndThePlanIsDone) {
  sample_.Complete();
  const Plan plan = sample_.Make();
  for (uint32_t shard = 0; shard < 4; ++shard) EXPECT_EQ(HoldersOf(plan, shard), 1u);
  sample_.Accept(plan, 2);
  EXPECT_FALSE(sample_.Make().changed);
}

TEST_F(SurplusTest, ReadyReplicasStayBeforeOthers) {
  for (PlanNode& node : sample_.input.nodes) {
    for (PlanAssignment& assignment : node.present) {
      assignment.ready = node.name == "n1" && assignment.shard.value != 3;
    }
  }
  const Plan plan = sample_.Make();
  for (uint32_t shard = 0; shard < 4; ++shard) EXPECT_EQ(HoldersOf(plan, shard), 1u);
  for (const PlanAssignment& assignment : sample_.input.nodes[sample_.Find("n1")].present) {
    if (!assignment.ready) continue;
    const auto& kept = plan.nodes[sample_.Find("n1")].assignments;
    EXPECT_EQ(std::count(kept.begin(), kept.end(), assignment), 1);
  }
}

TEST_F(SurplusTest, LostAndDrainingNodesAreNotCounted) {
  sample_.Complete();
  sample_.input.nodes[0].live = false;
  sample_.input.nodes[1].draining = true;
  const Plan plan = sample_.Make();
  EXPECT_EQ(plan.nodes[0].assignments.size(), sample_.input.nodes[0].present.size())
      << "within its grace it keeps what it has";
  for (uint32_t shard = 0; shard < 4; ++shard) {
    uint32_t open = 0;
    for (const size_t node : {2, 3}) {
      for (const PlanAssignment& assignment : plan.nodes[node].assignments) {
        if (assignment.shard.value == shard) ++open;
      }
    }
    EXPECT_GE(open, 1u);
  }
}

}  // namespace
}  // namespace muster
