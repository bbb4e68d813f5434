// What an agent does about the shards that are assigned to it, and what it reports of them.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/agent/agent_fixture.h"

namespace muster {
namespace {

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

TEST_F(AgentTest, ShardThatCantBePinnedIsNotFetched) {
  fetcher_.FailAssign(absl::ResourceExhaustedError("the disk is full"));
  server_.Assign(0);
  StartAgent();

  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::FAILED));
  EXPECT_EQ(fetcher_.fetches(0), 0);
  fetcher_.FailAssign(absl::OkStatus());
  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::READY));
}

TEST_F(AgentTest, ShardThatIsThereServesThoughItCantBePinnedAndThatIsToldOnce) {
  fetcher_.PutIntoCache(0);
  fetcher_.PutIntoCache(1);
  fetcher_.FailAssign(absl::ResourceExhaustedError("the disk is full"));
  server_.Assign(0);
  server_.Assign(1);
  StartAgent();

  EXPECT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  EXPECT_TRUE(BecomesReported(1, v1::ShardReport::READY));
  EXPECT_EQ(observer_.pin_failed, 1);
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

}  // namespace
}  // namespace muster
