#include "server/registry/lease_table.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using absl::Milliseconds;
using absl::Seconds;
using absl::StatusCode;
using testing::ElementsAre;
using testing::IsEmpty;

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
      expired = table_.Tick(now_).expired.size();
    }
    return expired;
  }
  static muster::v1::HeartbeatRequest Heartbeat(uint64_t epoch) {
    muster::v1::HeartbeatRequest request;
    request.set_name("nodes/n1");
    request.set_epoch(epoch);
    return request;
  }

  static NodeChange NodeOf(uint64_t number, const std::string& zone) {
    NodeChange change;
    change.uid = NodeUid(number);
    change.name = absl::StrCat("nodes/n", number);
    change.epoch = Epoch(number + 4);
    change.lease_ttl_us = 10'000'000;
    change.zone = zone;
    return change;
  }
  // Says of the node, as a committed transaction does, that it is lost.
  void Lose(NodeChange& node) {
    node.lost = true;
    table_.Apply(node);
  }
  // Ticks up to `now` and returns the nodes that some tick on the way released.
  std::vector<uint64_t> ReleasedUntil(absl::Duration now) {
    std::set<uint64_t> released;
    while (now_ < now) {
      now_ += Milliseconds(100);
      for (const auto& lease : table_.Tick(now_).released) released.insert(lease.node.value);
    }
    return {released.begin(), released.end()};
  }
  // Nodes 2 to `last` of zone "z", all lost at the present time.
  std::vector<NodeChange> LoseZone(uint64_t last, uint64_t live) {
    std::vector<NodeChange> nodes;
    for (uint64_t i = 2; i <= last + live; ++i) nodes.push_back(NodeOf(i, "z"));
    for (NodeChange& node : nodes) table_.Apply(node);
    TickTo(now_ + Seconds(11));
    for (uint64_t i = 0; i + live < nodes.size(); ++i) Lose(nodes[i]);
    return nodes;
  }

  LeaseTable table_{LeaseTable::Options{}};
  NodeChange node_ = NodeOf(1, "");
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

TEST_F(LeaseTableTest, TermIsWhatTheLeaseHasLeftAndCountsItsRenewals) {
  TickTo(Seconds(4));
  EXPECT_EQ(table_.TermOf(NodeUid(1)).left, Seconds(6));
  EXPECT_EQ(table_.TermOf(NodeUid(1)).renewals, 0u);
  ASSERT_THAT(table_.Heartbeat(Heartbeat(5)), IsOk());
  EXPECT_EQ(table_.TermOf(NodeUid(1)).left, Seconds(10));
  EXPECT_EQ(table_.TermOf(NodeUid(1)).renewals, 1u);
  // A stall of the server extends the lease, and is no sign of life.
  table_.Tick(Seconds(9));
  EXPECT_EQ(table_.TermOf(NodeUid(1)).left, Seconds(10));
  EXPECT_EQ(table_.TermOf(NodeUid(1)).renewals, 1u);
  EXPECT_EQ(table_.TermOf(NodeUid(7)).left, absl::ZeroDuration());
}

