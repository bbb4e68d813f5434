// Invariant 5 (docs/design.md) where members come and go between two plans, and what survives a
// restart of it.
#include <memory>

#include "gtest/gtest.h"
#include "server/planning/planning.h"
#include "server/registry/limits.h"
#include "server/registry/row_keys.h"
#include "storage/base/error_info.h"
#include "tests/support/core_requests.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr char kVersion[] = "models/m/versions/v";
constexpr char kAssembly[] = "assemblies/a";

class BarrierTest : public testing::Test {
 protected:
  BarrierTest() { MUSTER_EXPECT_OK(core_.Do(PublishCommands(kVersion, 4, 10)).status); }
  ~BarrierTest() override { EXPECT_TRUE(core_.server().violations().empty()); }

  void Create(v1::Assembly::Policy policy) {
    MUSTER_EXPECT_OK(core_.Do(CreateAssemblyRequestOf(kAssembly, kVersion, policy)).status);
  }
  // Assemblies of one version would share the room on a node.
  void CreateOfAnotherVersion(absl::string_view name) {
    MUSTER_EXPECT_OK(core_.Do(PublishCommands("models/other/versions/v", 4, 10)).status);
    MUSTER_EXPECT_OK(
        core_.Do(CreateAssemblyRequestOf(name, "models/other/versions/v", v1::Assembly::BALANCED))
            .status);
  }
  void AddMember(absl::string_view node, v1::Claim::Kind kind) {
    core_.AddNode(node, 0);
    core_.Join(kAssembly, node, kind);
  }
  void Leave(absl::string_view node) {
    v1::LeaveAssemblyRequest request;
    request.set_name(kAssembly);
    request.set_node(std::string(node));
    MUSTER_EXPECT_OK(core_.Do(request).status);
  }
  v1::Assembly Shown() { return core_.AssemblyOf(kAssembly).Describe(); }

  CoreUnderTest core_;
};

TEST_F(BarrierTest, LeaveOfAHolderEndsReadyBeforeTheNextPlan) {
  Create(v1::Assembly::BALANCED);
  AddMember("nodes/a", v1::Claim::ANY);
  AddMember("nodes/b", v1::Claim::ANY);
  core_.Plan();
  core_.ReportAll(kAssembly, "nodes/a", v1::ShardReport::READY);
  core_.ReportAll(kAssembly, "nodes/b", v1::ShardReport::READY);
  ASSERT_EQ(Shown().state(), v1::Assembly::READY);

  Leave("nodes/b");

  EXPECT_EQ(Shown().state(), v1::Assembly::DEGRADED);
  ASSERT_EQ(Shown().reasons_size(), 1);
  EXPECT_EQ(Shown().reasons(0).code(), v1::AssemblyReason::PLANNING);
}

TEST_F(BarrierTest, LeaveOfOneOfManyKeepsAFullAssemblyReady) {
  Create(v1::Assembly::FULL);
  AddMember("nodes/a", v1::Claim::ANY);
  AddMember("nodes/b", v1::Claim::ANY);
  core_.Plan();
  core_.ReportAll(kAssembly, "nodes/a", v1::ShardReport::READY);
  core_.ReportAll(kAssembly, "nodes/b", v1::ShardReport::READY);

  Leave("nodes/b");

  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
}

TEST_F(BarrierTest, JoinOfANodeThatLacksShardsTakesReadyFromNobody) {
  Create(v1::Assembly::FULL);
  AddMember("nodes/a", v1::Claim::ANY);
  core_.Plan();
  core_.ReportAll(kAssembly, "nodes/a", v1::ShardReport::READY);
  ASSERT_EQ(Shown().state(), v1::Assembly::READY);

  AddMember("nodes/b", v1::Claim::ANY);

  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  EXPECT_EQ(Shown().nodes_joining(), 1u);
  core_.Plan();
  core_.ReportAll(kAssembly, "nodes/b", v1::ShardReport::FAILED);
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  core_.ReportAll(kAssembly, "nodes/b", v1::ShardReport::READY);
  EXPECT_EQ(Shown().nodes_ready(), 2u);
  core_.ReportAll(kAssembly, "nodes/b", v1::ShardReport::FAILED);
  EXPECT_EQ(Shown().state(), v1::Assembly::DEGRADED) << "it is established by now";
}

