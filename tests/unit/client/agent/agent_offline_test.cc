// An agent that starts while no server answers.
#include <atomic>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/agent/agent_fixture.h"

namespace muster {
namespace {

TEST_F(AgentTest, WithoutAServerWhatIsNotedIsServedAndTheServerIsWaitedFor) {
  std::atomic<int> served{0};
  options_.serve_offline = [&served](const absl::Status&) { ++served; };
  server_.SetDown(true);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return served == 1 && observer_.disconnected == 1; }));
  EXPECT_TRUE(server_.report_log().empty());
  EXPECT_EQ(observer_.ready_shards, 0u);

  server_.SetDown(false);

  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  EXPECT_TRUE(Eventually([&] { return observer_.joined == 1; }));
  EXPECT_EQ(observer_.registered, 1);
  EXPECT_EQ(served, 1);
  EXPECT_FALSE(ended_.load());
}

TEST_F(AgentTest, WithoutAServerAndWithNothingNotedTheAgentGivesUp) {
  server_.SetDown(true);
  StartAgent();
  EXPECT_THAT(Ended(), ErrorIs(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE"));
}

TEST_F(AgentTest, ServerThatAnswersIsTheTruthWhateverIsNoted) {
  std::atomic<int> served{0};
  options_.serve_offline = [&served](const absl::Status&) { ++served; };
  server_.SetAssembly(std::nullopt);
  StartAgent();
  EXPECT_THAT(Ended(), ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
  EXPECT_EQ(served, 0);
}

TEST_F(AgentTest, AssemblyThatIsGoneWhenTheServerIsBackIsReportedAndTriedAgain) {
  options_.serve_offline = [](const absl::Status&) {};
  const v1::Assembly assembly = server_.SetAssembly(std::nullopt).value();
  server_.SetDown(true);
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return observer_.disconnected == 1; }));
  server_.SetDown(false);
  ASSERT_TRUE(Eventually([&] {
    MutexLock lock(observer_.mutex);
    return !observer_.refused.empty();
  }));
  EXPECT_FALSE(ended_.load());
  server_.SetAssembly(assembly);
  EXPECT_TRUE(Eventually([&] { return observer_.joined == 1; }));
}

}  // namespace
}  // namespace muster