TEST_F(LeaseTableTest, HeartbeatOfAnotherEpochIsFencedAndRenewsNothing) {
  TickTo(Seconds(9));
  EXPECT_THAT(table_.Heartbeat(Heartbeat(4)), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
  EXPECT_EQ(TickTo(Milliseconds(10'100)), 1u);
}

// As after an older copy of the store was put back: nobody registered later.
TEST_F(LeaseTableTest, HeartbeatOfAnEpochThatWasNeverGivenOutIsToldToRegister) {
  TickTo(Seconds(9));
  EXPECT_THAT(table_.Heartbeat(Heartbeat(6)), ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
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
  EXPECT_TRUE(table_.Tick(now_).expired.empty());
  const absl::Duration after_stall = now_;
  EXPECT_EQ(TickTo(after_stall + Seconds(10)), 0u);
  EXPECT_EQ(TickTo(after_stall + Milliseconds(10'100)), 1u);
}

TEST_F(LeaseTableTest, LateCallsGiveEveryLeaseItsFullTtl) {
  TickTo(Seconds(9));
  // Its heartbeat may be among those that wait.
  for (int i = 0; i < 30; ++i) {
    table_.NoteLateCalls();
    EXPECT_TRUE(table_.Tick(now_ += Seconds(1)).expired.empty());
  }
  const absl::Duration last = now_;
  EXPECT_EQ(TickTo(last + Seconds(10)), 0u);
  EXPECT_EQ(TickTo(last + Milliseconds(10'100)), 1u);
}

TEST_F(LeaseTableTest, TicksOneSecondApartAreNoStall) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(table_.Tick(now_ += Seconds(1)).expired.empty());
  }
  EXPECT_EQ(table_.Tick(now_ += Seconds(1)).expired.size(), 1u);
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

TEST_F(LeaseTableTest, RevivalIsAskedForOnceALoss) {
  for (int loss = 0; loss < 2; ++loss) {
    node_.lost = true;
    table_.Apply(node_);
    EXPECT_TRUE(table_.Heartbeat(Heartbeat(5))->revive.has_value());
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(table_.Heartbeat(Heartbeat(5))->revive.has_value());
    node_.lost = false;
    table_.Apply(node_);
  }
}

TEST_F(LeaseTableTest, LongNameInProgressIsRefused) {
  muster::v1::HeartbeatRequest request = Heartbeat(5);
  request.add_progress()->set_assembly("assemblies/" + std::string(63, 'a'));
  EXPECT_THAT(table_.Heartbeat(request), IsOk());
  request.add_progress()->set_assembly(std::string(4'000, 'a'));
  EXPECT_THAT(table_.Heartbeat(request),
              ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_FIELD"));
}

TEST_F(LeaseTableTest, ProgressCountsNoMoreThanIsFetched) {
  muster::v1::HeartbeatRequest request = Heartbeat(5);
  for (uint32_t shard = 0; shard < 3; ++shard) {
    auto* progress = request.add_progress();
    progress->set_assembly("assemblies/demo");
    progress->set_shard(shard);
    progress->set_done_bytes(70);
  }
  MUSTER_EXPECT_OK(table_.Heartbeat(request));

  // Shard 0 is READY since, and shard 1 has 50 bytes.
  const auto bound = [](uint32_t shard) { return uint64_t{shard == 0 ? 0u : shard * 50u}; };

  EXPECT_EQ(table_.ProgressOf(NodeUid(1), "assemblies/demo", bound), 50u + 70u);
}

TEST_F(LeaseTableTest, RegistrationAnewHasAFullLeaseAndNoProgress) {
  muster::v1::HeartbeatRequest request = Heartbeat(5);
  auto* progress = request.add_progress();
  progress->set_assembly("assemblies/demo");
  progress->set_shard(3);
  progress->set_done_bytes(70);
  MUSTER_EXPECT_OK(table_.Heartbeat(request));
  EXPECT_EQ(table_.ProgressOf(NodeUid(1), "assemblies/demo", 3), 70u);
  const auto any = [](uint32_t) { return uint64_t{1'000}; };
  EXPECT_EQ(table_.ProgressOf(NodeUid(1), "assemblies/demo", any), 70u);
  EXPECT_EQ(table_.ProgressOf(NodeUid(1), "assemblies/other", any), 0u);
  TickTo(Seconds(9));
  node_.epoch = Epoch(6);
  table_.Apply(node_);
  EXPECT_EQ(table_.ProgressOf(NodeUid(1), "assemblies/demo", any), 0u);
  EXPECT_EQ(TickTo(Seconds(19)), 0u);
  EXPECT_THAT(table_.Heartbeat(Heartbeat(5)), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
}

TEST_F(LeaseTableTest, RemovedNodeIsUnknown) {
  node_.removed = true;
  table_.Apply(node_);
  EXPECT_THAT(table_.Heartbeat(Heartbeat(5)), ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
  EXPECT_EQ(TickTo(Seconds(20)), 0u);
}

TEST_F(LeaseTableTest, LostNodeIsReleasedAfterTheGrace) {
  TickTo(Seconds(11));
  Lose(node_);
  EXPECT_THAT(ReleasedUntil(Seconds(40)), IsEmpty());
  EXPECT_THAT(ReleasedUntil(Seconds(42)), ElementsAre(1));
  node_.released = true;
  table_.Apply(node_);
  EXPECT_THAT(ReleasedUntil(Seconds(60)), IsEmpty());
}

TEST_F(LeaseTableTest, NodeThatReturnsWithinTheGraceIsNotReleased) {
  TickTo(Seconds(11));
  Lose(node_);
  TickTo(Seconds(39));
  ASSERT_THAT(table_.Heartbeat(Heartbeat(5)), IsOk());
  // Its revival is on its way to the store.
  EXPECT_THAT(ReleasedUntil(Seconds(48)), IsEmpty());
  node_.lost = false;
  table_.Apply(node_);
  EXPECT_THAT(ReleasedUntil(Seconds(100)), IsEmpty());
}

TEST_F(LeaseTableTest, StallBeginsTheGraceAgain) {
  TickTo(Seconds(11));
  Lose(node_);
  TickTo(Seconds(40));
  now_ += Seconds(100);
  const absl::Duration after_stall = now_;
  EXPECT_THAT(table_.Tick(now_).released, IsEmpty());
  EXPECT_THAT(ReleasedUntil(after_stall + Seconds(39)), IsEmpty());
  EXPECT_THAT(ReleasedUntil(after_stall + Seconds(41)), ElementsAre(1));
}

// Three nodes that a server finds when it starts.
class LeaseGuardTest : public LeaseTableTest {
 protected:
  LeaseGuardTest() {
    for (uint64_t i = 1; i <= 3; ++i) started_.Apply(NodeOf(i, ""));
  }
  bool Beat(uint64_t number) {
    muster::v1::HeartbeatRequest request = Heartbeat(number + 4);
    request.set_name(absl::StrCat("nodes/n", number));
    return started_.Heartbeat(request).ok();
  }

  LeaseTable started_{LeaseTable::Options{}};
};

TEST_F(LeaseGuardTest, GuardEndsOnceMostNodesWereHeardOf) {
  EXPECT_TRUE(started_.IsGuarded());
  EXPECT_FALSE(started_.Tick(Seconds(100)).guard_ended);
  ASSERT_TRUE(Beat(1));
  EXPECT_FALSE(started_.Tick(Milliseconds(100'100)).guard_ended);
  ASSERT_TRUE(Beat(2));
  EXPECT_TRUE(started_.IsGuarded());
  EXPECT_TRUE(started_.Tick(Milliseconds(100'200)).guard_ended);
  EXPECT_FALSE(started_.IsGuarded());
  EXPECT_TRUE(started_.Tick(Milliseconds(100'300)).guard_ended) << "until somebody has noted it";
  started_.NoteGuardEnd();
  EXPECT_FALSE(started_.Tick(Milliseconds(100'400)).guard_ended);
}

TEST_F(LeaseGuardTest, GuardEndsAfterItsTimeAndBeginsAnewWithAStall) {
  for (int second = 100; second < 110; ++second) {
    EXPECT_FALSE(started_.Tick(Seconds(second)).guard_ended);
  }
  EXPECT_TRUE(started_.Tick(Seconds(110)).guard_ended);
  started_.NoteGuardEnd();
  EXPECT_FALSE(started_.Tick(Seconds(120)).guard_ended);
  EXPECT_TRUE(started_.IsGuarded());
}

TEST_F(LeaseGuardTest, GuardOfAServerWithoutNodesEndsAtOnce) {
  LeaseTable empty{LeaseTable::Options{}};
  EXPECT_TRUE(empty.Tick(Seconds(1)).guard_ended);
}

TEST_F(LeaseTableTest, BrakeHoldsBackAZoneThatIsLostAtOnce) {
  const std::vector<NodeChange> nodes = LoseZone(6, 4);
  EXPECT_THAT(ReleasedUntil(Seconds(100)), IsEmpty());
  EXPECT_EQ(table_.Braked(std::nullopt).size(), 5u);
  EXPECT_EQ(table_.Braked("z").size(), 5u);
  EXPECT_TRUE(table_.IsBraked(nodes.front().uid));
  EXPECT_FALSE(table_.IsBraked(nodes.back().uid)) << "it lives";
  EXPECT_THAT(table_.Braked("other"), IsEmpty());
}

TEST_F(LeaseTableTest, NodesThatWereReleasedLongAgoDoNotLoosenTheBrake) {
  for (uint64_t i = 100; i < 130; ++i) {
    NodeChange gone = NodeOf(i, "z");
    gone.lost = gone.released = true;
    table_.Apply(gone);
  }

  LoseZone(20, 5);

  EXPECT_THAT(ReleasedUntil(now_ + Seconds(120)), IsEmpty());
  EXPECT_EQ(table_.Braked("z").size(), 19u) << "of 24 that were there";
}

TEST_F(LeaseTableTest, BrakeLiftsWhenEnoughNodesReturn) {
  std::vector<NodeChange> nodes = LoseZone(6, 4);
  TickTo(Seconds(60));
  nodes[0].lost = false;
  table_.Apply(nodes[0]);
  EXPECT_THAT(table_.Braked(std::nullopt), IsEmpty());
  EXPECT_THAT(ReleasedUntil(Seconds(61)), ElementsAre(3, 4, 5, 6));
}

TEST_F(LeaseTableTest, FewLostNodesOrASmallShareOfAZoneAreNotHeldBack) {
  LoseZone(5, 0);
  EXPECT_THAT(ReleasedUntil(Seconds(60)), ElementsAre(2, 3, 4, 5));
}

TEST_F(LeaseTableTest, SmallShareOfALargeZoneIsNotHeldBack) {
  LoseZone(6, 5);
  EXPECT_THAT(ReleasedUntil(Seconds(60)), ElementsAre(2, 3, 4, 5, 6));
}

}  // namespace
}  // namespace muster
