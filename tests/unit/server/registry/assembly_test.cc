// Assemblies: membership, plans and the barrier (invariants 4 and 5, docs/design.md).

#include <algorithm>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;
using testing::Contains;

constexpr char kN1[] = "nodes/n1";
constexpr char kN2[] = "nodes/n2";

// A committed version of two shards and two nodes.
class AssemblyTest : public testing::Test {
 protected:
  AssemblyTest() {
    fixture_.Publish(kVersion, 2);
    e1_ = fixture_.Register(kN1);
    e2_ = fixture_.Register(kN2);
  }
  void Create(v1::Assembly::Policy policy, uint32_t min_nodes = 1) {
    MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, policy, min_nodes)));
  }
  // BALANCED over both nodes, one shard each.
  uint64_t CreatePlanned() {
    Create(v1::Assembly::BALANCED);
    MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN1, e1_)));
    MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN2, e2_)));
    return fixture_.Plan(kAssembly, {{kN1, {0}}, {kN2, {1}}});
  }
  void Ready(const std::string& node, uint64_t epoch, uint64_t generation,
             const std::vector<uint32_t>& shards) {
    MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, node, epoch, generation, shards)));
  }
  v1::Assembly Shown() { return fixture_.Shown(kAssembly); }
  std::vector<int> ReasonCodes() {
    std::vector<int> codes;
    const v1::Assembly shown = Shown();
    for (const auto& reason : shown.reasons()) codes.push_back(reason.code());
    return codes;
  }
  absl::Status DoesNothing(const Command& command) {
    const std::string before = Describe(fixture_.registry());
    const absl::Status status = fixture_.Do(command);
    EXPECT_EQ(Describe(fixture_.registry()), before);
    return status;
  }

  RegistryFixture fixture_;
  uint64_t e1_, e2_;
};

TEST_F(AssemblyTest, CreateNeedsACommittedVersion) {
  EXPECT_THAT(DoesNothing(CreateAssembly(kAssembly, "models/m/versions/v9", v1::Assembly::FULL)),
              ErrorIs(StatusCode::kNotFound, "VERSION_UNKNOWN"));
  MUSTER_EXPECT_OK(fixture_.Do(CreateVersion("models/m/versions/v9", 1)));
  EXPECT_THAT(DoesNothing(CreateAssembly(kAssembly, "models/m/versions/v9", v1::Assembly::FULL)),
              ErrorIs(StatusCode::kFailedPrecondition, "VERSION_NOT_COMMITTED"));
}

TEST_F(AssemblyTest, CreateOfAPresentNameSaysWhatIsThere) {
  Create(v1::Assembly::BALANCED, 3);
  const absl::Status status = DoesNothing(CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL));
  EXPECT_THAT(status, ErrorIs(StatusCode::kAlreadyExists, "ASSEMBLY_EXISTS"));
  const auto metadata = DetailOf(status).metadata;
  EXPECT_EQ(metadata.at("policy"), "BALANCED");
  EXPECT_EQ(metadata.at("min_nodes"), "3");
  EXPECT_EQ(metadata.at("replicas"), "1");
  EXPECT_EQ(metadata.at("model_version"), kVersion);
}

TEST_F(AssemblyTest, ValidateOnlyStoresNothing) {
  v1::CreateAssemblyRequest create = CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL);
  create.set_validate_only(true);
  MUSTER_EXPECT_OK(DoesNothing(create));
  Create(v1::Assembly::FULL);
  v1::DeleteAssemblyRequest remove = DeleteAssembly(kAssembly);
  remove.set_validate_only(true);
  MUSTER_EXPECT_OK(DoesNothing(remove));
}

