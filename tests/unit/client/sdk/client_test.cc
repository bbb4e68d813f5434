#include "client/sdk/client.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/fake_channel.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

class ClientTest : public testing::Test {
 protected:
  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
};

// Calls that change something get an id each, so that a retry is answered with the first reply.
TEST_F(ClientTest, DrainAndResumeMovesGetARequestIdEach) {
  std::vector<std::string> ids;
  fake_.OnUnary<v1::DrainNodeRequest, v1::DrainNodeResponse>(
      "/muster.v1.NodeService/DrainNode", [&](const auto& request, auto&, const CallOptions&) {
        EXPECT_EQ(request.name(), "nodes/n1");
        ids.push_back(request.request_id());
        return absl::OkStatus();
      });
  fake_.OnUnary<v1::ResumeMovesRequest, v1::ResumeMovesResponse>(
      "/muster.v1.NodeService/ResumeMoves", [&](const auto& request, auto&, const CallOptions&) {
        ids.push_back(request.request_id());
        return absl::OkStatus();
      });
  v1::DrainNodeRequest drain;
  drain.set_name("nodes/n1");

  MUSTER_EXPECT_OK(client_.DrainNode(drain));
  MUSTER_EXPECT_OK(client_.ResumeMoves(v1::ResumeMovesRequest()));

  ASSERT_EQ(ids.size(), 2);
  EXPECT_EQ(ids[0].size(), 32);
  EXPECT_EQ(ids[1].size(), 32);
  EXPECT_NE(ids[0], ids[1]);
}

TEST_F(ClientTest, ReadPlacesAndExplanationsReachTheirMethods) {
  fake_.OnUnary<v1::AcquireReadRequest, v1::AcquireReadResponse>(
      "/muster.v1.NodeService/AcquireRead", [](const auto&, auto& response, const CallOptions&) {
        response.set_granted(true);
        return absl::OkStatus();
      });
  fake_.OnUnary<v1::ReleaseReadRequest, v1::ReleaseReadResponse>(
      "/muster.v1.NodeService/ReleaseRead", [](const auto&, auto& response, const CallOptions&) {
        response.set_revision(8);
        return absl::OkStatus();
      });
  fake_.OnUnary<v1::ExplainAssignmentRequest, v1::ExplainAssignmentResponse>(
      "/muster.v1.AssemblyService/ExplainAssignment",
      [](const auto& request, auto& response, const CallOptions&) {
        response.set_shard(request.shard());
        return absl::OkStatus();
      });
  v1::ExplainAssignmentRequest explain;
  explain.set_shard(3);

  const auto acquired = client_.AcquireRead(v1::AcquireReadRequest());
  const auto released = client_.ReleaseRead(v1::ReleaseReadRequest());
  const auto explained = client_.ExplainAssignment(explain);

  MUSTER_ASSERT_OK(acquired);
  EXPECT_TRUE(acquired->granted());
  MUSTER_ASSERT_OK(released);
  EXPECT_EQ(released->revision(), 8);
  MUSTER_ASSERT_OK(explained);
  EXPECT_EQ(explained->shard(), 3);
}

TEST_F(ClientTest, WatchEventsDeliversUntilTheReaderHasEnough) {
  fake_.OnStream<v1::WatchEventsRequest, v1::WatchEventsResponse>(
      "/muster.v1.EventService/WatchEvents",
      [](const auto& request, const auto& send, const CallOptions&) -> absl::Status {
        v1::WatchEventsResponse message;
        for (uint64_t revision = request.start_revision() + 1;; ++revision) {
          message.set_revision(revision);
          if (!send(message)) return absl::OkStatus();
        }
      });
  v1::WatchEventsRequest request;
  request.set_start_revision(40);
  std::vector<uint64_t> seen;

  MUSTER_EXPECT_OK(client_.WatchEvents(request, [&](const v1::WatchEventsResponse& message) {
    seen.push_back(message.revision());
    return seen.size() < 3;
  }));

  EXPECT_EQ(seen, (std::vector<uint64_t>{41, 42, 43}));
}

}  // namespace
}  // namespace muster
