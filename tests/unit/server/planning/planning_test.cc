// Plans on their way into the registry: small ones and big ones, and planning on its own output
// (invariant 6, docs/design.md).

#include "server/planning/planning.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/placement/placement.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/planning/planning_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;

TEST_F(PlanningTest, NoTaskBeforeEnoughNodesHaveJoinedNorOfAGoneAssembly) {
  Create(2, v1::Assembly::BALANCED, 2);
  JoinNodes(1);
  EXPECT_FALSE(TakePlanTask(fixture_.registry(), Uid()).has_value());
  JoinNodes(1);
  EXPECT_TRUE(TakePlanTask(fixture_.registry(), Uid()).has_value());
  EXPECT_FALSE(TakePlanTask(fixture_.registry(), AssemblyUid(999)).has_value());
}

TEST_F(PlanningTest, SmallPlanIsOneCommandAndPlansNothingAgain) {
  Create(4);
  JoinNodes(2);
  const auto commands = Commands();
  ASSERT_EQ(commands.size(), 1u);
  MUSTER_EXPECT_OK(fixture_.Do(commands[0]));
  ExpectWhole(4);
  EXPECT_TRUE(Commands().empty()) << "planning on its own output moves nothing";
}

TEST_F(PlanningTest, PlanOverMoreMembersThanATransactionHoldsComesInSteps) {
  Create(120);
  JoinNodes(100);
  const auto commands = Commands();
  ASSERT_EQ(commands.size(), 3u) << "of 42 members at most";
  for (const Command& command : commands) {
    EXPECT_NE(State(), v1::Assembly::READY);
    const Applied applied = fixture_.Apply(command);
    MUSTER_ASSERT_OK(applied.status);
    EXPECT_LE(applied.operations.size(), 50u);
    ReportAll();
  }
  EXPECT_EQ(State(), v1::Assembly::READY);
  ExpectWhole(120);
  EXPECT_TRUE(Commands().empty());
  const std::string before = Describe(fixture_.registry());
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(Describe(fixture_.registry()), before);
}

TEST_F(PlanningTest, FortyTwoMembersAreOneTransactionAndOneMoreIsTwo) {
  Create(43);
  JoinNodes(42);
  EXPECT_EQ(Commands().size(), 1u);
  JoinNodes(1);
  EXPECT_EQ(Commands().size(), 2u);
}

TEST_F(PlanningTest, BigPlanThatAServerDiesInIsPlannedToTheEnd) {
  Create(120);
  JoinNodes(100);
  const auto commands = Commands();
  MUSTER_EXPECT_OK(fixture_.Do(commands[0]));
  fixture_.plans_wanted().clear();
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(State(), v1::Assembly::LOADING);
  EXPECT_THAT(fixture_.Do(commands[1]), ErrorIs(StatusCode::kAborted, "PLAN_OUTDATED"));
  Plan();
  ExpectWhole(120);
}

// Fifty nodes leave at once: each of their moves ends, and each is taken from its source.
TEST_F(PlanningTest, BigPlanThatEndsMovesKeepsReadyAtEachStep) {
  Create(100);
  JoinNodes(50);
  Plan();
  ReportAll();
  ASSERT_EQ(State(), v1::Assembly::READY);
  for (int i = 1; i <= 50; ++i)
    MUSTER_EXPECT_OK(fixture_.Do(DrainNode(absl::StrCat("nodes/n", i))));
  JoinNodes(50);
  Plan();
  EXPECT_EQ(fixture_.Shown(kAssembly).moves_in_progress(), 100u);
  ReportAll();
  const auto commands = Commands();
  ASSERT_GE(commands.size(), 3u);
  for (const Command& command : commands) {
    MUSTER_ASSERT_OK(fixture_.Do(command));
    EXPECT_EQ(State(), v1::Assembly::READY);
  }
  ExpectWhole(100);
  EXPECT_TRUE(Commands().empty());
}

TEST_F(PlanningTest, BigAssemblyIsDeletedInStepsThatLeaveNothing) {
  const size_t rows_before = RowsOf(fixture_.store()).size();
  Create(120);
  JoinNodes(100);
  Plan();
  const AssemblyUid uid = Uid();
  const Applied applied = fixture_.Apply(DeleteAssembly(kAssembly));
  MUSTER_ASSERT_OK(applied.status);
  EXPECT_EQ(applied.follow_ups.size(), 3u) << "of 40 members at most";
  EXPECT_LE(applied.changes.size(), 3u) << "what members held goes in these";
  EXPECT_EQ(fixture_.registry().assemblies().FindByUid(uid), nullptr);
  for (const auto& [name, node] : fixture_.registry().nodes().by_name()) {
    EXPECT_EQ(node->assigned_bytes, 0u);
    EXPECT_TRUE(node->memberships.empty());
  }
  MUSTER_EXPECT_OK(fixture_.Do(DeleteVersion(kVersion)));
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows_before + 100) << "the nodes are left";
  const std::string before = Describe(fixture_.registry());
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(Describe(fixture_.registry()), before);
}

