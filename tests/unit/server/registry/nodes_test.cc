// Registration, fencing by epoch, and the end of nodes.

#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;

class NodesTest : public testing::Test {
 protected:
  NodesTest() {
    fixture_.Publish(kVersion, 2);
    EXPECT_THAT(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)), IsOk());
    epoch_ = fixture_.Register("nodes/n1");
  }
  v1::Node Shown(const std::string& name) {
    const auto node = std::as_const(fixture_.registry().nodes()).Find(name);
    EXPECT_THAT(node, IsOk());
    return node.ok() ? fixture_.registry().nodes().Describe(**node) : v1::Node();
  }

  RegistryFixture fixture_;
  uint64_t epoch_;
};

TEST_F(NodesTest, RegistrationGivesAnEpochOfItsRevisionAndTheDefaultLease) {
  const auto reply = fixture_.Ask<v1::RegisterNodeResponse>(RegisterNode("nodes/n2"));
  EXPECT_EQ(reply.epoch(), reply.revision());
  EXPECT_EQ(reply.node().lease_ttl().seconds(), 10);
  EXPECT_EQ(reply.node().state(), v1::Node::LIVE);
  EXPECT_GT(reply.heartbeat_interval().seconds(), 0);
}

TEST_F(NodesTest, RegistrationAnewKeepsTheUidAndFencesTheOldEpoch) {
  const std::string uid = Shown("nodes/n1").uid();
  const uint64_t second = fixture_.Register("nodes/n1");
  EXPECT_GT(second, epoch_);
  EXPECT_EQ(Shown("nodes/n1").uid(), uid);
  const Revision before = fixture_.revision();
  EXPECT_THAT(fixture_.Do(Join(kAssembly, "nodes/n1", epoch_)),
              ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
  v1::DeregisterNodeRequest deregister = DeregisterNode("nodes/n1");
  deregister.set_epoch(epoch_);
  EXPECT_THAT(fixture_.Do(deregister), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
  EXPECT_EQ(fixture_.revision(), before);
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n1", second)));
}

TEST_F(NodesTest, EpochThatWasNeverGivenOutIsUnknownAndNotFenced) {
  const Revision before = fixture_.revision();
  EXPECT_THAT(fixture_.Do(Join(kAssembly, "nodes/n1", epoch_ + 1'000)),
              ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
  EXPECT_EQ(fixture_.revision(), before);
}

TEST_F(NodesTest, RegistrationKeepsMembershipAndClaim) {
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n1", epoch_, {1})));
  fixture_.Register("nodes/n1");
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/n1").claim().shards(0), 1u);
}

TEST_F(NodesTest, DeregisteredNodeLeavesItsAssembliesAndItsRows) {
  const size_t rows = RowsOf(fixture_.store()).size();
  const uint64_t epoch = fixture_.Register("nodes/n2");
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n2", epoch)));
  fixture_.Plan(kAssembly, {{"nodes/n2", {0, 1}}});
  MUSTER_EXPECT_OK(fixture_.Do(DeregisterNode("nodes/n2")));
  EXPECT_EQ(fixture_.Shown(kAssembly).nodes_joined(), 0u);
  EXPECT_EQ(RowsOf(fixture_.store()).size(), rows);
  EXPECT_THAT(fixture_.Do(DeregisterNode("nodes/n2")),
              ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
}

// Goal: nodes that died don't stay for ever.
TEST_F(NodesTest, NodeReleasedADayAgoIsForgottenLikeOneThatIsDeregistered) {
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n1", epoch_)));
  fixture_.Register("nodes/n2");
  fixture_.SetLost("nodes/n1", true);
  MUSTER_EXPECT_OK(fixture_.Do(ReleaseNode{fixture_.NodeOf("nodes/n1").uid, Epoch(epoch_)}));
  ASSERT_TRUE(fixture_.NodeOf("nodes/n1").row.released());

  fixture_.TickTo(12 * 3'600 * kSecondUs);
  MUSTER_ASSERT_OK(fixture_.Restart());
  fixture_.TickTo(24 * 3'600 * kSecondUs + kSecondUs - 1);
  EXPECT_EQ(fixture_.registry().nodes().by_name().size(), 2u);
  fixture_.TickTo(24 * 3'600 * kSecondUs + kSecondUs);

  EXPECT_THAT(std::as_const(fixture_.registry().nodes()).Find("nodes/n1"),
              ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
  EXPECT_EQ(fixture_.Shown(kAssembly).nodes_joined(), 0u);
  EXPECT_EQ(fixture_.registry().nodes().by_name().size(), 1u) << "the other one lives";
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(fixture_.registry().nodes().by_name().size(), 1u);
}

TEST_F(NodesTest, NodeThatCameBackIsNotForgotten) {
  fixture_.SetLost("nodes/n1", true);
  const NodeUid uid = fixture_.NodeOf("nodes/n1").uid;
  MUSTER_EXPECT_OK(fixture_.Do(ReleaseNode{uid, Epoch(epoch_)}));
  fixture_.Register("nodes/n1");

  fixture_.TickTo(48 * 3'600 * kSecondUs);

  EXPECT_EQ(fixture_.registry().nodes().by_name().size(), 1u);
  MUSTER_EXPECT_OK(fixture_.Do(ForgetNode{uid, Epoch(epoch_)}));
  EXPECT_EQ(fixture_.registry().nodes().by_name().size(), 1u) << "of an epoch that has passed";
}

TEST_F(NodesTest, NodeMadeAgainHasAnotherUidAndEpoch) {
  const std::string uid = Shown("nodes/n1").uid();
  MUSTER_EXPECT_OK(fixture_.Do(DeregisterNode("nodes/n1")));
  EXPECT_GT(fixture_.Register("nodes/n1"), epoch_);
  EXPECT_NE(Shown("nodes/n1").uid(), uid);
}

TEST_F(NodesTest, ValidateOnlyRegistersAndRemovesNothing) {
  const std::string before = Describe(fixture_.registry());
  v1::RegisterNodeRequest request = RegisterNode("nodes/n9");
  request.set_validate_only(true);
  MUSTER_EXPECT_OK(fixture_.Do(request));
  v1::DeregisterNodeRequest deregister = DeregisterNode("nodes/n1");
  deregister.set_validate_only(true);
  MUSTER_EXPECT_OK(fixture_.Do(deregister));
  EXPECT_EQ(Describe(fixture_.registry()), before);
}

TEST_F(NodesTest, ValidateOnlySaysNothingThatTheCallerMadeUp) {
  v1::RegisterNodeRequest request = RegisterNode("nodes/n9");
  request.set_validate_only(true);
  request.mutable_node()->set_zone("z1");
  request.mutable_node()->set_state(static_cast<v1::Node::State>(99));
  request.mutable_node()->set_epoch(7);
  request.mutable_node()->mutable_drain()->set_state(v1::Drain::DRAINED);

  const auto reply = fixture_.Ask<v1::RegisterNodeResponse>(request);

  EXPECT_EQ(reply.node().zone(), "z1");
  EXPECT_EQ(reply.node().state(), v1::Node::LIVE);
  EXPECT_EQ(reply.node().epoch(), 0);
  EXPECT_FALSE(reply.node().has_drain());
}

TEST_F(NodesTest, BadNameIsRefused) {
  EXPECT_THAT(fixture_.Do(RegisterNode("n1")),
              ErrorIs(StatusCode::kInvalidArgument, "INVALID_NAME"));
}

TEST_F(NodesTest, RenewedLeaseOrPastEpochDoesNotExpire) {
  const auto node = std::as_const(fixture_.registry().nodes()).Find("nodes/n1");
  const Revision before = fixture_.revision();
  MUSTER_EXPECT_OK(fixture_.Do(ExpireLease{(*node)->uid, Epoch(epoch_)}));
  MUSTER_EXPECT_OK(fixture_.Do(ReviveNode{(*node)->uid, Epoch(epoch_)}));
  EXPECT_EQ(fixture_.revision(), before) << "the lease runs, and the node is live";
  fixture_.SetLost("nodes/n1", true);
  EXPECT_EQ(Shown("nodes/n1").state(), v1::Node::LOST);
  MUSTER_EXPECT_OK(fixture_.Do(ReviveNode{(*node)->uid, Epoch(epoch_ - 1)}));
  EXPECT_EQ(Shown("nodes/n1").state(), v1::Node::LOST);
  fixture_.SetLost("nodes/n1", false);
  EXPECT_EQ(Shown("nodes/n1").state(), v1::Node::LIVE);
}

}  // namespace
}  // namespace muster
