#include "client/sdk/follow_events.h"

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

constexpr char kFollow[] = "/muster.v1.EventService/WatchEvents";

v1::WatchEventsResponse Message(uint64_t revision, const std::vector<uint32_t>& sequences,
                                bool complete) {
  v1::WatchEventsResponse message;
  message.set_revision(revision);
  message.set_complete(complete);
  for (const uint32_t sequence : sequences) {
    v1::Event& event = *message.add_events();
    event.set_revision(revision);
    event.set_sequence(sequence);
  }
  return message;
}

v1::WatchEventsResponse Progress(uint64_t revision) {
  v1::WatchEventsResponse message;
  message.set_revision(revision);
  message.set_progress(true);
  return message;
}

// A server that plays one scripted stream after the other; after the last one it can't be reached.
class FollowEventsTest : public testing::Test {
 protected:
  using Send = FakeChannel::Send<v1::WatchEventsResponse>;
  using Position = std::pair<uint64_t, uint32_t>;

  FollowEventsTest() {
    fake_.OnStream<v1::WatchEventsRequest, v1::WatchEventsResponse>(
        kFollow, [this](const auto& request, const Send& send, const CallOptions&) -> absl::Status {
          requests_.push_back(request);
          if (requests_.size() > plays_.size()) return absl::UnavailableError("no server");
          return plays_[requests_.size() - 1](send);
        });
    options_.start_revision = 5;
    options_.retry.timeout = absl::Minutes(2);
  }

  absl::Status Follow() {
    return FollowEvents(client_, clock_, *random_, options_, [this](const v1::Event& event) {
      seen_.emplace_back(event.revision(), event.sequence());
      return seen_.back() != last_wanted_;
    });
  }

  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
  FollowEventsOptions options_;
  std::vector<std::function<absl::Status(const Send&)>> plays_;
  std::vector<v1::WatchEventsRequest> requests_;
  std::vector<Position> seen_;
  Position last_wanted_ = {0, 0};
};

TEST_F(FollowEventsTest, EndsWhenTheCallbackHasEnough) {
  options_.filter.set_node("nodes/n1");
  last_wanted_ = {7, 0};
  plays_ = {[](const Send& send) {
    EXPECT_TRUE(send(Message(6, {0}, true)));
    EXPECT_FALSE(send(Message(7, {0, 1}, true)));
    return absl::OkStatus();
  }};

  MUSTER_EXPECT_OK(Follow());

  EXPECT_THAT(seen_, ElementsAre(Position(6, 0), Position(7, 0)));
  EXPECT_EQ(requests_[0].filter().node(), "nodes/n1");
  EXPECT_EQ(requests_[0].start_revision(), 5);
}

TEST_F(FollowEventsTest, ResumesBehindTheLastWholeRevisionAndRepeatsNothing) {
  last_wanted_ = {9, 0};
  plays_ = {[](const Send& send) {
              send(Message(7, {0}, true));
              send(Message(8, {0, 1}, false));
              return absl::UnavailableError("connection reset");
            },
            [](const Send& send) {
              send(Message(8, {0, 1}, false));
              send(Message(8, {2}, true));
              send(Message(9, {0}, true));
              return absl::OkStatus();
            }};

  MUSTER_EXPECT_OK(Follow());

  ASSERT_EQ(requests_.size(), 2);
  EXPECT_EQ(requests_[1].start_revision(), 7);
  EXPECT_THAT(seen_, ElementsAre(Position(7, 0), Position(8, 0), Position(8, 1), Position(8, 2),
                                 Position(9, 0)));
}

TEST_F(FollowEventsTest, ProgressMovesThePlaceToResumeFrom) {
  last_wanted_ = {41, 0};
  plays_ = {[](const Send& send) {
              send(Progress(40));
              return absl::UnavailableError("connection reset");
            },
            [](const Send& send) {
              send(Message(41, {0}, true));
              return absl::OkStatus();
            }};

  MUSTER_EXPECT_OK(Follow());

  EXPECT_EQ(requests_[1].start_revision(), 40);
}

TEST_F(FollowEventsTest, CompactedRevisionIsReturnedAndNotSkippedOver) {
  plays_ = {[](const Send&) {
    return MakeError(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED", "too old");
  }};

  EXPECT_THAT(Follow(), ErrorIs(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED"));
  EXPECT_EQ(requests_.size(), 1);
}

TEST_F(FollowEventsTest, TimesOutAfterItHasHeardTheServer) {
  plays_ = {[](const Send& send) {
    send(Progress(6));
    return absl::UnavailableError("connection reset");
  }};

  EXPECT_THAT(Follow(), ErrorIs(absl::StatusCode::kDeadlineExceeded, "WAIT_TIMED_OUT"));
}

TEST_F(FollowEventsTest, ServerThatIsNeverReachedIsGivenUp) {
  options_.retry.first_contact_timeout = absl::Seconds(10);

  EXPECT_THAT(Follow(), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace muster
