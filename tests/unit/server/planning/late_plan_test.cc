// Plans that arrive when the state that they were made from has changed (invariants 4, 5 and 6,
// docs/design.md).

#include "server/registry/late_plan.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/planning/planning_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;

class LatePlanTest : public PlanningTest {
 protected:
  // Two nodes of two shards each, all READY.
  void MakeReady() {
    Create(4);
    JoinNodes(2);
    Plan();
    ReportAll();
    ASSERT_EQ(State(), v1::Assembly::READY);
  }
  void Release(const std::string& node) {
    fixture_.SetLost(node, true);
    const Node& lost = fixture_.NodeOf(node);
    MUSTER_EXPECT_OK(fixture_.Do(ReleaseNode{lost.uid, lost.epoch()}));
  }
  // The plan holds in part at least, and what did not is planned again.
  void ApplyLate(const std::vector<Command>& commands) {
    fixture_.plans_wanted().clear();
    for (const Command& command : commands) MUSTER_EXPECT_OK(fixture_.Do(command));
    EXPECT_FALSE(fixture_.plans_wanted().empty());
  }
  void ExpectNothingHolds(const std::vector<Command>& commands) {
    const std::string before = Describe(fixture_.registry());
    ASSERT_EQ(commands.size(), 1u);
    EXPECT_THAT(fixture_.Do(commands[0]), ErrorIs(StatusCode::kAborted, "PLAN_OUTDATED"));
    EXPECT_EQ(Describe(fixture_.registry()), before);
  }
};

TEST_F(LatePlanTest, NodeThatJoinsMeanwhileWaitsForTheNextPlan) {
  Create(4);
  JoinNodes(2);
  const auto commands = Commands();
  JoinNodes(1);
  ApplyLate(commands);
  ExpectWhole(4);
  EXPECT_EQ(ShardsOn("nodes/n3"), 0u);
}

// Nodes join every 50 ms while a plan takes half a second; now and then one leaves, or is lost.
TEST_F(LatePlanTest, AssemblyThatChurnsAllTheTimeIsPlanned) {
  constexpr uint32_t kShards = 5'000;
  constexpr int kJoinsPerPlan = 10;
  Create(kShards);
  JoinNodes(4'000);
  for (int round = 0; round < 10; ++round) {
    const auto commands = Commands();
    JoinNodes(kJoinsPerPlan);
    const std::string leaves = absl::StrCat("nodes/n", 10 + round);
    MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, leaves)));
    for (const Command& command : commands) MUSTER_EXPECT_OK(fixture_.Do(command));
    const v1::Assembly shown = fixture_.Shown(kAssembly);
    ASSERT_GT(shown.replicas_required(), kShards - 10) << "in round " << round;
  }
  Plan();
  ExpectWhole(kShards);
  EXPECT_TRUE(Commands().empty());
}

TEST_F(LatePlanTest, LostNodeGetsNothingAndTheOthersGetTheirs) {
  Create(4);
  JoinNodes(2);
  const auto commands = Commands();
  fixture_.SetLost("nodes/n1", true);
  ApplyLate(commands);
  EXPECT_EQ(ShardsOn("nodes/n1"), 0u);
  EXPECT_EQ(ShardsOn("nodes/n2"), 2u);
  EXPECT_EQ(State(), v1::Assembly::LOADING) << "two shards are on nobody";
  Plan();
  ExpectWhole(4);
}

TEST_F(LatePlanTest, NodeThatLeftAndCameBackHasNothingOfThePlan) {
  MakeReady();
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/n1")));
  const auto commands = Commands();
  const uint64_t epoch = fixture_.NodeOf("nodes/n2").epoch().value;
  MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, "nodes/n2")));
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n2", epoch)));
  ExpectNothingHolds(commands);
  EXPECT_EQ(ShardsOn("nodes/n2"), 0u);
  Plan();
  EXPECT_EQ(fixture_.Shown(kAssembly).replicas_required(), 4u);
}

TEST_F(LatePlanTest, NodeThatCameBackKeepsItsShardsAndNobodyElseGetsThem) {
  MakeReady();
  Release("nodes/n1");
  const auto commands = Commands();
  fixture_.SetLost("nodes/n1", false);
  ASSERT_EQ(State(), v1::Assembly::READY);
  ExpectNothingHolds(commands);
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_TRUE(Commands().empty());
}

TEST_F(LatePlanTest, MoveEndsOnlyWhileItsTargetIsReady) {
  MakeReady();
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/n1")));
  Plan();
  ReportAll();
  const auto commands = Commands();
  fixture_.SetLost("nodes/n2", true);
  ExpectNothingHolds(commands);
  EXPECT_EQ(ShardsOn("nodes/n1"), 2u) << "all that is READY is here";
  fixture_.SetLost("nodes/n2", false);
  EXPECT_EQ(State(), v1::Assembly::READY);
  Plan();
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(ShardsOn("nodes/n1"), 0u);
}

TEST_F(LatePlanTest, MoveWhoseSourceLeftEndsAtOnce) {
  MakeReady();
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/n1")));
  Plan();
  ReportAll();
  const auto commands = Commands();
  MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, "nodes/n1")));
  ApplyLate(commands);
  EXPECT_EQ(State(), v1::Assembly::READY);
  ExpectWhole(4);
}

TEST_F(LatePlanTest, DrainThatWasCancelledMovesNothing) {
  MakeReady();
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/n1")));
  const auto commands = Commands();
  v1::DrainNodeRequest cancel = DrainNode("nodes/n1");
  cancel.set_cancel(true);
  MUSTER_EXPECT_OK(fixture_.Do(cancel));
  ExpectNothingHolds(commands);
  EXPECT_EQ(fixture_.Shown(kAssembly).moves_in_progress(), 0u);
}

TEST_F(LatePlanTest, RoomThatAnotherAssemblyTookIsNotGivenTwice) {
  Create(3, v1::Assembly::FULL);
  fixture_.Publish("models/m/versions/other", 3);
  v1::RegisterNodeRequest request = RegisterNode("nodes/a");
  request.mutable_node()->set_capacity_bytes(4'000);
  const uint64_t epoch = fixture_.Ask<v1::RegisterNodeResponse>(request).epoch();
  MUSTER_EXPECT_OK(
      fixture_.Do(CreateAssembly("assemblies/b", "models/m/versions/other", v1::Assembly::FULL)));
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/a", epoch)));
  MUSTER_EXPECT_OK(fixture_.Do(Join("assemblies/b", "nodes/a", epoch)));
  const auto commands = Commands();
  auto other = TakePlanTask(fixture_.registry(),
                            (*fixture_.registry().assemblies().Find("assemblies/b"))->uid());
  ASSERT_TRUE(other.has_value());
  const auto first = MakePlanCommands(*std::move(other));
  ASSERT_THAT(first, IsOk());
  for (const Command& command : **first) MUSTER_EXPECT_OK(fixture_.Do(command));
  ExpectNothingHolds(commands);
  EXPECT_LE(fixture_.NodeOf("nodes/a").assigned_bytes, 4'000u);
  Plan();
  EXPECT_EQ(State(), v1::Assembly::WAITING);
}

}  // namespace
}  // namespace muster