// Room that other assemblies take shows only when a plan is made.
TEST_F(BarrierTest, MemberWithoutRoomGetsNothingAndChangesNothing) {
  Create(v1::Assembly::FULL);
  CreateOfAnotherVersion("assemblies/b");
  AddMember("nodes/a", v1::Claim::ANY);
  core_.Plan();
  core_.ReportAll(kAssembly, "nodes/a", v1::ShardReport::READY);
  core_.AddNode("nodes/small", 60);
  core_.Join("assemblies/b", "nodes/small", v1::Claim::ANY);
  core_.Plan();
  core_.Join(kAssembly, "nodes/small", v1::Claim::ANY);
  core_.Plan();

  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  const Assembly& assembly = core_.AssemblyOf(kAssembly);
  const auto problem = [&] {
    return assembly.DescribeMember("nodes/small", *assembly.FindMember("nodes/small")).problem();
  };
  EXPECT_EQ(problem(), "needs 40 B for its shards, has 20 B left");
  EXPECT_TRUE(assembly.FindMember("nodes/small")->assignments.empty());

  v1::DeleteAssemblyRequest remove;
  remove.set_name("assemblies/b");
  MUSTER_ASSERT_OK(core_.Do(remove).status);
  core_.Plan();
  EXPECT_EQ(problem(), "");
  EXPECT_EQ(assembly.FindMember("nodes/small")->assignments.size(), 4u);
}

TEST_F(BarrierTest, LeaveOfTheLastMemberGivesAReason) {
  Create(v1::Assembly::FULL);
  AddMember("nodes/a", v1::Claim::ANY);
  core_.Plan();

  Leave("nodes/a");

  EXPECT_EQ(Shown().state(), v1::Assembly::WAITING) << "no node is left";
  EXPECT_GT(Shown().reasons_size(), 0);
}

TEST_F(BarrierTest, PlanMadeBeforeAnotherWasAppliedIsOutdated) {
  Create(v1::Assembly::FULL);
  AddMember("nodes/a", v1::Claim::ANY);
  const AssemblyUid uid = core_.AssemblyOf(kAssembly).uid();
  auto first = MakePlanCommands(*TakePlanTask(core_.registry(), uid));
  auto second = MakePlanCommands(*TakePlanTask(core_.registry(), uid));
  MUSTER_ASSERT_OK(core_.Do(**std::move(first)).status);
  core_.ReportAll(kAssembly, "nodes/a", v1::ShardReport::READY);

  const JobResult result = core_.Do(**std::move(second));

  EXPECT_EQ(ReasonOf(result.status), "PLAN_OUTDATED");
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
}

TEST_F(BarrierTest, PlansOfTwoAssembliesDoNotShareTheSameRoom) {
  Create(v1::Assembly::BALANCED);
  CreateOfAnotherVersion("assemblies/b");
  core_.AddNode("nodes/a", 40);
  core_.Join(kAssembly, "nodes/a", v1::Claim::ANY);
  core_.Join("assemblies/b", "nodes/a", v1::Claim::ANY);
  auto first = MakePlanCommands(*TakePlanTask(core_.registry(), core_.AssemblyOf(kAssembly).uid()));
  auto second =
      MakePlanCommands(*TakePlanTask(core_.registry(), core_.AssemblyOf("assemblies/b").uid()));

  MUSTER_EXPECT_OK(core_.Do(**std::move(first)).status);
  EXPECT_EQ(ReasonOf(core_.Do(**std::move(second)).status), "PLAN_OUTDATED");
  core_.Plan();

  EXPECT_EQ((*core_.registry().nodes().Find("nodes/a"))->assigned_bytes, 40u);
  EXPECT_EQ(core_.AssemblyOf("assemblies/b").state(), v1::Assembly::WAITING);
}

