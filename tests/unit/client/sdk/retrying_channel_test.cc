#include "client/sdk/retrying_channel.h"

#include <vector>

#include "client/sdk/client.h"
#include "gtest/gtest.h"
#include "tests/support/fake_channel.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

constexpr char kAcquireRead[] = "/muster.v1.NodeService/AcquireRead";
constexpr char kGetNode[] = "/muster.v1.NodeService/GetNode";
constexpr char kRegister[] = "/muster.v1.NodeService/RegisterNode";

class RetryingChannelTest : public testing::Test {
 protected:
  // Answers GetNode with `errors` one after the other, then with OK.
  void AnswerWith(std::vector<absl::Status> errors) {
    fake_.OnUnary<v1::GetNodeRequest, v1::GetNodeResponse>(
        kGetNode,
        [this, errors](const auto&, auto& response, const CallOptions& options) -> absl::Status {
          timeouts_.push_back(options.timeout.value_or(absl::InfiniteDuration()));
          const size_t call = timeouts_.size() - 1;
          if (call < errors.size()) return errors[call];
          response.set_revision(7);
          return absl::OkStatus();
        });
  }

  absl::StatusOr<v1::GetNodeResponse> GetNode(const CallOptions& options = {}) {
    return client_.GetNode(v1::GetNodeRequest(), options);
  }

  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  FakeChannel fake_;
  std::vector<absl::Duration> timeouts_;
  Client client_{
      NewRetryingChannel(std::make_unique<ForwardingChannel>(fake_), clock_, *random_, {}),
      *random_};
};

TEST_F(RetryingChannelTest, UnavailableIsTriedAgainAfterAGrowingWait) {
  AnswerWith(
      {absl::UnavailableError("a"), absl::UnavailableError("b"), absl::UnavailableError("c")});

  const auto response = GetNode();

  MUSTER_ASSERT_OK(response);
  EXPECT_EQ(response->revision(), 7);
  EXPECT_EQ(fake_.calls(kGetNode), 4);
  EXPECT_GE(clock_.Monotonic(), absl::Milliseconds(350));
  EXPECT_LE(clock_.Monotonic(), absl::Milliseconds(700));
}

TEST_F(RetryingChannelTest, RetryInfoIsWaitedFor) {
  ErrorDetail detail;
  detail.reason = "QUEUE_FULL";
  detail.retry_delay = absl::Seconds(7);
  AnswerWith({WithDetail(absl::ResourceExhaustedError("full"), detail)});

  MUSTER_EXPECT_OK(GetNode());

  EXPECT_EQ(clock_.Monotonic(), absl::Seconds(7));
}

TEST_F(RetryingChannelTest, ReasonThatTheCallerWaitsForComesBackAtOnce) {
  ErrorDetail detail;
  detail.reason = "NODE_NAME_TAKEN";
  detail.retry_delay = absl::Seconds(7);
  AnswerWith({absl::UnavailableError("a"), WithDetail(absl::AbortedError("taken"), detail)});

  CallOptions options;
  options.returned_reason = "NODE_NAME_TAKEN";
  EXPECT_THAT(GetNode(options), ErrorIs(absl::StatusCode::kAborted, "NODE_NAME_TAKEN"));
  EXPECT_EQ(fake_.calls(kGetNode), 2);
  EXPECT_LT(clock_.Monotonic(), absl::Seconds(1));
}

TEST_F(RetryingChannelTest, ErrorWithoutRetryInfoIsFinal) {
  AnswerWith({MakeError(absl::StatusCode::kResourceExhausted, "STORE_FULL", "disk nearly full")});

  EXPECT_THAT(GetNode(), ErrorIs(absl::StatusCode::kResourceExhausted, "STORE_FULL"));

  EXPECT_EQ(fake_.calls(kGetNode), 1);
}

