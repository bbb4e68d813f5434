// A server that takes connections and says nothing, as one whose threads are all busy.
#include "server/rpc/queue_probe.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <sys/socket.h>

#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/rpc/listener.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

TEST(QueueProbeTest, CallThatWaitsIsToldOfAgainAndAgain) {
  // The listener's thread adds to it until the listener has gone.
  std::vector<UniqueFd> held;
  Listener::Options listening;
  listening.listen = "127.0.0.1:0";
  auto listener = Listener::Open(listening, SystemClock());
  MUSTER_ASSERT_OK(listener.status());
  // The settings of HTTP/2, with which a connection is made, and nothing after them.
  constexpr char kSettings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
  (*listener)->Start(
      [&](UniqueFd fd) {
        EXPECT_EQ(send(fd.get(), kSettings, sizeof(kSettings), MSG_NOSIGNAL), 9);
        held.push_back(std::move(fd));
      },
      [](const Listener::Counts&) {});
  Mutex mutex;
  CondVar changed;
  std::vector<absl::Duration> told;
  QueueProbe::Options options;
  options.interval = absl::Milliseconds(5);
  options.late = absl::Milliseconds(20);
  const auto connect = [&] {
    return grpc::CreateChannel((*listener)->address(), grpc::InsecureChannelCredentials());
  };
  auto probe =
      std::make_unique<QueueProbe>(SystemClock(), options, connect, [&](absl::Duration waiting) {
        MutexLock lock(mutex);
        told.push_back(waiting);
        changed.NotifyAll();
      });

  {
    MutexLock lock(mutex);
    AwaitOrFail(mutex, changed, "the call to be late", [&] { return told.size() >= 3; });
    EXPECT_GT(told[0], options.late);
    EXPECT_GT(told[2], told[0]);
  }
  // Does not wait for the answer.
  probe.reset();
}

}  // namespace
}  // namespace muster
