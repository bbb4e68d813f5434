#include "client/sdk/wait.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/fake_channel.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

constexpr char kWatch[] = "/muster.v1.AssemblyService/WatchAssembly";

v1::WatchAssemblyResponse StateAt(uint64_t revision, v1::Assembly::State state) {
  v1::WatchAssemblyResponse message;
  message.set_revision(revision);
  message.mutable_assembly()->set_state(state);
  if (state == v1::Assembly::WAITING) {
    message.mutable_assembly()->add_reasons()->set_message("1 of 3 nodes joined");
  }
  return message;
}

TEST(DescribeStateTest, OneLineHasWhatFitsAndCountsTheRest) {
  v1::Assembly assembly;
  assembly.set_state(v1::Assembly::LOADING);
  EXPECT_EQ(DescribeState(assembly), "LOADING");
  assembly.add_reasons()->set_message("1 of 3 nodes joined");
  assembly.add_reasons()->set_message("shard 3 has no room");
  EXPECT_EQ(DescribeState(assembly), "LOADING: 1 of 3 nodes joined; shard 3 has no room");
  for (int i = 0; i < 14; ++i) {
    assembly.add_reasons()->set_message("t" + std::to_string(i) + ": NO_SPACE " +
                                        std::string(120, 'x'));
  }
  const std::string line = DescribeState(assembly);
  EXPECT_LT(line.size(), 400u);
  EXPECT_TRUE(line.ends_with("; and 13 more reasons")) << line;
  assembly.mutable_reasons(0)->set_message(std::string(3'000, 'x'));
  EXPECT_LT(DescribeState(assembly).size(), 400u);
}

// A server that plays one scripted stream after the other; after the last one it can't be reached.
class WaitTest : public testing::Test {
 protected:
  using Send = FakeChannel::Send<v1::WatchAssemblyResponse>;
  using Play = std::function<absl::Status(const Send&)>;

  WaitTest() {
    fake_.OnStream<v1::WatchAssemblyRequest, v1::WatchAssemblyResponse>(
        kWatch, [this](const auto& request, const Send& send, const CallOptions&) -> absl::Status {
          requests_.push_back(request);
          if (requests_.size() > plays_.size()) return absl::UnavailableError("no server");
          return plays_[requests_.size() - 1](send);
        });
    options_.assembly = "assemblies/demo";
    options_.on_state = [this](const auto& message) {
      states_.push_back(message.assembly().state());
    };
  }

  WaitResult Wait() { return WaitUntilReady(client_, clock_, *random_, options_); }

  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
  WaitOptions options_;
  std::vector<Play> plays_;
  std::vector<v1::WatchAssemblyRequest> requests_;
  std::vector<v1::Assembly::State> states_;
};

TEST_F(WaitTest, EndsWithTheReadyStateAndShowsThoseBefore) {
  plays_ = {[](const Send& send) {
    EXPECT_TRUE(send(StateAt(3, v1::Assembly::WAITING)));
    EXPECT_TRUE(send(StateAt(4, v1::Assembly::LOADING)));
    EXPECT_FALSE(send(StateAt(5, v1::Assembly::READY)));
    return absl::OkStatus();
  }};

  const WaitResult result = Wait();

  MUSTER_EXPECT_OK(result.status);
  EXPECT_EQ(result.last.revision(), 5);
  EXPECT_THAT(states_, testing::ElementsAre(v1::Assembly::WAITING, v1::Assembly::LOADING,
                                            v1::Assembly::READY));
}

TEST_F(WaitTest, EnoughNodesEndItInAnyState) {
  options_.nodes = 2;
  const auto with_nodes = [](uint64_t revision, v1::Assembly::State state, uint32_t nodes) {
    v1::WatchAssemblyResponse message = StateAt(revision, state);
    message.mutable_assembly()->set_nodes_ready(nodes);
    return message;
  };
  plays_ = {[&](const Send& send) {
    EXPECT_TRUE(send(with_nodes(3, v1::Assembly::READY, 1)));
    EXPECT_FALSE(send(with_nodes(4, v1::Assembly::DEGRADED, 2)));
    return absl::OkStatus();
  }};

  const WaitResult result = Wait();

  MUSTER_EXPECT_OK(result.status);
  EXPECT_EQ(result.last.assembly().nodes_ready(), 2);
  EXPECT_EQ(requests_[0].until(), v1::Assembly::STATE_UNSPECIFIED)
      << "or the server would end it with READY";
}

TEST_F(WaitTest, BrokenWatchResumesAfterTheLastRevision) {
  plays_ = {[](const Send& send) {
              send(StateAt(3, v1::Assembly::WAITING));
              v1::WatchAssemblyResponse progress;
              progress.set_revision(9);
              progress.set_progress(true);
              send(progress);
              return absl::UnavailableError("connection reset");
            },
            [](const Send& send) {
              send(StateAt(12, v1::Assembly::READY));
              return absl::OkStatus();
            }};
  int disconnects = 0;
  options_.retry.on_disconnect = [&](const absl::Status&) { ++disconnects; };

  MUSTER_EXPECT_OK(Wait().status);

  ASSERT_EQ(requests_.size(), 2);
  EXPECT_EQ(requests_[0].start_revision(), 0);
  EXPECT_EQ(requests_[1].start_revision(), 9);
  EXPECT_EQ(disconnects, 1);
}

TEST_F(WaitTest, CompactedRevisionBeginsAgainFromThePresentState) {
  plays_ = {[](const Send& send) {
              send(StateAt(3, v1::Assembly::WAITING));
              return absl::UnavailableError("connection reset");
            },
            [](const Send&) {
              return MakeError(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED", "too old");
            },
            [](const Send& send) {
              send(StateAt(900, v1::Assembly::READY));
              return absl::OkStatus();
            }};

  MUSTER_EXPECT_OK(Wait().status);

  ASSERT_EQ(requests_.size(), 3);
  EXPECT_EQ(requests_[2].start_revision(), 0);
}

TEST_F(WaitTest, TimeoutNamesTheReasonsAndKeepsTheLastState) {
  options_.retry.timeout = absl::Seconds(30);
  plays_ = {[this](const Send& send) {
    send(StateAt(3, v1::Assembly::WAITING));
    clock_.Advance(absl::Seconds(30));
    return absl::DeadlineExceededError("deadline");
  }};

  const WaitResult result = Wait();

  EXPECT_THAT(result.status, ErrorIs(absl::StatusCode::kDeadlineExceeded, "WAIT_TIMED_OUT"));
  EXPECT_THAT(std::string(result.status.message()),
              testing::HasSubstr("WAITING: 1 of 3 nodes joined"));
  EXPECT_EQ(result.last.assembly().state(), v1::Assembly::WAITING);
}

TEST_F(WaitTest, TimeoutTellsReasonsThatTheWatchDoesNotHave) {
  options_.retry.timeout = absl::Seconds(30);
  plays_ = {[this](const Send& send) {
    send(StateAt(3, v1::Assembly::LOADING));
    clock_.Advance(absl::Seconds(30));
    return absl::DeadlineExceededError("deadline");
  }};
  fake_.OnUnary<v1::GetAssemblyRequest, v1::GetAssemblyResponse>(
      "/muster.v1.AssemblyService/GetAssembly",
      [](const v1::GetAssemblyRequest& request, v1::GetAssemblyResponse& response,
         const CallOptions&) {
        EXPECT_EQ(request.name(), "assemblies/demo");
        response.mutable_assembly()->set_state(v1::Assembly::LOADING);
        v1::AssemblyReason& reason = *response.mutable_assembly()->add_reasons();
        reason.set_code(v1::AssemblyReason::WAITING_FOR_ORIGIN);
        reason.set_message("2 nodes wait for file:///origin");
        return absl::OkStatus();
      });

  const WaitResult result = Wait();

  EXPECT_THAT(result.status, ErrorIs(absl::StatusCode::kDeadlineExceeded, "WAIT_TIMED_OUT"));
  EXPECT_THAT(std::string(result.status.message()),
              testing::HasSubstr("LOADING: 2 nodes wait for file:///origin"));
}

TEST_F(WaitTest, TimeoutOfANodeSaysWhatTheNodeLacks) {
  options_.retry.timeout = absl::Seconds(30);
  options_.node = "nodes/n9";
  v1::WatchAssemblyResponse state = StateAt(3, v1::Assembly::READY);
  plays_.assign(1, [&](const Send& send) {
    send(state);
    clock_.Advance(absl::Seconds(30));
    return absl::DeadlineExceededError("deadline");
  });

  EXPECT_THAT(std::string(Wait().status.message()), testing::HasSubstr("it has not joined"));

  state.mutable_member()->set_shards_assigned(4);
  state.mutable_member()->set_shards_ready(3);
  requests_.clear();
  EXPECT_THAT(std::string(Wait().status.message()),
              testing::HasSubstr("it is lost; 3 of its 4 shards are ready"));
}

TEST_F(WaitTest, ServerThatIsNeverReachedIsAnErrorOfItsOwn) {
  options_.retry.first_contact_timeout = absl::Seconds(10);

  EXPECT_THAT(Wait().status,
              StatusIs(absl::StatusCode::kUnavailable, testing::HasSubstr("no server")));

  EXPECT_LE(clock_.Monotonic(), absl::Seconds(16));
}

TEST_F(WaitTest, ServerThatWasReachedIsWaitedForUntilTheTimeout) {
  options_.retry.first_contact_timeout = absl::Seconds(10);
  options_.retry.timeout = absl::Minutes(5);
  plays_ = {[](const Send& send) {
    send(StateAt(3, v1::Assembly::LOADING));
    return absl::UnavailableError("connection reset");
  }};

  EXPECT_THAT(Wait().status, ErrorIs(absl::StatusCode::kDeadlineExceeded, "WAIT_TIMED_OUT"));

  EXPECT_GE(clock_.Monotonic(), absl::Minutes(5));
}

TEST_F(WaitTest, UnknownAssemblyIsFinal) {
  plays_ = {[](const Send&) {
    return MakeError(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN", "none");
  }};

  EXPECT_THAT(Wait().status, ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
}

TEST_F(WaitTest, NodeIsReadyBeforeItsAssembly) {
  options_.node = "nodes/n1";
  plays_ = {[](const Send& send) {
    EXPECT_TRUE(send(StateAt(3, v1::Assembly::LOADING)));
    v1::WatchAssemblyResponse ready = StateAt(4, v1::Assembly::LOADING);
    ready.mutable_member()->set_ready(true);
    EXPECT_FALSE(send(ready));
    return absl::OkStatus();
  }};

  MUSTER_EXPECT_OK(Wait().status);

  EXPECT_EQ(requests_[0].node(), "nodes/n1");
  EXPECT_EQ(requests_[0].until(), v1::Assembly::READY);
}

TEST_F(WaitTest, StopEndsTheWait) {
  std::stop_source stop;
  options_.retry.stop = stop.get_token();
  plays_ = {[&](const Send&) {
    stop.request_stop();
    return absl::CancelledError("stopped");
  }};

  EXPECT_THAT(Wait().status, StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace muster