TEST_F(AssemblyTest, UnknownAssemblyOrNodeIsNotFound) {
  EXPECT_THAT(DoesNothing(Join(kAssembly, kN1, e1_)),
              ErrorIs(StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
  EXPECT_THAT(DoesNothing(Leave(kAssembly, kN1)),
              ErrorIs(StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
  EXPECT_THAT(DoesNothing(DeleteAssembly(kAssembly)),
              ErrorIs(StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
  Create(v1::Assembly::FULL);
  EXPECT_THAT(DoesNothing(Join(kAssembly, "nodes/n9", 1)),
              ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
  v1::JoinAssemblyRequest without_epoch = Join(kAssembly, kN1, e1_);
  without_epoch.clear_epoch();
  EXPECT_THAT(DoesNothing(without_epoch), ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
}

TEST_F(AssemblyTest, SameClaimAgainChangesNothingAndAnotherIsRefused) {
  Create(v1::Assembly::DECLARED);
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN1, e1_, {1, 0})));
  MUSTER_EXPECT_OK(DoesNothing(Join(kAssembly, kN1, e1_, {0, 1, 1})));
  EXPECT_THAT(DoesNothing(Join(kAssembly, kN1, e1_, {0})),
              ErrorIs(StatusCode::kFailedPrecondition, "CLAIM_DIFFERS"));
}

TEST_F(AssemblyTest, ClaimBeyondTheShardsNamesThem) {
  Create(v1::Assembly::DECLARED);
  const absl::Status status = DoesNothing(Join(kAssembly, kN1, e1_, {0, 2, 7}));
  EXPECT_THAT(status, ErrorIs(StatusCode::kInvalidArgument, "SHARD_OUT_OF_RANGE"));
  EXPECT_EQ(DetailOf(status).metadata.at("shards"), "2,7");
}

// Shards are of 1,000 bytes.
TEST_F(AssemblyTest, NodeThatCanNeverHoldItsClaimIsRefusedWithTheNumbers) {
  v1::RegisterNodeRequest request = RegisterNode("nodes/small");
  request.mutable_node()->set_capacity_bytes(1'500);
  const uint64_t epoch = fixture_.Ask<v1::RegisterNodeResponse>(request).epoch();
  Create(v1::Assembly::FULL);
  v1::JoinAssemblyRequest join = Join(kAssembly, "nodes/small", epoch);
  const absl::Status status = DoesNothing(join);
  EXPECT_THAT(status, ErrorIs(StatusCode::kFailedPrecondition, "NODE_TOO_SMALL"));
  EXPECT_EQ(DetailOf(status).metadata.at("needed_bytes"), "2000");
  EXPECT_EQ(DetailOf(status).metadata.at("capacity_bytes"), "1500");
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("needs 2.0 KiB"));
  join.set_validate_only(true);
  EXPECT_THAT(DoesNothing(join), ErrorIs(StatusCode::kFailedPrecondition, "NODE_TOO_SMALL"));

  request.mutable_node()->set_capacity_bytes(2'000);
  join.set_validate_only(false);
  join.set_epoch(fixture_.Ask<v1::RegisterNodeResponse>(request).epoch());
  MUSTER_EXPECT_OK(fixture_.Do(join));
  // Who is a member stays one, so that an agent that starts again comes back.
  request.mutable_node()->set_capacity_bytes(1);
  join.set_epoch(fixture_.Ask<v1::RegisterNodeResponse>(request).epoch());
  MUSTER_EXPECT_OK(fixture_.Do(join));
}

TEST_F(AssemblyTest, ClaimOfAPartNeedsRoomForThatPart) {
  v1::RegisterNodeRequest request = RegisterNode("nodes/small");
  request.mutable_node()->set_capacity_bytes(1'500);
  const uint64_t epoch = fixture_.Ask<v1::RegisterNodeResponse>(request).epoch();
  Create(v1::Assembly::DECLARED);
  EXPECT_THAT(DoesNothing(Join(kAssembly, "nodes/small", epoch, {0, 1})),
              ErrorIs(StatusCode::kFailedPrecondition, "NODE_TOO_SMALL"));
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/small", epoch, {1})));
}

TEST_F(AssemblyTest, LeaveForgetsTheMemberAndRepeatsHarmlessly) {
  CreatePlanned();
  v1::LeaveAssemblyRequest fenced = Leave(kAssembly, kN1);
  fenced.set_epoch(e1_ - 1);
  EXPECT_THAT(DoesNothing(fenced), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
  MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, kN1)));
  EXPECT_EQ(Shown().nodes_joined(), 1u);
  EXPECT_EQ(Shown().replicas_required(), 1u);
  MUSTER_EXPECT_OK(DoesNothing(Leave(kAssembly, kN1)));
}

TEST_F(AssemblyTest, CheckedJoinAndLeaveChangeNothing) {
  Create(v1::Assembly::BALANCED, 2);
  v1::JoinAssemblyRequest join = Join(kAssembly, kN1, e1_);
  join.set_validate_only(true);
  MUSTER_EXPECT_OK(DoesNothing(join));
  EXPECT_EQ(Shown().nodes_joined(), 0u);
  join.set_epoch(e1_ - 1);
  EXPECT_THAT(DoesNothing(join), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));

  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN1, e1_)));
  v1::LeaveAssemblyRequest leave = Leave(kAssembly, kN1);
  leave.set_validate_only(true);
  MUSTER_EXPECT_OK(DoesNothing(leave));
  EXPECT_EQ(Shown().nodes_joined(), 1u);
}

TEST_F(AssemblyTest, TooFewNodesWaitWithTheirCount) {
  Create(v1::Assembly::BALANCED, 2);
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN1, e1_)));
  EXPECT_EQ(Shown().state(), v1::Assembly::WAITING);
  ASSERT_EQ(Shown().reasons_size(), 1);
  EXPECT_EQ(Shown().reasons(0).code(), v1::AssemblyReason::TOO_FEW_NODES);
  EXPECT_EQ(Shown().reasons(0).message(), "1 of 2 nodes joined");
  EXPECT_TRUE(fixture_.plans_wanted().empty());
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN2, e2_)));
  EXPECT_EQ(fixture_.plans_wanted().size(), 1u);
  EXPECT_THAT(ReasonCodes(), Contains(int{v1::AssemblyReason::PLANNING}));
}

