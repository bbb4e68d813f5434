#include "client/sdk/drain_wait.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/fake_channel.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kGetDrained[] = "/muster.v1.NodeService/GetNode";
constexpr char kWatchDrain[] = "/muster.v1.EventService/WatchEvents";

// A node whose state the test sets, and a stream of its events that the test plays.
class DrainWaitTest : public testing::Test {
 protected:
  using Send = FakeChannel::Send<v1::WatchEventsResponse>;

  DrainWaitTest() {
    node_.set_name("nodes/n1");
    SetDrain(v1::Drain::DRAINING, 2);
    fake_.OnUnary<v1::GetNodeRequest, v1::GetNodeResponse>(
        kGetDrained, [this](const auto& request, auto& response, const CallOptions&) {
          EXPECT_EQ(request.name(), "nodes/n1");
          *response.mutable_node() = node_;
          response.set_revision(revision_);
          return absl::OkStatus();
        });
    fake_.OnStream<v1::WatchEventsRequest, v1::WatchEventsResponse>(
        kWatchDrain,
        [this](const auto& request, const Send& send, const CallOptions&) -> absl::Status {
          starts_.push_back(request.start_revision());
          EXPECT_EQ(request.filter().node(), "nodes/n1");
          return starts_.size() > plays_.size() ? absl::UnavailableError("no server")
                                                : plays_[starts_.size() - 1](send);
        });
    options_.node = "nodes/n1";
    options_.retry.timeout = absl::Minutes(2);
    options_.on_state = [this](const v1::Node& node) {
      shards_left_.push_back(node.drain().shards_left());
    };
  }

  void SetDrain(v1::Drain::State state, uint32_t shards_left) {
    node_.mutable_drain()->set_state(state);
    node_.mutable_drain()->set_shards_left(shards_left);
  }

  // The node's state is another one, and the watch says that something happened.
  bool Happen(const Send& send, v1::Drain::State state, uint32_t shards_left) {
    SetDrain(state, shards_left);
    ++revision_;
    v1::WatchEventsResponse message;
    message.set_revision(revision_);
    message.set_complete(true);
    for (uint32_t i = 0; i < 3; ++i) {
      message.add_events()->set_revision(revision_);
      message.mutable_events(static_cast<int>(i))->set_sequence(i);
    }
    return send(message);
  }

  DrainWaitResult Wait() { return WaitUntilDrained(client_, clock_, *random_, options_); }

  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
  DrainWaitOptions options_;
  v1::Node node_;
  uint64_t revision_ = 10;
  std::vector<std::function<absl::Status(const Send&)>> plays_;
  std::vector<uint64_t> starts_;
  std::vector<uint32_t> shards_left_;
};

TEST_F(DrainWaitTest, NodeThatIsDrainedAlreadyIsNotWatched) {
  SetDrain(v1::Drain::DRAINED, 0);

  MUSTER_EXPECT_OK(Wait().status);
  EXPECT_TRUE(starts_.empty());
}

TEST_F(DrainWaitTest, ReadsTheNodeOnceForTheEventsOfOneRevision) {
  plays_ = {[this](const Send& send) {
    EXPECT_TRUE(Happen(send, v1::Drain::DRAINING, 1));
    EXPECT_FALSE(Happen(send, v1::Drain::DRAINED, 0));
    return absl::OkStatus();
  }};

  const DrainWaitResult result = Wait();

  MUSTER_EXPECT_OK(result.status);
  EXPECT_EQ(result.last.drain().state(), v1::Drain::DRAINED);
  EXPECT_THAT(starts_, ElementsAre(10));
  EXPECT_THAT(shards_left_, ElementsAre(2, 1, 0));
}