TEST_F(PlanningTest, UnclaimedShardsBecomeReasons) {
  Create(3, v1::Assembly::DECLARED);
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/a", fixture_.Register("nodes/a"), {1})));
  Plan();
  const v1::Assembly shown = fixture_.Shown(kAssembly);
  EXPECT_EQ(shown.state(), v1::Assembly::WAITING);
  ASSERT_GT(shown.reasons_size(), 0);
  EXPECT_EQ(shown.reasons(0).code(), v1::AssemblyReason::SHARDS_UNCLAIMED);
  EXPECT_EQ(shown.reasons(0).shards_size(), 2);
  EXPECT_TRUE(Commands().empty());
}

TEST_F(PlanningTest, ShardsWithoutRoomBecomeReasons) {
  Create(3);
  v1::RegisterNodeRequest request = RegisterNode("nodes/a");
  request.mutable_node()->set_capacity_bytes(2'500);
  const uint64_t epoch = fixture_.Ask<v1::RegisterNodeResponse>(request).epoch();
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/a", epoch)));
  Plan();
  const v1::Assembly shown = fixture_.Shown(kAssembly);
  EXPECT_EQ(shown.state(), v1::Assembly::WAITING);
  EXPECT_EQ(shown.reasons(0).code(), v1::AssemblyReason::NO_ROOM);
  EXPECT_LE(fixture_.Member(kAssembly, "nodes/a").assigned_bytes(), 2'500u);
}

TEST_F(PlanningTest, DrainMovesShardsWithoutAGapAndSaysWhenItIsDone) {
  Create(4);
  JoinNodes(2);
  Plan();
  ReportAll();
  ASSERT_EQ(State(), v1::Assembly::READY);
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/n1")));
  Plan();
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(ShardsOn("nodes/n1"), 2u) << "they stay until n2 has them";
  EXPECT_EQ(fixture_.Shown(kAssembly).moves_in_progress(), 2u);
  EXPECT_TRUE(Commands().empty());
  ReportAll();
  Plan();
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(ShardsOn("nodes/n1"), 0u);
  EXPECT_EQ(fixture_.NodeOf("nodes/n1").row.drain_state(), v1::Drain::DRAINED);
}

TEST_F(PlanningTest, DrainThatCanNotEndSaysWhatBlocksIt) {
  Create(2);
  JoinNodes(1);
  Plan();
  ReportAll();
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/n1")));
  Plan();
  EXPECT_EQ(State(), v1::Assembly::READY);
  const v1::Node shown = fixture_.registry().DescribeNode(fixture_.NodeOf("nodes/n1"));
  ASSERT_EQ(shown.drain().blockers_size(), 1);
  EXPECT_EQ(shown.drain().blockers(0).assembly(), kAssembly);
  EXPECT_EQ(shown.drain().blockers(0).shard_count(), 2u);
  EXPECT_FALSE(shown.drain().blockers(0).message().empty());
  EXPECT_TRUE(Commands().empty());
}

TEST_F(PlanningTest, LostNodeKeepsItsShardsUntilItIsReleased) {
  Create(4);
  JoinNodes(2);
  Plan();
  ReportAll();
  fixture_.SetLost("nodes/n1", true);
  EXPECT_TRUE(Commands().empty());
  const Node& lost = fixture_.NodeOf("nodes/n1");
  fixture_.plans_wanted().clear();
  MUSTER_EXPECT_OK(fixture_.Do(ReleaseNode{lost.uid, lost.epoch()}));
  EXPECT_FALSE(fixture_.plans_wanted().empty());
  Plan();
  EXPECT_EQ(ShardsOn("nodes/n1"), 0u);
  EXPECT_EQ(ShardsOn("nodes/n2"), 4u);
  ReportAll();
  EXPECT_EQ(State(), v1::Assembly::READY);
}

TEST_F(PlanningTest, ShardThatFailedThreeTimesGoesToAnotherNode) {
  Create(2);
  JoinNodes(2);
  Plan();
  const Assembly::Member& member = fixture_.MemberOf(kAssembly, "nodes/n1");
  ASSERT_EQ(member.assignments.size(), 1u);
  const Assignment bad = member.assignments[0];
  MUSTER_EXPECT_OK(fixture_.Do(
      FailedReport(kAssembly, "nodes/n1", member.epoch.value, bad.generation.value, bad.shard, 3)));
  Plan();
  EXPECT_EQ(ShardsOn("nodes/n1"), 0u);
  EXPECT_EQ(ShardsOn("nodes/n2"), 2u);
}

TEST_F(PlanningTest, AssembliesOfOneVersionShareTheRoomOnANode) {
  Create(3, v1::Assembly::FULL);
  v1::RegisterNodeRequest request = RegisterNode("nodes/a");
  request.mutable_node()->set_capacity_bytes(3'000);
  const uint64_t epoch = fixture_.Ask<v1::RegisterNodeResponse>(request).epoch();
  MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly("assemblies/b", kVersion, v1::Assembly::FULL)));
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/a", epoch)));
  MUSTER_EXPECT_OK(fixture_.Do(Join("assemblies/b", "nodes/a", epoch)));
  Plan();
  const auto other = fixture_.registry().assemblies().Find("assemblies/b");
  auto task = TakePlanTask(fixture_.registry(), (*other)->uid());
  ASSERT_TRUE(task.has_value());
  CompleteInput(*task);
  EXPECT_EQ(task->input.nodes[0].used_bytes, 3'000u);
  const auto plan = MakePlan(task->input);
  ASSERT_THAT(plan, IsOk());
  EXPECT_TRUE(plan->unplaced.empty());
  EXPECT_EQ(plan->nodes[0].assignments.size(), 3u);
}

// The lock is held while it is taken: for the members, not for what they hold.
TEST_F(PlanningTest, InputIsTakenWithoutACopyOfAnyListAndKeepsWhatItSaw) {
  Create(4, v1::Assembly::FULL);
  MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly("assemblies/b", kVersion, v1::Assembly::FULL)));
  JoinNodes(1);
  const uint64_t epoch = fixture_.NodeOf("nodes/n1").epoch().value;
  MUSTER_EXPECT_OK(fixture_.Do(Join("assemblies/b", "nodes/n1", epoch)));
  Plan();
  const auto other = fixture_.registry().assemblies().Find("assemblies/b");
  auto task = TakePlanTask(fixture_.registry(), Uid());
  auto task_of_other = TakePlanTask(fixture_.registry(), (*other)->uid());
  ASSERT_TRUE(task.has_value() && task_of_other.has_value());

  const auto* const held = fixture_.MemberOf(kAssembly, "nodes/n1").assignments.list().data();
  ASSERT_EQ(task->taken.size(), 1u);
  EXPECT_TRUE(task->input.nodes.empty());
  EXPECT_EQ(task->taken[0].assignments.list().data(), held);
  EXPECT_EQ(task_of_other->taken.at(0).others.at(0).assignments.list().data(), held);

  MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, "nodes/n1")));
  CompleteInput(*task);
  ASSERT_EQ(task->input.nodes.size(), 1u);
  EXPECT_EQ(task->input.nodes[0].present.size(), 4u);
}

