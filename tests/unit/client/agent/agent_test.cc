// The agent against a scripted server and fetcher. Time is a FakeClock that Eventually moves on in
// small steps until what the test waits for has come, so that waits of a minute take no time.
#include "client/agent/agent.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/agent/fake_muster.h"

namespace muster {
namespace {

class CountingObserver final : public AgentObserver {
 public:
  void OnRegistered(const v1::Node&, uint64_t, bool again) override {
    ++(again ? registered_again : registered);
  }
  void OnJoined(const v1::Assembly&, bool created_in) override { created = created_in; }
  void OnLeft(const std::string&) override {
    if (on_left) on_left();
    ++left;
  }
  void OnMembershipFailed(const std::string&, bool, const absl::Status& status) override {
    MutexLock lock(mutex);
    refused.push_back(status);
  }
  void OnReady(const std::string&, uint32_t shards, uint64_t) override { ready_shards = shards; }
  void OnShard(const ShardUpdate& update) override {
    if (update.state == v1::ShardReport::READY && update.from_cache) ++from_cache;
  }
  void OnWaiting(const std::string&, uint32_t, const std::string&) override { ++waiting; }
  void OnDisconnected(const absl::Status&) override { ++disconnected; }
  void OnReconnected() override { ++reconnected; }

  std::atomic<int> registered{0}, registered_again{0}, disconnected{0}, reconnected{0},
      from_cache{0}, waiting{0}, left{0};
  std::atomic<uint32_t> ready_shards{0};
  std::atomic<bool> created{false};
  // Set before the agent runs.
  std::function<void()> on_left;
  Mutex mutex;
  std::vector<absl::Status> refused MUSTER_GUARDED_BY(mutex);
};

class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    options_.node.set_name("nodes/n1");
    Membership membership;
    membership.assembly = FakeMuster::kAssembly;
    membership.claim.set_kind(v1::Claim::ANY);
    options_.memberships = {membership};
    options_.wake_interval = absl::Milliseconds(1);
  }

  ~AgentTest() override { StopAgent().IgnoreError(); }

  void MakeAgent() {
    agent_ = std::make_unique<Agent>(client_, fetcher_, observer_, clock_, *random_, options_);
  }

  void StartAgent() {
    MakeAgent();
    RunAgent();
  }

  void RunAgent() {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      result_ = agent_->Run(stop);
      ended_ = true;
    });
  }

  absl::Status StopAgent() {
    if (thread_.joinable()) {
      thread_.request_stop();
      thread_.join();
    }
    return result_;
  }

  // Moves the clock on until `condition` holds; false if it does not within some seconds of real
  // time.
  template <typename Condition>
  bool Eventually(Condition condition) {
    const absl::Duration give_up = SystemClock().Monotonic() + absl::Seconds(20);
    while (SystemClock().Monotonic() < give_up) {
      if (condition()) return true;
      clock_.Advance(absl::Milliseconds(20));
      std::this_thread::yield();
    }
    return false;
  }

  bool IsReported(uint32_t shard, v1::ShardReport::State state) {
    const auto reports = server_.reports();
    const auto it = reports.find(shard);
    return it != reports.end() && it->second.state() == state;
  }

  bool BecomesReported(uint32_t shard, v1::ShardReport::State state) {
    return Eventually([&] { return IsReported(shard, state); });
  }

  // Takes the server down and waits until the agent has noticed and is trying to watch again.
  void LoseServer() {
    const int watches = server_.calls("WatchAssignments");
    server_.SetDown(true);
    ASSERT_TRUE(Eventually([&] {
      return observer_.disconnected >= 1 && server_.calls("WatchAssignments") > watches;
    }));
  }

  // Waits until the agent has ended by itself.
  absl::Status Ended() {
    EXPECT_TRUE(Eventually([&] { return ended_.load(); }));
    return StopAgent();
  }

  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(7);
  FakeMuster server_;
  FakeFetcher fetcher_;
  CountingObserver observer_;
  Client client_{std::make_unique<ForwardingChannel>(server_.channel()), *random_};
  AgentOptions options_;
  std::unique_ptr<Agent> agent_;
  std::atomic<bool> ended_{false};
  absl::Status result_;
  std::jthread thread_;
};

