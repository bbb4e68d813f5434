#include "server/rpc/explain.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Verdict = v1::AssignmentVerdict;

constexpr Generation kGeneration{7};

// Three members, of which n2 holds the shard READY, as a BALANCED plan left them.
class ExplainTest : public testing::Test {
 protected:
  ExplainTest() {
    shards_ = std::make_shared<std::vector<PlanShard>>(1);
    shards_->front().size_bytes = 100;
    PlanTask plan;
    plan.shards = shards_;
    plan.input.shards = *plan.shards;
    for (const char* const name : {"n1", "n2", "n3"}) {
      PlanNode& node = plan.input.nodes.emplace_back();
      node.uid = plan.input.nodes.size();
      node.name = name;
      node.capacity_bytes = 1000;
      task_.members.push_back({.node = std::string("nodes/") + name,
                               .zone = "z",
                               .assigned_bytes = 0,
                               .capacity_bytes = 1000});
    }
    plan.input.nodes[1].present.push_back({ShardIndex(0), kGeneration, 0, true});
    task_.plan = std::move(plan);
    task_.generation = kGeneration.value;
    task_.status.set_shard(0);
    task_.status.set_size_bytes(100);
    v1::ShardReplica& replica = *task_.status.add_replicas();
    replica.set_node("nodes/n2");
    replica.set_state(v1::ShardReport::READY);
  }

  v1::ExplainAssignmentResponse Explain() {
    v1::ExplainAssignmentResponse response;
    MUSTER_EXPECT_OK(FillExplanation(task_, response));
    return response;
  }

  std::vector<std::string> Names(const v1::ExplainAssignmentResponse& response) {
    std::vector<std::string> names;
    for (const Verdict& verdict : response.nodes()) names.push_back(verdict.node());
    return names;
  }

  std::shared_ptr<std::vector<PlanShard>> shards_;
  ExplainTask task_;
};

TEST_F(ExplainTest, HoldersComeFirstThenNames) {
  const auto response = Explain();

  EXPECT_THAT(Names(response), ElementsAre("nodes/n2", "nodes/n1", "nodes/n3"));
  EXPECT_EQ(response.nodes(0).outcome(), Verdict::HOLDS);
  EXPECT_EQ(response.nodes(0).rule(), Verdict::STICKY);
  EXPECT_EQ(response.nodes(0).replica().state(), v1::ShardReport::READY);
  EXPECT_EQ(response.nodes(1).outcome(), Verdict::POSSIBLE);
  EXPECT_EQ(response.nodes(1).rule(), Verdict::ENOUGH_REPLICAS);
  EXPECT_FALSE(response.nodes(1).has_replica());
  EXPECT_EQ(response.nodes(1).capacity_bytes(), 1000);
  EXPECT_EQ(response.nodes(1).zone(), "z");
  EXPECT_EQ(response.size_bytes(), 100);
  EXPECT_EQ(response.replicas_wanted(), 1);
  EXPECT_EQ(response.generation(), 7);
}

TEST_F(ExplainTest, RefusalHasTheRuleThatDecided) {
  task_.plan->input.nodes[0].draining = true;
  task_.plan->input.nodes[2].capacity_bytes = 10;

  const auto response = Explain();

  EXPECT_EQ(response.nodes(1).outcome(), Verdict::REFUSED);
  EXPECT_EQ(response.nodes(1).rule(), Verdict::NODE_DRAINING);
  EXPECT_EQ(response.nodes(2).rule(), Verdict::NO_ROOM);
  EXPECT_FALSE(response.nodes(2).message().empty());
}

TEST_F(ExplainTest, WithoutAPlanEveryNodeSaysWhatIsWaitedFor) {
  task_.plan.reset();
  task_.waiting = "1 of 3 nodes joined";
  task_.status.clear_replicas();
  task_.replicas = 2;

  const auto response = Explain();

  EXPECT_THAT(Names(response), ElementsAre("nodes/n1", "nodes/n2", "nodes/n3"));
  for (const Verdict& verdict : response.nodes()) {
    EXPECT_EQ(verdict.outcome(), Verdict::REFUSED);
    EXPECT_EQ(verdict.rule(), Verdict::NO_PLAN);
    EXPECT_THAT(verdict.message(), HasSubstr("1 of 3 nodes joined"));
  }
  EXPECT_EQ(response.replicas_wanted(), 2);
}

TEST_F(ExplainTest, PlanThatCannotBeMadeIsTheReason) {
  shards_->front().size_bytes = UINT64_MAX;

  const auto response = Explain();

  for (const Verdict& verdict : response.nodes()) {
    EXPECT_EQ(verdict.rule(), Verdict::NO_PLAN);
    EXPECT_THAT(verdict.message(), HasSubstr("no plan can be made: the shards add up to"));
  }
}

TEST_F(ExplainTest, OnlyTheNodesAskedForAreThere) {
  task_.members = {task_.members[2]};

  EXPECT_THAT(Names(Explain()), ElementsAre("nodes/n3"));
}

TEST_F(ExplainTest, ReplicasWantedFollowsThePolicy) {
  PlanInput& input = task_.plan->input;
  input.policy = PlacementPolicy::kFull;
  EXPECT_EQ(Explain().replicas_wanted(), 3);

  input.policy = PlacementPolicy::kDeclared;
  task_.replicas = 2;
  EXPECT_EQ(Explain().replicas_wanted(), 2);
  input.nodes[0].claim = {PlanClaim::Kind::kShards, {ShardIndex(0)}, {}};
  EXPECT_EQ(Explain().replicas_wanted(), 1);

  input.policy = PlacementPolicy::kRanked;
  shards_->front().rank = 4;
  input.nodes[0].claim = {PlanClaim::Kind::kRanks, {}, {4}};
  input.nodes[1].claim = {PlanClaim::Kind::kRanks, {}, {4, 5}};
  input.nodes[2].claim = {PlanClaim::Kind::kRanks, {}, {6}};
  EXPECT_EQ(Explain().replicas_wanted(), 2);
}

}  // namespace
}  // namespace muster
