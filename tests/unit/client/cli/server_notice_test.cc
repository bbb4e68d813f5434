#include "client/cli/server_notice.h"

#include <memory>

#include "client/sdk/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "tests/support/await.h"
#include "tests/support/fake_channel.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kGetNode[] = "/muster.v1.NodeService/GetNode";

class ServerNoticeTest : public testing::Test {
 protected:
  std::unique_ptr<Client> ClientWith(absl::Duration after) {
    ServerNoticeOptions options{.servers = "h:1, i:2", .after = after, .say = nullptr};
    options.say = [this](const std::string& line) {
      MutexLock lock(mutex_);
      said_.push_back(line);
    };
    return std::make_unique<Client>(
        NewNoticingChannel(std::make_unique<ForwardingChannel>(fake_), std::move(options)),
        *random_);
  }

  // What GetNode does before it ends with `status`.
  void Answer(std::function<void()> before, absl::Status status) {
    fake_.OnUnary<v1::GetNodeRequest, v1::GetNodeResponse>(
        kGetNode, [before, status](const auto&, auto&, const CallOptions&) {
          before();
          return status;
        });
  }

  std::vector<std::string> said() {
    MutexLock lock(mutex_);
    return said_;
  }

  FakeChannel fake_;
  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  Mutex mutex_;
  std::vector<std::string> said_ MUSTER_GUARDED_BY(mutex_);
};

TEST_F(ServerNoticeTest, SilentServerIsNamedWhileTheCallStillWaits) {
  const auto client = ClientWith(absl::Milliseconds(1));
  Answer([this] { AwaitOrFail("the notice", [this] { return !said().empty(); }); },
         absl::OkStatus());

  MUSTER_EXPECT_OK(client->GetNode(v1::GetNodeRequest()));

  EXPECT_THAT(said(),
              ElementsAre("waiting for the server at h:1, i:2, which has not answered yet"));
}

TEST_F(ServerNoticeTest, WhatFailedLastIsSaidOnce) {
  const auto client = ClientWith(absl::Milliseconds(1));
  const absl::Status refused =
      MakeError(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE", "refused");
  Answer([] {}, refused);
  EXPECT_FALSE(client->GetNode(v1::GetNodeRequest()).ok());
  AwaitOrFail("the notice", [this] { return !said().empty(); });
  EXPECT_FALSE(client->GetNode(v1::GetNodeRequest()).ok());

  EXPECT_EQ(said().size(), 1u);
  EXPECT_THAT(said().front(), HasSubstr("waiting for the server"));
}

TEST_F(ServerNoticeTest, NothingIsSaidOfAServerThatAnswers) {
  const auto client = ClientWith(absl::Hours(1));
  Answer([] {}, MakeError(absl::StatusCode::kNotFound, "NODE_UNKNOWN", "no such node"));

  EXPECT_FALSE(client->GetNode(v1::GetNodeRequest()).ok());

  EXPECT_THAT(said(), IsEmpty());
}

TEST_F(ServerNoticeTest, ClientThatGoesDuringTheWaitTakesItAlong) {
  const auto client = ClientWith(absl::Hours(1));
  Answer([] {}, MakeError(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE", "refused"));

  EXPECT_FALSE(client->GetNode(v1::GetNodeRequest()).ok());

  EXPECT_THAT(said(), IsEmpty());
}

}  // namespace
}  // namespace muster