TEST_F(AssemblyTest, ReadyExactlyWhenEveryReplicaIsCounted) {
  const uint64_t generation = CreatePlanned();
  EXPECT_EQ(Shown().state(), v1::Assembly::LOADING);
  Ready(kN1, e1_, generation, {0});
  EXPECT_EQ(Shown().state(), v1::Assembly::LOADING);
  EXPECT_FALSE(Shown().complete());
  EXPECT_TRUE(fixture_.Member(kAssembly, kN1).ready());
  Ready(kN2, e2_, generation, {1});
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  EXPECT_TRUE(Shown().complete());
  EXPECT_EQ(Shown().reasons_size(), 0);
}

TEST_F(AssemblyTest, CompleteComesBeforeReadyWhenReplicasAreOpen) {
  Create(v1::Assembly::FULL);
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN1, e1_)));
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN2, e2_)));
  const uint64_t generation = fixture_.Plan(kAssembly, {{kN1, {0, 1}}, {kN2, {0, 1}}});
  Ready(kN1, e1_, generation, {0, 1});
  EXPECT_TRUE(Shown().complete());
  EXPECT_EQ(Shown().state(), v1::Assembly::LOADING);
  EXPECT_EQ(Shown().replicas_ready(), 2u);
  EXPECT_EQ(Shown().replicas_required(), 4u);
}

TEST_F(AssemblyTest, LostNodeDegradesAndItsRevivalRestores) {
  const uint64_t generation = CreatePlanned();
  Ready(kN1, e1_, generation, {0});
  Ready(kN2, e2_, generation, {1});
  fixture_.SetLost(kN2, true);
  EXPECT_EQ(Shown().state(), v1::Assembly::DEGRADED);
  EXPECT_FALSE(Shown().complete());
  EXPECT_THAT(ReasonCodes(), Contains(int{v1::AssemblyReason::NODE_LOST}));
  EXPECT_EQ(Shown().reasons(0).node(), kN2);
  EXPECT_FALSE(fixture_.Member(kAssembly, kN2).ready());
  fixture_.SetLost(kN2, false);
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
}

TEST_F(AssemblyTest, NewEpochResetsReportsToPending) {
  const uint64_t generation = CreatePlanned();
  Ready(kN1, e1_, generation, {0});
  Ready(kN2, e2_, generation, {1});
  const uint64_t epoch = fixture_.Register(kN2);
  EXPECT_EQ(Shown().state(), v1::Assembly::DEGRADED);
  EXPECT_EQ(fixture_.Member(kAssembly, kN2).shards_ready(), 0u);
  Ready(kN2, epoch, generation, {1});
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
}

// Goal: what a change of one member costs does not grow with the claim, nor with the other members.
TEST_F(AssemblyTest, ChangesCarryNoClaims) {
  Create(v1::Assembly::DECLARED);
  v1::JoinAssemblyRequest join = Join(kAssembly, kN1, e1_);
  join.mutable_claim()->set_kind(v1::Claim::SHARDS);
  join.mutable_claim()->add_shards(1);
  const size_t before = fixture_.changes().size();

  MUSTER_EXPECT_OK(fixture_.Do(join));

  size_t members = 0;
  for (size_t i = before; i < fixture_.changes().size(); ++i) {
    const auto* change = std::get_if<AssemblyChange>(&fixture_.changes()[i].what);
    if (change == nullptr) continue;
    for (const v1::AssemblyMember& member : change->members) {
      EXPECT_FALSE(member.has_claim());
      EXPECT_EQ(member.node(), kN1);
      ++members;
    }
  }
  EXPECT_EQ(members, 1u);
  EXPECT_EQ(fixture_.Member(kAssembly, kN1).claim().shards(0), 1u);
}

