// An agent's life: it registers, sends heartbeats, outlives its server, is fenced, and stops.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/agent/agent_fixture.h"

namespace muster {
namespace {

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

TEST_F(AgentTest, AnotherHistoryRegistersAgainAlthoughTheEpochIsKnown) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));

  server_.BeginHistory("second");

  ASSERT_TRUE(Eventually([&] { return server_.registrations().size() == 2; }));
  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  ASSERT_TRUE(Eventually([&] { return server_.watches().back().history_id() == "second"; }));
  EXPECT_EQ(server_.watches().back().start_revision(), 0);
  EXPECT_EQ(fetcher_.fetches(0), 1);
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

TEST_F(AgentTest, UnreachableServerAtTheStartIsAnError) {
  server_.SetDown(true);

  StartAgent();

  EXPECT_THAT(Ended(), ErrorIs(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE"));
  EXPECT_TRUE(server_.registrations().empty());
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