TEST_F(DrainWaitTest, OverdueDrainSaysWhatIsInTheWay) {
  plays_ = {[this](const Send& send) {
    node_.mutable_drain()->add_blockers()->set_message("shard 3 needs 12 bytes, n2 has 9 left");
    Happen(send, v1::Drain::OVERDUE, 1);
    return absl::OkStatus();
  }};

  const DrainWaitResult result = Wait();

  EXPECT_THAT(result.status, ErrorIs(absl::StatusCode::kDeadlineExceeded, "DRAIN_OVERDUE"));
  EXPECT_THAT(std::string(result.status.message()), HasSubstr("needs 12 bytes"));
}

TEST_F(DrainWaitTest, CancelledDrainIsNoSuccess) {
  plays_ = {[this](const Send& send) {
    Happen(send, v1::Drain::DRAINING, 1);
    node_.clear_drain();
    ++revision_;
    v1::WatchEventsResponse message;
    message.add_events()->set_revision(revision_);
    send(message);
    return absl::OkStatus();
  }};

  EXPECT_THAT(Wait().status, ErrorIs(absl::StatusCode::kFailedPrecondition, "NOT_DRAINING"));
}

TEST_F(DrainWaitTest, LostPlaceInTheLogIsMadeUpForByReadingTheNode) {
  plays_ = {[this](const Send&) {
    SetDrain(v1::Drain::DRAINED, 0);
    return MakeError(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED", "too old");
  }};

  MUSTER_EXPECT_OK(Wait().status);
}

TEST_F(DrainWaitTest, TimeoutShowsTheBlockersOfItsEnd) {
  plays_ = {[this](const Send& send) {
    Happen(send, v1::Drain::DRAINING, 1);
    node_.mutable_drain()->add_blockers()->set_message("no room elsewhere");
    return absl::UnavailableError("connection reset");
  }};

  const DrainWaitResult result = Wait();

  EXPECT_THAT(result.status, ErrorIs(absl::StatusCode::kDeadlineExceeded, "WAIT_TIMED_OUT"));
  EXPECT_THAT(std::string(result.status.message()), HasSubstr("no room elsewhere"));
}

TEST_F(DrainWaitTest, TimeoutWithoutAnyNewsIsNoFaultOfTheServer) {
  options_.retry.timeout = absl::Seconds(1);
  plays_ = {[this](const Send&) {
    clock_.Advance(absl::Seconds(1));
    return MakeError(absl::StatusCode::kDeadlineExceeded, "SERVER_TIMED_OUT", "no answer in time");
  }};

  const DrainWaitResult result = Wait();

  EXPECT_THAT(result.status, ErrorIs(absl::StatusCode::kDeadlineExceeded, "WAIT_TIMED_OUT"));
  EXPECT_THAT(std::string(result.status.message()), HasSubstr("its drain stays on"));
}

TEST_F(DrainWaitTest, TimeoutIsOneAlsoWhileTheServerIsAway) {
  plays_ = {[this](const Send&) {
    fake_.OnUnary<v1::GetNodeRequest, v1::GetNodeResponse>(
        kGetDrained,
        [](const auto&, auto&, const CallOptions&) { return absl::UnavailableError("no server"); });
    return absl::UnavailableError("connection reset");
  }};

  const DrainWaitResult result = Wait();

  EXPECT_THAT(result.status, ErrorIs(absl::StatusCode::kDeadlineExceeded, "WAIT_TIMED_OUT"));
  EXPECT_EQ(result.last.drain().shards_left(), 2);
}

TEST_F(DrainWaitTest, NodeThatIsRemovedEndsTheWait) {
  fake_.OnUnary<v1::GetNodeRequest, v1::GetNodeResponse>(
      kGetDrained, [](const auto&, auto&, const CallOptions&) {
        return MakeError(absl::StatusCode::kNotFound, "NODE_UNKNOWN", "no node n1");
      });

  EXPECT_THAT(Wait().status, ErrorIs(absl::StatusCode::kNotFound, "NODE_UNKNOWN"));
}

}  // namespace
}  // namespace muster