TEST_F(AgentTest, AssignedShardsAreFetchedAndReported) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));

  server_.Assign(1);

  EXPECT_TRUE(BecomesReported(1, v1::ShardReport::READY));
  EXPECT_TRUE(Eventually([&] { return observer_.ready_shards == 2; }));
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));
  EXPECT_EQ(server_.joins().front().claim().kind(), v1::Claim::ANY);
  EXPECT_EQ(server_.registrations().front().node().instance_id().size(), 32);
  MUSTER_EXPECT_OK(StopAgent());
}

TEST_F(AgentTest, ShardsArePinnedBeforeTheyAreLookedUpAndLetGoWithTheAssignment) {
  fetcher_.PutAssigned("assemblies/of-an-earlier-process", {4});
  fetcher_.PutIntoCache(0);
  server_.Assign(0);
  server_.Assign(1);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  ASSERT_TRUE(BecomesReported(1, v1::ShardReport::READY));

  EXPECT_EQ(fetcher_.unassigned_lookups(), 0);
  EXPECT_TRUE(Eventually([&] {
    return fetcher_.assigned() ==
           std::map<std::string, std::set<uint32_t>>{{FakeMuster::kAssembly, {0, 1}}};
  }));
  server_.Unassign(0);
  EXPECT_TRUE(Eventually([&] {
    return fetcher_.assigned() ==
           std::map<std::string, std::set<uint32_t>>{{FakeMuster::kAssembly, {1}}};
  }));
  server_.Unassign(1);
  EXPECT_TRUE(Eventually([&] { return fetcher_.assigned().empty(); }));
}

TEST_F(AgentTest, PinsStayWhenTheAgentStopsAndGoWhenItLeaves) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  MUSTER_EXPECT_OK(StopAgent());
  EXPECT_EQ(fetcher_.assigned().size(), 1u);

  options_.on_stop = AgentOptions::OnStop::kLeave;
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  MUSTER_EXPECT_OK(StopAgent());

  EXPECT_TRUE(fetcher_.assigned().empty());
}

TEST_F(AgentTest, ShardThatCantBePinnedIsNotReady) {
  fetcher_.PutIntoCache(0);
  fetcher_.FailAssign(absl::ResourceExhaustedError("the disk is full"));
  server_.Assign(0);
  StartAgent();

  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::FAILED));
  fetcher_.FailAssign(absl::OkStatus());
  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::READY));
}

TEST_F(AgentTest, ReadyIsNotReportedBeforeTheFetchEnds) {
  fetcher_.Hold(0);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::FETCHING));
  const size_t heartbeats = server_.heartbeats().size();
  ASSERT_TRUE(Eventually([&] { return server_.heartbeats().size() > heartbeats + 2; }));
  EXPECT_TRUE(IsReported(0, v1::ShardReport::FETCHING));

  fetcher_.Release(0);

  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::READY));
}

TEST_F(AgentTest, ShardInTheCacheIsReadyWithoutAFetch) {
  fetcher_.PutIntoCache(0);
  server_.Assign(0);

  StartAgent();

  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  EXPECT_EQ(fetcher_.fetches(0), 0);
  EXPECT_THAT(server_.report_log(), testing::ElementsAre("0 READY"));
}

TEST_F(AgentTest, HeartbeatsCarryTheAppliedRevisionAndTheProgress) {
  fetcher_.Hold(0);
  server_.Assign(0);
  StartAgent();

  ASSERT_TRUE(Eventually([&] {
    const auto heartbeats = server_.heartbeats();
    return !heartbeats.empty() && heartbeats.back().progress_size() == 1 &&
           heartbeats.back().progress(0).done_bytes() == 500;
  }));

  const v1::HeartbeatRequest last = server_.heartbeats().back();
  EXPECT_EQ(last.progress(0).shard(), 0);
  EXPECT_GT(last.applied_revision(), 0);
}

TEST_F(AgentTest, ServerThatComesBackIsWatchedFromWhereItWas) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  LoseServer();
  server_.SetDown(false);

  server_.Assign(1);

  ASSERT_TRUE(BecomesReported(1, v1::ShardReport::READY));
  EXPECT_TRUE(Eventually([&] { return observer_.reconnected >= 1; }));
  EXPECT_GT(server_.watches().back().start_revision(), 0);
  EXPECT_EQ(server_.registrations().size(), 1);
  EXPECT_EQ(fetcher_.fetches(0), 1);
}