// Goal: only members that reasons are about are looked at, and none of these is missed.
TEST_F(AssemblyTest, ReasonsOfMembersComeAndGoWithWhatTheyAreAbout) {
  const uint64_t generation = CreatePlanned();
  const auto about = [&](const char* node) {
    const v1::Assembly shown = Shown();
    return std::count_if(shown.reasons().begin(), shown.reasons().end(),
                         [&](const auto& reason) { return reason.node() == node; });
  };
  EXPECT_EQ(about(kN1), 0);
  v1::ReportShardsRequest failed = Report(kAssembly, kN1, e1_, generation, {0});
  failed.mutable_reports(0)->set_state(v1::ShardReport::FAILED);
  failed.mutable_reports(0)->mutable_failure()->set_code(v1::ShardFailure::MISSING);
  MUSTER_EXPECT_OK(fixture_.Do(failed));
  EXPECT_EQ(about(kN1), 1);
  fixture_.SetLost(kN1, true);
  EXPECT_EQ(about(kN1), 1) << "that it is lost, and not what it failed at";
  EXPECT_THAT(ReasonCodes(), Contains(int{v1::AssemblyReason::NODE_LOST}));
  EXPECT_THAT(ReasonCodes(), testing::Not(Contains(int{v1::AssemblyReason::SHARD_FAILED})));
  fixture_.SetLost(kN1, false);
  EXPECT_EQ(about(kN1), 1);
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(about(kN1), 1);
  e1_ = fixture_.Register(kN1);
  EXPECT_EQ(about(kN1), 0) << "its reports start over";
  fixture_.SetLost(kN1, true);
  EXPECT_EQ(about(kN1), 1);
  fixture_.Plan(kAssembly, {{kN1, {}}, {kN2, {0, 1}}});
  EXPECT_EQ(about(kN1), 0) << "it holds nothing any more";
  EXPECT_EQ(about(kN2), 0);
}

// Goal: no reason promises a move that the brake holds back, and the brake is not behind a list of nodes.
TEST(BrakedAssemblyTest, ReasonsSayThatShardsStayWhileTheBrakeHolds) {
  RegistryFixture fixture;
  fixture.Publish(kVersion, 6);
  MUSTER_EXPECT_OK(fixture.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
  std::vector<RegistryFixture::Part> parts;
  for (uint32_t i = 0; i < 6; ++i) {
    const std::string node = absl::StrCat("nodes/n", i);
    MUSTER_EXPECT_OK(fixture.Do(Join(kAssembly, node, fixture.Register(node))));
    parts.push_back({node, {i}});
  }
  fixture.Plan(kAssembly, parts);
  const auto described = [&] {
    return fixture.registry().DescribeAssembly(**fixture.registry().assemblies().Find(kAssembly));
  };
  for (int i = 0; i < 4; ++i) fixture.SetLost(absl::StrCat("nodes/n", i), true);
  EXPECT_THAT(described().reasons(0).message(), testing::HasSubstr("move to other nodes after"));

  fixture.SetLost("nodes/n4", true);

  const v1::Assembly shown = described();
  EXPECT_EQ(shown.reasons(0).code(), v1::AssemblyReason::MOVES_BRAKED);
  for (int i = 1; i <= 5; ++i) {
    EXPECT_EQ(shown.reasons(i).code(), v1::AssemblyReason::NODE_LOST);
    EXPECT_THAT(shown.reasons(i).message(), testing::HasSubstr("which stay with it"));
  }
}

TEST_F(AssemblyTest, UnclaimedShardWaitsWithItsReason) {
  Create(v1::Assembly::DECLARED);
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN1, e1_, {0})));
  v1::AssemblyReason unclaimed;
  unclaimed.set_code(v1::AssemblyReason::SHARDS_UNCLAIMED);
  unclaimed.add_shards(1);
  const uint64_t generation = fixture_.Plan(kAssembly, {{kN1, {0}}}, {unclaimed});
  Ready(kN1, e1_, generation, {0});
  EXPECT_EQ(Shown().state(), v1::Assembly::WAITING);
  EXPECT_THAT(ReasonCodes(), Contains(int{v1::AssemblyReason::SHARDS_UNCLAIMED}));
}

