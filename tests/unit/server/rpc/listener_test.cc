// Connections over loopback; the clients are plain sockets.
#include "server/rpc/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/mutex.h"
#include "tests/support/await.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class ListenerTest : public testing::Test {
 protected:
  void Start(Listener::Options options) {
    options.listen = "127.0.0.1:0";
    auto opened = Listener::Open(options, clock_);
    MUSTER_ASSERT_OK(opened.status());
    listener_ = *std::move(opened);
    listener_->Start(
        [this](UniqueFd fd) {
          MutexLock lock(mutex_);
          taken_.push_back(std::move(fd));
          changed_.NotifyAll();
        },
        [this](const Listener::Counts&) {
          MutexLock lock(mutex_);
          told_of_refused_ = true;
          changed_.NotifyAll();
        });
  }

  UniqueFd Connect() {
    const std::string& address = listener_->address();
    uint32_t port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // A test that waits for what does not come is to fail.
    const timeval patience{absl::ToInt64Seconds(kPatience), 0};
    EXPECT_EQ(setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    return fd;
  }

  static void Speak(const UniqueFd& fd) { EXPECT_EQ(send(fd.get(), "PRI", 3, MSG_NOSIGNAL), 3); }

  void AwaitTaken(size_t count) {
    MutexLock lock(mutex_);
    AwaitOrFail(mutex_, changed_, "connections to be taken",
                [&] { return taken_.size() == count; });
  }

  // Blocks until the other side has closed it.
  static bool IsClosed(const UniqueFd& fd) {
    char byte = 0;
    const ssize_t size = recv(fd.get(), &byte, 1, 0);
    return size == 0 || (size < 0 && errno == ECONNRESET);
  }

  FakeClock clock_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<UniqueFd> taken_;
  bool told_of_refused_ = false;
  // Goes first: its thread uses the above.
  std::unique_ptr<Listener> listener_;
};

TEST_F(ListenerTest, ConnectionThatSpeaksIsTakenWithWhatItSaid) {
  Start({});
  const UniqueFd client = Connect();
  Speak(client);
  AwaitTaken(1);
  char said[4] = {};
  EXPECT_EQ(recv(taken_[0].get(), said, 3, 0), 3);
  EXPECT_STREQ(said, "PRI");
}

TEST_F(ListenerTest, LongestSilentOneGoesFirstAndNobodyWhoSpeaksIsKeptOut) {
  Listener::Options options;
  options.silent_max = 4;
  Start(options);
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 6; ++i) silent.push_back(Connect());
  EXPECT_TRUE(IsClosed(silent[0]));
  EXPECT_TRUE(IsClosed(silent[1]));

  const UniqueFd client = Connect();
  Speak(client);
  AwaitTaken(1);
  EXPECT_TRUE(IsClosed(silent[2]));
  // It was there all the time, and may still speak.
  Speak(silent[5]);
  AwaitTaken(2);
  EXPECT_EQ(listener_->counts().dropped, 3u);
  EXPECT_EQ(listener_->counts().refused, 0u);
}

TEST_F(ListenerTest, ManyThatComeAtOnceAndSpeakAreAllTaken) {
  constexpr size_t kCount = 200;
  Listener::Options options;
  options.silent_max = 2;
  Start(options);
  std::vector<UniqueFd> clients;
  {
    // The first that speaks holds up the listener's thread until all have.
    MutexLock lock(mutex_);
    for (size_t i = 0; i < kCount; ++i) {
      clients.push_back(Connect());
      Speak(clients.back());
    }
  }
  AwaitTaken(kCount);
  EXPECT_EQ(listener_->counts().dropped, 0u);
}

TEST_F(ListenerTest, SilentConnectionIsClosedAfterItsTime) {
  Start({});
  const UniqueFd client = Connect();
  AwaitOrFail("the silent connection to be closed", [&] {
    clock_.Advance(absl::Seconds(1));
    char byte = 0;
    return recv(client.get(), &byte, 1, MSG_DONTWAIT) == 0;
  });
}

TEST_F(ListenerTest, WithoutDescriptorsNewOnesAreClosedAndOldOnesStay) {
  // Of those that are free the kernel gives the lowest; the client takes one, the server the next, and so on.
  const UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Listener::Options options;
  options.descriptors_max = static_cast<size_t>(probe.get()) + 20;
  Start(options);
  std::vector<UniqueFd> clients;
  while (listener_->counts().refused == 0 && clients.size() < 100) {
    clients.push_back(Connect());
    Speak(clients.back());
    AwaitOrFail("the connection to be taken or refused", [&] {
      return listener_->counts().taken + listener_->counts().refused == clients.size();
    });
  }
  EXPECT_LT(clients.size(), 20u);
  EXPECT_TRUE(IsClosed(clients.back()));
  {
    MutexLock lock(mutex_);
    AwaitOrFail(mutex_, changed_, "to be told of it", [&] { return told_of_refused_; });
    EXPECT_EQ(taken_.size() + 1, clients.size());
    // One ends, with its client, so that their numbers are free.
    taken_.erase(taken_.begin());
  }
  clients.erase(clients.begin(), clients.begin() + 1);
  const UniqueFd client = Connect();
  Speak(client);
  AwaitTaken(clients.size());
}

TEST_F(ListenerTest, StopRefusesWhoComesNext) {
  Start({});
  const UniqueFd silent = Connect();
  const std::string address = listener_->address();
  listener_->Stop();
  EXPECT_TRUE(IsClosed(silent));
  Listener::Options options;
  options.listen = address;
  // Its port is free again.
  MUSTER_EXPECT_OK(Listener::Open(options, clock_).status());
}

TEST_F(ListenerTest, AddressSaysThePortThatWasBound) {
  Listener::Options options;
  options.listen = "localhost:0";
  const auto listener = Listener::Open(options, clock_);
  MUSTER_ASSERT_OK(listener.status());
  EXPECT_THAT((*listener)->address(), StartsWith("localhost:"));
  EXPECT_NE((*listener)->address(), "localhost:0");
}

TEST_F(ListenerTest, AddressInUseIsAnErrorThatSaysSo) {
  Start({});
  Listener::Options options;
  options.listen = listener_->address();
  const absl::Status taken = Listener::Open(options, clock_).status();
  EXPECT_THAT(taken, ErrorIs(absl::StatusCode::kUnavailable, "LISTEN_FAILED"));
  EXPECT_THAT(std::string(taken.message()), HasSubstr("in use"));
}

}  // namespace
}  // namespace muster