TEST_F(AgentTest, FetchesGoOnWhileTheServerIsDown) {
  fetcher_.Hold(0);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::FETCHING));
  LoseServer();
  fetcher_.Release(0);
  server_.SetDown(false);

  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  EXPECT_EQ(fetcher_.fetches(0), 1);
}

TEST_F(AgentTest, CompactedRevisionStartsFromASnapshot) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  LoseServer();
  server_.Assign(1);
  server_.Compact();
  server_.SetDown(false);

  EXPECT_TRUE(BecomesReported(1, v1::ShardReport::READY));
  EXPECT_EQ(server_.watches().back().start_revision(), 0);
}

TEST_F(AgentTest, UnknownNodeRegistersAgainAndReportsItsCache) {
  server_.Assign(0);
  server_.Assign(1);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  ASSERT_TRUE(BecomesReported(1, v1::ShardReport::READY));

  server_.ForgetNode();

  ASSERT_TRUE(Eventually([&] { return server_.registrations().size() == 2; }));
  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  EXPECT_TRUE(BecomesReported(1, v1::ShardReport::READY));
  EXPECT_EQ(fetcher_.fetches(0), 1);
  EXPECT_EQ(fetcher_.fetches(1), 1);
  EXPECT_TRUE(Eventually([&] { return observer_.from_cache == 2; }));
  EXPECT_EQ(observer_.registered_again, 1);
  EXPECT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  const auto registrations = server_.registrations();
  EXPECT_EQ(registrations[0].node().instance_id(), registrations[1].node().instance_id());
  EXPECT_NE(registrations[0].request_id(), registrations[1].request_id());
}

TEST_F(AgentTest, ServerThatLostItsStoreIsRegisteredWithAndJoinedOnceItHasTheAssemblyAgain) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));

  const v1::Assembly assembly = server_.SetAssembly(std::nullopt).value();
  server_.ForgetNode();
  ASSERT_TRUE(Eventually([&] { return server_.registrations().size() == 2; }));
  const int looks = server_.calls("GetAssembly");
  ASSERT_TRUE(Eventually([&] { return server_.calls("GetAssembly") > looks + 2; }));
  EXPECT_FALSE(ended_.load());
  server_.SetAssembly(assembly);

  EXPECT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  EXPECT_EQ(server_.registrations().size(), 2);
}

TEST_F(AgentTest, FencedNodeStopsAndNeverRegistersAgain) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));

  server_.Fence();

  const absl::Status status = Ended();
  EXPECT_THAT(status, ErrorIs(absl::StatusCode::kAborted, "NODE_FENCED"));
  EXPECT_THAT(std::string(status.message()),
              testing::HasSubstr("another process registered as nodes/n1"));
  EXPECT_EQ(server_.registrations().size(), 1);
}

TEST_F(AgentTest, FencedNodeStopsItsFetches) {
  fetcher_.Hold(0);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::FETCHING));

  server_.Fence();

  EXPECT_THAT(Ended(), ErrorIs(absl::StatusCode::kAborted, "NODE_FENCED"));
  EXPECT_EQ(fetcher_.stopped(0), 1);
}

TEST_F(AgentTest, FailedShardIsReportedAndTriedAgainWithFreshLocations) {
  fetcher_.Fail(0, 1'000'000);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(Eventually(
      [&] { return server_.reports()[0].failure().code() == v1::ShardFailure::MISSING; }));

  server_.SetLocation("file:///second");
  ASSERT_TRUE(Eventually([&] { return fetcher_.last_location() == "file:///second"; }));
  fetcher_.Fail(0, 0);

  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  EXPECT_FALSE(server_.reports()[0].has_failure());
}

TEST_F(AgentTest, FailuresInARowAreCountedAndSayWhatTheLocationWasLike) {
  fetcher_.Fail(0, 1'000'000);
  server_.Assign(0);
  StartAgent();
  v1::ShardReport failed;
  ASSERT_TRUE(Eventually([&] {
    failed = server_.reports()[0];
    return failed.failure().attempts() >= 2;
  }));
  ASSERT_EQ(failed.locations_size(), 1);
  EXPECT_EQ(failed.locations(0).uri(), "file:///first");
  EXPECT_EQ(failed.locations(0).code(), v1::ShardFailure::MISSING);
  fetcher_.Fail(0, 0);

  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));

  const v1::ShardReport ready = server_.reports()[0];
  ASSERT_EQ(ready.locations_size(), 1);
  EXPECT_EQ(ready.locations(0).code(), v1::ShardFailure::CODE_UNSPECIFIED);
}

