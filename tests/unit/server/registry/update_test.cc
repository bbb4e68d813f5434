// UpdateAssembly and UpdateNode: what changes, what follows, and that nothing else does.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;

class UpdateTest : public testing::Test {
 protected:
  UpdateTest() {
    fixture_.Publish(kVersion, 2);
    MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
    for (const char* node : {"nodes/a", "nodes/b"}) {
      MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, node, fixture_.Register(node))));
    }
    const uint64_t generation = fixture_.Plan(kAssembly, {{"nodes/a", {0, 1}}});
    MUSTER_EXPECT_OK(fixture_.Do(Report(
        kAssembly, "nodes/a", fixture_.NodeOf("nodes/a").epoch().value, generation, {0, 1})));
    fixture_.plans_wanted().clear();
  }
  static v1::UpdateAssemblyRequest OfAssembly(const std::vector<std::string>& paths) {
    v1::UpdateAssemblyRequest request;
    request.mutable_assembly()->set_name(kAssembly);
    for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
    return request;
  }
  static v1::UpdateNodeRequest OfNode(const std::vector<std::string>& paths) {
    v1::UpdateNodeRequest request;
    request.mutable_node()->set_name("nodes/a");
    for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
    return request;
  }
  bool PlanWanted() { return !fixture_.plans_wanted().empty(); }
  void ExpectSameAfterRestart() {
    const std::string before = Describe(fixture_.registry());
    MUSTER_ASSERT_OK(fixture_.Restart());
    EXPECT_EQ(Describe(fixture_.registry()), before);
  }

  RegistryFixture fixture_;
};

TEST_F(UpdateTest, MoreReplicasTakeReadyBackUntilTheyAreThere) {
  ASSERT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::READY);
  v1::UpdateAssemblyRequest request = OfAssembly({"replicas"});
  request.mutable_assembly()->set_replicas(2);
  request.mutable_assembly()->set_min_nodes(9);
  const auto plan = std::make_shared<PlannedAssembly>(fixture_.PlanOf(kAssembly, {}));
  const auto reply = fixture_.Ask<v1::UpdateAssemblyResponse>(request);
  EXPECT_EQ(reply.assembly().replicas(), 2u);
  EXPECT_EQ(reply.assembly().min_nodes(), 1u) << "the mask does not name it";
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::DEGRADED);
  EXPECT_TRUE(PlanWanted());
  EXPECT_THAT(fixture_.Do(ApplyPlan{plan, 0, 0}), ErrorIs(StatusCode::kAborted, "PLAN_OUTDATED"));
  ExpectSameAfterRestart();

  const Revision revision = fixture_.revision();
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_EQ(fixture_.revision(), revision) << "the same again changes nothing";
}

TEST_F(UpdateTest, MoveBudgetComesAndGoesBackToItsDefault) {
  v1::UpdateAssemblyRequest request = OfAssembly({"move_budget_bytes", "min_nodes"});
  request.mutable_assembly()->set_move_budget_bytes(0);
  request.mutable_assembly()->set_min_nodes(3);
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_TRUE(fixture_.Shown(kAssembly).has_move_budget_bytes());
  EXPECT_EQ(fixture_.Shown(kAssembly).min_nodes(), 3u);
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::WAITING) << "there are two nodes";
  request.mutable_assembly()->clear_move_budget_bytes();
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_FALSE(fixture_.Shown(kAssembly).has_move_budget_bytes());
  ExpectSameAfterRestart();
}

TEST_F(UpdateTest, LabelsAndCapacityChangeWithoutAnotherEpoch) {
  const Epoch epoch = fixture_.NodeOf("nodes/a").epoch();
  v1::UpdateNodeRequest request = OfNode({"labels", "capacity_bytes"});
  (*request.mutable_node()->mutable_labels())["gpu"] = "h100";
  request.mutable_node()->set_capacity_bytes(1'500);
  request.mutable_node()->set_zone("elsewhere");
  const auto reply = fixture_.Ask<v1::UpdateNodeResponse>(request);
  EXPECT_EQ(reply.node().labels().at("gpu"), "h100");
  EXPECT_EQ(reply.node().capacity_bytes(), 1'500u);
  EXPECT_EQ(reply.node().zone(), "") << "the mask does not name it";
  EXPECT_EQ(fixture_.NodeOf("nodes/a").epoch(), epoch);
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::READY) << "its reports stay";
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/a").shards_assigned(), 2u) << "it keeps what it has";
  EXPECT_TRUE(PlanWanted());
  ExpectSameAfterRestart();

  request = OfNode({"labels"});
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_TRUE(fixture_.NodeOf("nodes/a").row.labels().empty());
  EXPECT_EQ(fixture_.NodeOf("nodes/a").row.capacity_bytes(), 1'500u);
}

TEST_F(UpdateTest, LabelsDecideWhoGetsShards) {
  v1::CreateAssemblyRequest create =
      CreateAssembly("assemblies/b", kVersion, v1::Assembly::BALANCED);
  (*create.mutable_assembly()->mutable_node_selector())["gpu"] = "h100";
  MUSTER_EXPECT_OK(fixture_.Do(create));
  MUSTER_EXPECT_OK(
      fixture_.Do(Join("assemblies/b", "nodes/a", fixture_.NodeOf("nodes/a").epoch().value)));
  EXPECT_FALSE(fixture_.MemberOf("assemblies/b", "nodes/a").selected);
  fixture_.plans_wanted().clear();
  v1::UpdateNodeRequest request = OfNode({"labels"});
  (*request.mutable_node()->mutable_labels())["gpu"] = "h100";
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_TRUE(fixture_.MemberOf("assemblies/b", "nodes/a").selected);
  EXPECT_EQ(fixture_.plans_wanted().size(), 2u);
}

TEST_F(UpdateTest, WhatCanNotBeChangedIsRefused) {
  for (const std::vector<std::string>& paths :
       {std::vector<std::string>{}, {"policy"}, {"replicas", "name"}, {"*"}}) {
    EXPECT_THAT(fixture_.Do(OfAssembly(paths)),
                ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  }
  EXPECT_THAT(fixture_.Do(OfNode({"zone"})),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  v1::UpdateAssemblyRequest assembly = OfAssembly({"replicas"});
  assembly.mutable_assembly()->set_replicas(101);
  EXPECT_THAT(fixture_.Do(assembly), ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  assembly = OfAssembly({"replicas"});
  assembly.set_uid("other");
  EXPECT_THAT(fixture_.Do(assembly), ErrorIs(StatusCode::kFailedPrecondition, "UID_DIFFERS"));
  v1::UpdateNodeRequest node = OfNode({"labels"});
  (*node.mutable_node()->mutable_labels())["a"] = std::string(64, 'x');
  EXPECT_THAT(fixture_.Do(node), ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
  node = OfNode({"labels"});
  node.mutable_node()->set_name("nodes/none");
  EXPECT_THAT(fixture_.Do(node), ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));

  const std::string before = Describe(fixture_.registry());
  assembly = OfAssembly({"replicas"});
  assembly.mutable_assembly()->set_replicas(2);
  assembly.set_validate_only(true);
  MUSTER_EXPECT_OK(fixture_.Do(assembly));
  EXPECT_EQ(Describe(fixture_.registry()), before);
}

}  // namespace
}  // namespace muster