TEST_F(RetryingChannelTest, TimeoutEndsWithTheLastErrorAndTheAttempts) {
  AnswerWith(std::vector<absl::Status>(
      1'000, MakeError(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE",
                       "no Muster server answers at h:1")));

  const auto response = GetNode();

  EXPECT_THAT(response, ErrorIs(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE"));
  EXPECT_THAT(response,
              StatusIs(absl::StatusCode::kUnavailable, testing::HasSubstr("attempts within 1m")));
  EXPECT_LE(clock_.Monotonic(), absl::Seconds(60));
  EXPECT_GE(clock_.Monotonic(), absl::Seconds(54));
}

TEST_F(RetryingChannelTest, OwnTimeoutReplacesTheDefault) {
  AnswerWith(std::vector<absl::Status>(1'000, absl::UnavailableError("down")));
  CallOptions options;
  options.timeout = absl::Seconds(2);

  EXPECT_THAT(GetNode(options), StatusIs(absl::StatusCode::kUnavailable));

  EXPECT_LE(clock_.Monotonic(), absl::Seconds(2));
  EXPECT_LE(timeouts_.front(), absl::Seconds(2));
}

TEST_F(RetryingChannelTest, AttemptThatTakesTooLongIsMadeAgain) {
  AnswerWith({absl::DeadlineExceededError("no answer")});

  MUSTER_EXPECT_OK(GetNode());

  EXPECT_EQ(timeouts_.front(), absl::Seconds(15));
}

TEST_F(RetryingChannelTest, AcquireReadMayTakeItsWaitOnTop) {
  std::vector<absl::Duration> timeouts;
  fake_.OnUnary<v1::AcquireReadRequest, v1::AcquireReadResponse>(
      kAcquireRead, [&](const auto&, auto&, const CallOptions& options) -> absl::Status {
        timeouts.push_back(*options.timeout);
        clock_.Advance(absl::Milliseconds(30'500));
        if (timeouts.size() < 2) return absl::UnavailableError("restarting");
        return absl::OkStatus();
      });
  v1::AcquireReadRequest request;
  request.mutable_max_wait()->set_seconds(30);
  request.mutable_max_wait()->set_nanos(500'000'000);

  MUSTER_EXPECT_OK(client_.AcquireRead(request));

  EXPECT_EQ(timeouts, std::vector<absl::Duration>(2, absl::Milliseconds(45'500)));
}

TEST_F(RetryingChannelTest, DeadlineOfTheLastAttemptIsFinal) {
  AnswerWith({absl::DeadlineExceededError("no answer")});
  CallOptions options;
  options.timeout = absl::Seconds(5);

  EXPECT_THAT(GetNode(options), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(RetryingChannelTest, StopEndsTheWait) {
  std::stop_source stop;
  fake_.OnUnary<v1::GetNodeRequest, v1::GetNodeResponse>(
      kGetNode, [&](const auto&, auto&, const CallOptions&) {
        stop.request_stop();
        return absl::UnavailableError("down");
      });
  CallOptions options;
  options.stop = stop.get_token();

  EXPECT_THAT(GetNode(options), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(RetryingChannelTest, RequestIdStaysTheSameOverRetries) {
  std::vector<std::string> ids;
  fake_.OnUnary<v1::RegisterNodeRequest, v1::RegisterNodeResponse>(
      kRegister, [&](const auto& request, auto&, const CallOptions&) -> absl::Status {
        ids.push_back(request.request_id());
        if (ids.size() % 3 != 0) return absl::UnavailableError("the reply got lost");
        return absl::OkStatus();
      });

  MUSTER_EXPECT_OK(client_.RegisterNode(v1::RegisterNodeRequest()));
  MUSTER_EXPECT_OK(client_.RegisterNode(v1::RegisterNodeRequest()));

  ASSERT_EQ(ids.size(), 6);
  EXPECT_EQ(ids[0].size(), 32);
  EXPECT_EQ(ids[1], ids[0]);
  EXPECT_EQ(ids[2], ids[0]);
  EXPECT_NE(ids[3], ids[0]);
}

TEST_F(RetryingChannelTest, RequestIdOfTheCallerIsKept) {
  std::string sent;
  fake_.OnUnary<v1::RegisterNodeRequest, v1::RegisterNodeResponse>(
      kRegister, [&](const auto& request, auto&, const CallOptions&) {
        sent = request.request_id();
        return absl::OkStatus();
      });
  v1::RegisterNodeRequest request;
  request.set_request_id("mine");

  MUSTER_EXPECT_OK(client_.RegisterNode(request));

  EXPECT_EQ(sent, "mine");
}

}  // namespace
}  // namespace muster