TEST_F(AgentTest, RegistrationWhoseReplyIsLostIsRepeatedWithTheSameInventory) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));
  server_.LoseReplies("RegisterNode", 2);

  server_.ForgetNode();

  ASSERT_TRUE(Eventually([&] { return server_.registrations().size() == 4; }));
  const auto registrations = server_.registrations();
  EXPECT_EQ(registrations[0].cached_digests(), std::string(16, 'a'));
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(registrations[i].cached_digests(), std::string(16, 'b'));
    EXPECT_EQ(registrations[i].request_id(), registrations[1].request_id());
  }
}

TEST_F(AgentTest, PlaceAtABoundedLocationIsGivenBackAfterTheFetch) {
  server_.BoundShard0(/*taken=*/false);
  server_.Assign(0);
  StartAgent();

  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));

  EXPECT_THAT(server_.places_given(), testing::ElementsAre("new"));
  EXPECT_TRUE(Eventually([&] { return server_.places_returned().size() == 1; }));
  EXPECT_EQ(server_.places_returned()[0], "models/m/versions/v/shards/0");
}

TEST_F(AgentTest, PlaceIsGivenBackAfterAFailedFetchAndWhenTheReplyIsLost) {
  server_.BoundShard0(/*taken=*/false);
  server_.LoseReplies("ReleaseRead", 2);
  fetcher_.Fail(0, 1'000'000);
  server_.Assign(0);
  StartAgent();

  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::FAILED));

  EXPECT_TRUE(Eventually([&] { return server_.places_returned().size() >= 3; }));
}

TEST_F(AgentTest, FetchThatWaitsForAPlaceLetsAnotherGoOn) {
  options_.parallel_shards = 1;
  server_.BoundShard0(/*taken=*/true);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return observer_.waiting == 1; }));

  server_.Assign(1);
  ASSERT_TRUE(BecomesReported(1, v1::ShardReport::READY));
  EXPECT_EQ(fetcher_.fetches(0), 0);
  server_.BoundShard0(/*taken=*/false);

  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::READY));
}

TEST_F(AgentTest, WaitOfAnUnassignedShardEndsAndItsTurnIsGivenBack) {
  server_.BoundShard0(/*taken=*/true);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return observer_.waiting == 1; }));

  server_.Unassign(0);

  EXPECT_TRUE(Eventually([&] { return server_.places_returned().size() == 1; }));
}

TEST_F(AgentTest, PlaceIsClaimedAgainFromAServerThatWasLost) {
  server_.BoundShard0(/*taken=*/false);
  fetcher_.Hold(0);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::FETCHING));
  ASSERT_TRUE(Eventually([&] { return server_.places_given().size() == 1; }));
  LoseServer();

  server_.SetDown(false);

  EXPECT_TRUE(Eventually([&] {
    const auto given = server_.places_given();
    return given.size() >= 2 && given.back() == "held";
  }));
  EXPECT_EQ(fetcher_.fetches(0), 1);
}

TEST_F(AgentTest, StoppedAgentGivesItsPlacesBack) {
  server_.BoundShard0(/*taken=*/false);
  fetcher_.Hold(0);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return fetcher_.fetches(0) == 1; }));

  MUSTER_EXPECT_OK(StopAgent());

  EXPECT_FALSE(server_.places_returned().empty());
}

TEST_F(AgentTest, UnassignedShardIsNoLongerFetched) {
  fetcher_.Hold(0);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::FETCHING));

  server_.Unassign(0);

  EXPECT_TRUE(Eventually([&] { return fetcher_.stopped(0) == 1; }));
  server_.Assign(1);
  EXPECT_TRUE(BecomesReported(1, v1::ShardReport::READY));
  EXPECT_EQ(fetcher_.fetches(0), 1);
}

TEST_F(AgentTest, ReportOfAGoneAssignmentIsDropped) {
  server_.Refuse("ReportShards", MakeError(absl::StatusCode::kAborted, "ASSIGNMENT_GONE", "gone"));
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return observer_.ready_shards == 1; }));
  const int calls = server_.calls("ReportShards");

  server_.Refuse("ReportShards", absl::OkStatus());
  server_.Assign(1);

  ASSERT_TRUE(BecomesReported(1, v1::ShardReport::READY));
  EXPECT_GE(calls, 1);
  for (const std::string& report : server_.report_log())
    EXPECT_THAT(report, testing::StartsWith("1 "));
}