TEST_F(AssemblyTest, AssignmentKeptByAPlanCarriesItsReadyAlong) {
  const uint64_t first = CreatePlanned();
  Ready(kN1, e1_, first, {0});
  Ready(kN2, e2_, first, {1});
  const uint64_t second = fixture_.Plan(kAssembly, {{kN1, {0, 1}}, {kN2, {}}});
  EXPECT_GT(second, first);
  EXPECT_EQ(Shown().replicas_ready(), 1u);
  EXPECT_EQ(Shown().state(), v1::Assembly::DEGRADED);
  Ready(kN1, e1_, second, {1});
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
}

TEST_F(AssemblyTest, MemberWithAssignmentsThatLeavesEndsReadyAtOnce) {
  const uint64_t generation = CreatePlanned();
  Ready(kN1, e1_, generation, {0});
  Ready(kN2, e2_, generation, {1});
  MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, kN2)));
  EXPECT_NE(Shown().state(), v1::Assembly::READY) << "nobody holds shard 1";
}

TEST_F(AssemblyTest, PlanIsRefusedOnceAnotherHasComeInOrTheAssemblyIsGone) {
  Create(v1::Assembly::BALANCED);
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN1, e1_)));
  const auto plan = std::make_shared<PlannedAssembly>(fixture_.PlanOf(kAssembly, {{kN1, {0, 1}}}));
  const auto second = std::make_shared<PlannedAssembly>(*plan);
  MUSTER_EXPECT_OK(fixture_.Do(ApplyPlan{plan, 0, 1}));
  EXPECT_THAT(DoesNothing(ApplyPlan{second, 0, 1}), ErrorIs(StatusCode::kAborted, "PLAN_OUTDATED"));
  const auto present =
      std::make_shared<PlannedAssembly>(fixture_.PlanOf(kAssembly, {{kN1, {0, 1}}}));
  MUSTER_EXPECT_OK(fixture_.Do(DeleteAssembly(kAssembly)));
  EXPECT_THAT(DoesNothing(ApplyPlan{present, 0, 1}),
              ErrorIs(StatusCode::kAborted, "PLAN_OUTDATED"));
}

TEST_F(AssemblyTest, StepsOfAPlanComeInTheirOrderAndUnderOneGeneration) {
  Create(v1::Assembly::BALANCED);
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN1, e1_)));
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, kN2, e2_)));
  const auto plan =
      std::make_shared<PlannedAssembly>(fixture_.PlanOf(kAssembly, {{kN1, {0}}, {kN2, {1}}}));
  EXPECT_THAT(DoesNothing(ApplyPlan{plan, 1, 2}), ErrorIs(StatusCode::kAborted, "PLAN_OUTDATED"))
      << "its first step has not come";
  MUSTER_EXPECT_OK(fixture_.Do(ApplyPlan{plan, 0, 1}));
  EXPECT_EQ(Shown().state(), v1::Assembly::LOADING);
  EXPECT_THAT(DoesNothing(ApplyPlan{plan, 0, 1}), ErrorIs(StatusCode::kAborted, "PLAN_OUTDATED"));
  MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, kN1)));
  MUSTER_EXPECT_OK(fixture_.Do(ApplyPlan{plan, 1, 2}));
  Ready(kN2, e2_, Shown().generation(), {1});
  EXPECT_NE(Shown().state(), v1::Assembly::READY) << "nobody holds shard 0";
  EXPECT_THAT(DoesNothing(ApplyPlan{plan, 2, 2}), ErrorIs(StatusCode::kAborted, "PLAN_OUTDATED"))
      << "it has come in";
}

TEST_F(AssemblyTest, DeletedAssemblyLeavesNoRowsAndReturnsRoom) {
  const size_t rows = RowsOf(fixture_.store()).size();
  const uint64_t generation = CreatePlanned();
  Ready(kN1, e1_, generation, {0});
  MUSTER_EXPECT_OK(fixture_.Do(DeleteAssembly(kAssembly)));
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows);
  for (const auto& [name, node] : fixture_.registry().nodes().by_name()) {
    EXPECT_EQ(node->assigned_bytes, 0u);
    EXPECT_TRUE(node->memberships.empty());
  }
}

}  // namespace
}  // namespace muster
