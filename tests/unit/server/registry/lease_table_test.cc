#include "server/registry/lease_table.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using absl::Milliseconds;
using absl::Seconds;
using absl::StatusCode;

// One node with a lease of ten seconds; ticks come as often as the server's.
class LeaseTableTest : public testing::Test {
 protected:
  LeaseTableTest() {
    table_.Tick(Seconds(0));
    table_.Apply(node_);
  }

  // Ticks up to `now` and returns how many leases the last one found expired.
  size_t TickTo(absl::Duration now) {
    size_t expired = 0;
    while (now_ < now) {
      now_ += Milliseconds(100);
      expired = table_.Tick(now_).size();
    }
    return expired;
  }
  static muster::v1::HeartbeatRequest Heartbeat(uint64_t epoch) {
    muster::v1::HeartbeatRequest request;
    request.set_name("nodes/n1");
    request.set_epoch(epoch);
    return request;
  }

  LeaseTable table_{LeaseTable::Options{}};
  NodeEvent node_{NodeUid(1), "nodes/n1", Epoch(5), 10'000'000, false, false};
  absl::Duration now_;
};

TEST_F(LeaseTableTest, LeaseExpiresAfterItsTtl) {
  EXPECT_EQ(TickTo(Seconds(10)), 0u);
  EXPECT_FALSE(table_.HasExpired(NodeUid(1), Epoch(5)));
  EXPECT_EQ(TickTo(Milliseconds(10'100)), 1u);
  EXPECT_TRUE(table_.HasExpired(NodeUid(1), Epoch(5)));
  EXPECT_FALSE(table_.HasExpired(NodeUid(1), Epoch(4)));
  EXPECT_FALSE(table_.HasExpired(NodeUid(2), Epoch(5)));
}

TEST_F(LeaseTableTest, HeartbeatRenewsTheLease) {
  TickTo(Seconds(9));
  const auto result = table_.Heartbeat(Heartbeat(5));
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->lease_ttl_us, 10'000'000);
  EXPECT_LT(result->heartbeat_interval_us * 3, 10'000'001);
  EXPECT_FALSE(result->revive.has_value());
  EXPECT_EQ(TickTo(Seconds(19)), 0u);
  EXPECT_EQ(TickTo(Milliseconds(19'100)), 1u);
}

TEST_F(LeaseTableTest, HeartbeatOfAnotherEpochIsFencedAndRenewsNothing) {
  TickTo(Seconds(9));
  EXPECT_THAT(table_.Heartbeat(Heartbeat(4)), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
  EXPECT_EQ(TickTo(Milliseconds(10'100)), 1u);
}

TEST_F(LeaseTableTest, HeartbeatOfAnUnknownNodeOrWithoutEpochIsRefused) {
  muster::v1::HeartbeatRequest request = Heartbeat(5);
  request.set_name("nodes/n2");
  EXPECT_THAT(table_.Heartbeat(request), ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
  request.clear_epoch();
  EXPECT_THAT(table_.Heartbeat(request), ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
}

TEST_F(LeaseTableTest, HeartbeatWithTooMuchProgressIsRefused) {
  muster::v1::HeartbeatRequest request = Heartbeat(5);
  for (int i = 0; i < 1'000; ++i) request.add_progress();
  MUSTER_EXPECT_OK(table_.Heartbeat(request));
  request.add_progress();
  EXPECT_THAT(table_.Heartbeat(request), ErrorIs(StatusCode::kInvalidArgument, "INVALID_FIELD"));
}

TEST_F(LeaseTableTest, StallGivesEveryLeaseItsFullTtl) {
  TickTo(Seconds(9));
  now_ += Seconds(60);
  EXPECT_TRUE(table_.Tick(now_).empty());
  const absl::Duration after_stall = now_;
  EXPECT_EQ(TickTo(after_stall + Seconds(10)), 0u);
  EXPECT_EQ(TickTo(after_stall + Milliseconds(10'100)), 1u);
}

TEST_F(LeaseTableTest, TicksOneSecondApartAreNoStall) {
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(table_.Tick(now_ += Seconds(1)).empty());
  EXPECT_EQ(table_.Tick(now_ += Seconds(1)).size(), 1u);
}

TEST_F(LeaseTableTest, HeartbeatOfALostNodeAsksForItsRevival) {
  TickTo(Seconds(11));
  node_.lost = true;
  table_.Apply(node_);
  EXPECT_EQ(TickTo(Seconds(12)), 0u) << "a lost node expires once only";
  const auto result = table_.Heartbeat(Heartbeat(5));
  ASSERT_THAT(result, IsOk());
  ASSERT_TRUE(result->revive.has_value());
  EXPECT_EQ(result->revive->node, NodeUid(1));
  EXPECT_EQ(result->revive->epoch, Epoch(5));
  EXPECT_FALSE(table_.HasExpired(NodeUid(1), Epoch(5)));
}

TEST_F(LeaseTableTest, RegistrationAnewHasAFullLeaseAndNoProgress) {
  muster::v1::HeartbeatRequest request = Heartbeat(5);
  auto* progress = request.add_progress();
  progress->set_assembly("assemblies/demo");
  progress->set_shard(3);
  progress->set_done_bytes(70);
  MUSTER_EXPECT_OK(table_.Heartbeat(request));
  EXPECT_EQ(table_.ProgressOf(NodeUid(1), "assemblies/demo", 3), 70u);
  EXPECT_EQ(table_.ProgressOf(NodeUid(1), "assemblies/demo"), 70u);
  EXPECT_EQ(table_.ProgressOf(NodeUid(1), "assemblies/other"), 0u);
  TickTo(Seconds(9));
  node_.epoch = Epoch(6);
  table_.Apply(node_);
  EXPECT_EQ(table_.ProgressOf(NodeUid(1), "assemblies/demo"), 0u);
  EXPECT_EQ(TickTo(Seconds(19)), 0u);
  EXPECT_THAT(table_.Heartbeat(Heartbeat(5)), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
}

TEST_F(LeaseTableTest, RemovedNodeIsUnknown) {
  node_.removed = true;
  table_.Apply(node_);
  EXPECT_THAT(table_.Heartbeat(Heartbeat(5)), ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
  EXPECT_EQ(TickTo(Seconds(20)), 0u);
}

}  // namespace
}  // namespace muster