TEST_F(AgentTest, ReportWhoseReplyIsLostIsSentAgain) {
  fetcher_.PutIntoCache(0);
  server_.LoseReplies("ReportShards", 3);
  server_.Assign(0);

  StartAgent();

  ASSERT_TRUE(Eventually([&] { return observer_.ready_shards == 1; }));
  EXPECT_THAT(server_.report_log(),
              testing::ElementsAre("0 READY", "0 READY", "0 READY", "0 READY"));
}

TEST_F(AgentTest, ReportsGoInBatchesOfAtMostAThousand) {
  for (uint32_t i = 0; i < 2'500; ++i) {
    fetcher_.PutIntoCache(i);
    server_.Assign(i);
  }

  StartAgent();

  ASSERT_TRUE(Eventually([&] { return server_.reports().size() == 2'500; }));
  EXPECT_LE(std::ranges::max(server_.batch_sizes()), 1'000);
}

TEST_F(AgentTest, UnreachableServerAtTheStartIsAnError) {
  server_.SetDown(true);

  StartAgent();

  EXPECT_THAT(Ended(), ErrorIs(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE"));
  EXPECT_TRUE(server_.registrations().empty());
}

TEST_F(AgentTest, UnknownAssemblyIsAnErrorBeforeAnyRegistration) {
  server_.SetAssembly(std::nullopt);

  StartAgent();

  EXPECT_THAT(Ended(), ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
  EXPECT_TRUE(server_.registrations().empty());
}

TEST_F(AgentTest, AbsentAssemblyIsCreatedWhereThatIsAskedFor) {
  server_.SetAssembly(std::nullopt);
  v1::Assembly wanted;
  wanted.set_model_version("models/m/versions/v");
  wanted.set_policy(v1::Assembly::FULL);
  options_.memberships[0].create = wanted;

  StartAgent();

  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));
  EXPECT_EQ(server_.calls("CreateAssembly"), 1);
  EXPECT_TRUE(Eventually([&] { return observer_.created.load(); }));
}

TEST_F(AgentTest, AssemblyThatDiffersIsRefusedNamingBoth) {
  v1::Assembly wanted;
  wanted.set_model_version("models/m/versions/v2");
  wanted.set_policy(v1::Assembly::BALANCED);
  options_.memberships[0].create = wanted;

  StartAgent();

  const absl::Status status = Ended();
  EXPECT_THAT(status, ErrorIs(absl::StatusCode::kFailedPrecondition, "ASSEMBLY_DIFFERS"));
  EXPECT_THAT(std::string(status.message()),
              testing::AllOf(testing::HasSubstr("models/m/versions/v,"),
                             testing::HasSubstr("models/m/versions/v2,")));
  EXPECT_TRUE(server_.registrations().empty());
}

TEST_F(AgentTest, EqualAssemblyIsJoinedWithoutCreation) {
  v1::Assembly wanted;
  wanted.set_model_version("models/m/versions/v");
  wanted.set_policy(v1::Assembly::BALANCED);
  options_.memberships[0].create = wanted;

  StartAgent();

  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));
  EXPECT_EQ(server_.calls("CreateAssembly"), 0);
}

TEST_F(AgentTest, OtherClaimIsAnErrorWithTheWayOut) {
  server_.Refuse("JoinAssembly",
                 MakeError(absl::StatusCode::kFailedPrecondition, "CLAIM_DIFFERS", "differs"));

  StartAgent();

  const absl::Status status = Ended();
  EXPECT_THAT(status, ErrorIs(absl::StatusCode::kFailedPrecondition, "CLAIM_DIFFERS"));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("leave the assembly first"));
}

// A second registration could take the name from a process that registered in between.
TEST_F(AgentTest, JoinThatFailsForAWhileDoesNotRegisterAgain) {
  server_.Refuse("JoinAssembly", absl::UnavailableError("busy"));
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.calls("JoinAssembly") >= 3; }));

  server_.Refuse("JoinAssembly", absl::OkStatus());

  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));
  EXPECT_EQ(server_.registrations().size(), 1);
}

