#include "client/agent/expected_shards.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/fake_channel.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::ElementsAre;

// A model version of four shards; shard 3 has rank 1, the others rank 0.
class ExpectedShardsTest : public testing::Test {
 protected:
  ExpectedShardsTest() {
    options_.node.set_name("nodes/n1");
    options_.memberships.push_back({"assemblies/demo", {}, std::nullopt});
    assembly_.set_name("assemblies/demo");
    assembly_.set_model_version("models/m/versions/v");
    assembly_.set_policy(v1::Assembly::BALANCED);
    fake_.OnUnary<v1::ListShardsRequest, v1::ListShardsResponse>(
        "/muster.v1.ModelService/ListShards", [](const auto&, auto& response, const CallOptions&) {
          for (uint32_t i = 0; i < 4; ++i) {
            v1::Shard& shard = *response.add_shards();
            shard.set_index(i);
            shard.set_rank(i / 3);
          }
          return absl::OkStatus();
        });
    fake_.OnUnary<v1::GetAssemblyRequest, v1::GetAssemblyResponse>(
        "/muster.v1.AssemblyService/GetAssembly",
        [this](const auto&, auto& response, const CallOptions&) {
          *response.mutable_assembly() = assembly_;
          return assembly_status_;
        });
    fake_.OnUnary<v1::GetNodeRequest, v1::GetNodeResponse>(
        "/muster.v1.NodeService/GetNode", [this](const auto&, auto& response, const CallOptions&) {
          response.mutable_node()->set_epoch(17);
          return node_status_;
        });
    fake_.OnStream<v1::WatchAssignmentsRequest, v1::WatchAssignmentsResponse>(
        "/muster.v1.AssemblyService/WatchAssignments",
        [this](const auto& request, const auto& send, const CallOptions&) {
          EXPECT_EQ(request.epoch(), 17u);
          for (size_t i = 0; i <= assigned_.size(); ++i) {
            v1::WatchAssignmentsResponse message;
            message.set_snapshot(true);
            if (i < assigned_.size()) *message.add_assigned() = assigned_[i];
            message.set_complete(i == assigned_.size());
            if (!send(message)) return absl::OkStatus();
          }
          return absl::UnavailableError("the reader should have left");
        });
  }

  v1::Claim& claim() { return options_.memberships[0].claim; }

  std::vector<uint32_t> Expect(bool at_most) {
    const auto expected = ExpectShards(client_, options_, {});
    EXPECT_THAT(expected, IsOk());
    if (!expected.ok()) return {};
    EXPECT_EQ(expected->at_most, at_most);
    std::vector<uint32_t> indices;
    for (const v1::Shard& shard : expected->shards) indices.push_back(shard.index());
    return indices;
  }

  AgentOptions options_;
  v1::Assembly assembly_;
  absl::Status assembly_status_;
  absl::Status node_status_ = MakeError(absl::StatusCode::kNotFound, "NODE_UNKNOWN", "no node");
  std::vector<v1::AssignedShard> assigned_;
  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
};

TEST_F(ExpectedShardsTest, ServersChoiceIsBoundedByTheModel) {
  claim().set_kind(v1::Claim::ANY);
  EXPECT_THAT(Expect(/*at_most=*/true), ElementsAre(0, 1, 2, 3));
}

TEST_F(ExpectedShardsTest, ClaimDecidesWhereThePolicySaysSo) {
  claim().set_kind(v1::Claim::ANY);
  assembly_.set_policy(v1::Assembly::FULL);
  EXPECT_THAT(Expect(/*at_most=*/false), ElementsAre(0, 1, 2, 3));

  assembly_.set_policy(v1::Assembly::DECLARED);
  claim().set_kind(v1::Claim::SHARDS);
  claim().add_shards(2);
  claim().add_shards(0);
  EXPECT_THAT(Expect(/*at_most=*/false), ElementsAre(0, 2));

  assembly_.set_policy(v1::Assembly::RANKED);
  claim().set_kind(v1::Claim::RANKS);
  claim().add_ranks(1);
  EXPECT_THAT(Expect(/*at_most=*/false), ElementsAre(3));
}

// As the server takes it: under both policies that go by claims, each kind of claim counts.
TEST_F(ExpectedShardsTest, EveryKindOfClaimDecidesWhereClaimsDo) {
  assembly_.set_policy(v1::Assembly::RANKED);
  claim().set_kind(v1::Claim::ALL);
  EXPECT_THAT(Expect(/*at_most=*/false), ElementsAre(0, 1, 2, 3));

  assembly_.set_policy(v1::Assembly::DECLARED);
  claim().set_kind(v1::Claim::RANKS);
  claim().add_ranks(1);
  EXPECT_THAT(Expect(/*at_most=*/false), ElementsAre(3));

  assembly_.set_policy(v1::Assembly::CONTIGUOUS);
  EXPECT_THAT(Expect(/*at_most=*/true), ElementsAre(0, 1, 2, 3));
}

TEST_F(ExpectedShardsTest, PresentAssignmentsOfAllAssembliesCount) {
  node_status_ = absl::OkStatus();
  claim().set_kind(v1::Claim::ANY);
  for (const uint32_t index : {1, 2}) {
    v1::AssignedShard& assigned = assigned_.emplace_back();
    assigned.set_assembly(index == 1 ? "assemblies/demo" : "assemblies/other");
    assigned.mutable_shard()->set_index(index);
  }
  EXPECT_THAT(Expect(/*at_most=*/false), ElementsAre(1, 2));

  assigned_.erase(assigned_.begin());
  EXPECT_THAT(Expect(/*at_most=*/true), ElementsAre(0, 1, 2, 3, 2));
}

TEST_F(ExpectedShardsTest, AssemblyThatWouldBeCreatedCountsAsDescribed) {
  assembly_status_ = MakeError(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN", "no assembly");
  claim().set_kind(v1::Claim::ANY);
  EXPECT_THAT(ExpectShards(client_, options_, {}),
              ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));

  options_.memberships[0].create = assembly_;
  options_.memberships[0].create->set_policy(v1::Assembly::FULL);
  EXPECT_THAT(Expect(/*at_most=*/false), ElementsAre(0, 1, 2, 3));
}

TEST_F(ExpectedShardsTest, LostServerIsAnError) {
  node_status_ = absl::UnavailableError("down");
  EXPECT_THAT(ExpectShards(client_, options_, {}), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace muster