TEST_F(PlanningTest, PreviewSaysWhatAChangeWouldDoAndChangesNothing) {
  Create(4);
  JoinNodes(2);
  Plan();
  const Revision revision = fixture_.revision();
  const WhatIf released{WhatIf::Change::kReleased, fixture_.NodeOf("nodes/n1").uid};
  const auto task = TakePlanTask(fixture_.registry(), Uid(), {released});
  ASSERT_TRUE(task.has_value());

  const auto preview = PreviewOf(*task);

  ASSERT_THAT(preview, IsOk());
  EXPECT_EQ(preview->assembly(), kAssembly);
  EXPECT_EQ(preview->moved_bytes(), 2'000u);
  ASSERT_EQ(preview->nodes_size(), 2);
  EXPECT_EQ(preview->nodes(0).node(), "nodes/n1");
  EXPECT_EQ(preview->nodes(0).removed_shards_size(), 2);
  EXPECT_EQ(preview->nodes(0).assigned_bytes(), 0u);
  EXPECT_EQ(preview->nodes(1).added_bytes(), 2'000u);
  EXPECT_EQ(preview->nodes(1).assigned_bytes(), 4'000u);
  EXPECT_EQ(fixture_.revision(), revision);
}

TEST_F(PlanningTest, PreviewOfAJoinBeginsWithEnoughNodes) {
  Create(2, v1::Assembly::BALANCED, 2);
  JoinNodes(1);
  fixture_.Register("nodes/x");
  WhatIf joined{WhatIf::Change::kJoined, fixture_.NodeOf("nodes/x").uid};
  joined.claim.set_kind(v1::Claim::ANY);
  EXPECT_FALSE(TakePlanTask(fixture_.registry(), Uid()).has_value());
  const auto task = TakePlanTask(fixture_.registry(), Uid(), {joined});
  ASSERT_TRUE(task.has_value());
  const auto preview = PreviewOf(*task);
  ASSERT_THAT(preview, IsOk());
  EXPECT_EQ(preview->nodes_size(), 2);
  EXPECT_EQ(preview->added_bytes(), 2'000u);
}

}  // namespace
}  // namespace muster