TEST_F(AgentTest, RegistrationKeepsItsRequestIdUntilItIsAnswered) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));
  server_.LoseReplies("RegisterNode", 2);

  server_.ForgetNode();

  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  const auto registrations = server_.registrations();
  ASSERT_EQ(registrations.size(), 4);
  EXPECT_NE(registrations[1].request_id(), registrations[0].request_id());
  EXPECT_EQ(registrations[2].request_id(), registrations[1].request_id());
  EXPECT_EQ(registrations[3].request_id(), registrations[1].request_id());
}

TEST_F(AgentTest, StopEndsFetchesAndKeepsTheMembership) {
  fetcher_.Hold(0);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::FETCHING));

  MUSTER_EXPECT_OK(StopAgent());

  EXPECT_EQ(fetcher_.stopped(0), 1);
  EXPECT_EQ(server_.calls("LeaveAssembly") + server_.calls("DeregisterNode"), 0);
}

TEST_F(AgentTest, StopLeavesWhereThatIsAskedFor) {
  options_.on_stop = AgentOptions::OnStop::kLeave;
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));

  MUSTER_EXPECT_OK(StopAgent());

  EXPECT_EQ(server_.calls("LeaveAssembly"), 1);
}

TEST_F(AgentTest, MembershipThatIsTakenBackIsLeftAndOneThatIsNewIsJoined) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));

  agent_->SetMemberships({});
  EXPECT_TRUE(Eventually([&] { return observer_.left == 1; }));
  EXPECT_EQ(server_.calls("LeaveAssembly"), 1);

  agent_->SetMemberships(options_.memberships);
  EXPECT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  EXPECT_EQ(server_.registrations().size(), 1);
  EXPECT_EQ(server_.watches().size(), 1) << "the session goes on";
}

TEST_F(AgentTest, MembershipThatIsWantedAgainWhileItIsLeftIsJoinedAgain) {
  observer_.on_left = [this] { agent_->SetMemberships(options_.memberships); };
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));

  agent_->SetMemberships({});

  EXPECT_TRUE(Eventually([&] { return server_.joins().size() >= 2; }));
  EXPECT_EQ(observer_.left, 1);
}

TEST_F(AgentTest, MembershipThatIsTakenBackBeforeTheStartIsNeverJoined) {
  MakeAgent();
  agent_->SetMemberships({});
  RunAgent();

  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));
  EXPECT_EQ(server_.joins().size(), 0);
}

TEST_F(AgentTest, MembershipWithAnotherClaimIsLeftAndJoinedAgain) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));

  options_.memberships[0].claim.set_kind(v1::Claim::ALL);
  agent_->SetMemberships(options_.memberships);

  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  EXPECT_EQ(observer_.left, 1);
  EXPECT_EQ(server_.joins()[1].claim().kind(), v1::Claim::ALL);
  agent_->SetMemberships(options_.memberships);
  server_.ForgetNode();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 3; }));
  EXPECT_EQ(observer_.left, 1) << "the same claim is nothing new";
}

TEST_F(AgentTest, NewAssemblyThatIsUnknownIsToldOnceAndTheOthersGoOn) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));

  Membership other;
  other.assembly = "assemblies/other";
  other.claim.set_kind(v1::Claim::ANY);
  agent_->SetMemberships({options_.memberships[0], other});
  const int looks = server_.calls("GetAssembly");
  ASSERT_TRUE(Eventually([&] { return server_.calls("GetAssembly") > looks + 3; }));
  const size_t beats = server_.heartbeats().size();

  EXPECT_TRUE(Eventually([&] { return server_.heartbeats().size() > beats; }));
  EXPECT_FALSE(ended_.load());
  MutexLock lock(observer_.mutex);
  ASSERT_EQ(observer_.refused.size(), 1u);
  EXPECT_THAT(observer_.refused[0], ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
}

TEST_F(AgentTest, AssemblyThatWasDeletedDoesNotKeepAForgottenNodeFromItsLife) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));

  server_.SetAssembly(std::nullopt);
  server_.ForgetNode();
  ASSERT_TRUE(Eventually([&] { return server_.registrations().size() == 2; }));
  const size_t beats = server_.heartbeats().size();

  EXPECT_TRUE(Eventually([&] { return server_.heartbeats().size() > beats + 2; }));
}

TEST_F(AgentTest, StopWhileTheServerIsDownIsQuick) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));
  LoseServer();

  MUSTER_EXPECT_OK(StopAgent());
}

}  // namespace
}  // namespace muster