TEST_F(BarrierTest, RoomThatAnAssemblyLeavesIsGivenToOneThatWaits) {
  Create(v1::Assembly::BALANCED);
  CreateOfAnotherVersion("assemblies/b");
  core_.AddNode("nodes/a", 40);
  core_.Join(kAssembly, "nodes/a", v1::Claim::ANY);
  core_.Plan();
  core_.Join("assemblies/b", "nodes/a", v1::Claim::ANY);
  core_.Plan();
  ASSERT_EQ(core_.AssemblyOf("assemblies/b").state(), v1::Assembly::WAITING);

  v1::DeleteAssemblyRequest remove;
  remove.set_name(kAssembly);
  MUSTER_ASSERT_OK(core_.Do(remove).status);
  core_.Plan();

  EXPECT_EQ(core_.AssemblyOf("assemblies/b").state(), v1::Assembly::LOADING);
}

// A process that died between the report that made the assembly READY and the row that remembers
// it.
TEST_F(BarrierTest, ReadyThatOnlyItsReportsTellIsRememberedByTheNextStart) {
  Create(v1::Assembly::FULL);
  AddMember("nodes/a", v1::Claim::ANY);
  core_.Plan();
  core_.ReportAll(kAssembly, "nodes/a", v1::ShardReport::READY);
  store::AssemblyRow row = core_.AssemblyOf(kAssembly).row();
  row.set_was_ready(false);
  MetadataBatch batch;
  batch.operations.push_back(
      MetadataBatch::Put{AssemblyKey(AssemblyUid(row.uid())), row.SerializeAsString()});
  MUSTER_ASSERT_OK(core_.server().store().Commit(batch));

  core_.Restart();
  for (int i = 0; i < 11; ++i) core_.AdvanceAndTick(absl::Seconds(1));
  core_.Restart();

  EXPECT_EQ(Shown().state(), v1::Assembly::DEGRADED);
}

TEST(FailedReportsTest, EveryShardOfALargeVersionFailsInOneRow) {
  CoreUnderTest core;
  constexpr uint32_t kShards = 6'000;
  MUSTER_ASSERT_OK(core.Do(PublishCommands(kVersion, kShards, 10)).status);
  MUSTER_ASSERT_OK(
      core.Do(CreateAssemblyRequestOf(kAssembly, kVersion, v1::Assembly::FULL)).status);
  core.AddNode("nodes/a", 0);
  core.Join(kAssembly, "nodes/a", v1::Claim::ANY);
  core.Plan();

  MUSTER_ASSERT_OK(core.ReportAll(kAssembly, "nodes/a", v1::ShardReport::FAILED).status);

  const auto shown = [&] {
    const Assembly& assembly = core.AssemblyOf(kAssembly);
    return assembly.ReadinessRowOf(*assembly.FindMember("nodes/a")).SerializeAsString();
  };
  EXPECT_EQ(core.AssemblyOf(kAssembly).FindMember("nodes/a")->failures.size(), kShards);
  const std::string before = shown();
  EXPECT_LT(before.size(), size_t{64} << 10);
  core.Restart();
  EXPECT_EQ(shown(), before);
  EXPECT_EQ(core.AssemblyOf(kAssembly).FindMember("nodes/a")->failures.size(), kShards);
}

TEST(FailedReportsTest, RepeatOfAFailureWithoutRoomForDetailsChangesNothing) {
  CoreUnderTest core;
  MUSTER_ASSERT_OK(core.Do(PublishCommands(kVersion, 40, 10)).status);
  MUSTER_ASSERT_OK(
      core.Do(CreateAssemblyRequestOf(kAssembly, kVersion, v1::Assembly::FULL)).status);
  core.AddNode("nodes/a", 0);
  core.Join(kAssembly, "nodes/a", v1::Claim::ANY);
  core.Plan();
  MUSTER_ASSERT_OK(core.ReportAll(kAssembly, "nodes/a", v1::ShardReport::FAILED).status);
  const Assembly::Member& member = *core.AssemblyOf(kAssembly).FindMember("nodes/a");
  EXPECT_EQ(member.detailed_failures, kMaxDetailedFailures);

  EXPECT_EQ(core.ReportAll(kAssembly, "nodes/a", v1::ShardReport::FAILED).changed, 0u);
  MUSTER_ASSERT_OK(core.ReportAll(kAssembly, "nodes/a", v1::ShardReport::READY).status);
  EXPECT_EQ(member.detailed_failures, 0u);
  EXPECT_TRUE(member.failures.empty());
}

}  // namespace
}  // namespace muster
