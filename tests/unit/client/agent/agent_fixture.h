// An agent against a scripted server and fetcher, for the tests of its life, reports and memberships.
// Time is a FakeClock that Eventually moves on in small steps until what the test waits for has come,
// so that waits of a minute take no time.
#ifndef MUSTER_TESTS_UNIT_CLIENT_AGENT_AGENT_FIXTURE_H_
#define MUSTER_TESTS_UNIT_CLIENT_AGENT_AGENT_FIXTURE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/agent/agent.h"
#include "gtest/gtest.h"
#include "storage/base/mutex.h"
#include "tests/support/await.h"
#include "tests/support/fake_clock.h"
#include "tests/unit/client/agent/fake_muster.h"

namespace muster {

// Thread-safe.
class CountingObserver final : public AgentObserver {
 public:
  void OnRegistered(const v1::Node& node, uint64_t epoch, bool again) override;
  void OnNameTaken(const absl::Status& status, int renewed) override;
  void OnJoined(const v1::Assembly& assembly, bool created_now) override;
  void OnLeft(const std::string& assembly) override;
  void OnMembershipFailed(const std::string& assembly, bool leaving,
                          const absl::Status& status) override;
  void OnNoRoom(const std::string& assembly, const std::string& why) override;
  void OnReady(const std::string& assembly, uint32_t shards, uint64_t bytes) override;
  void OnAssignmentRefused(const std::string& assembly) override;
  void OnPinned(const std::string& assembly, const absl::Status& status) override;
  void OnShard(const ShardUpdate& update) override;
  void OnWaiting(const std::string& assembly, uint32_t shard, const std::string& location) override;
  void OnDisconnected(const absl::Status& status) override;
  void OnReconnected() override;

  std::atomic<int> registered{0}, registered_again{0}, disconnected{0}, reconnected{0},
      from_cache{0}, waiting{0}, left{0}, joined{0}, assignments_refused{0}, pin_failed{0},
      name_taken{0};
  std::atomic<uint32_t> ready_shards{0};
  std::atomic<bool> created{false};
  // Set before the agent runs.
  std::function<void()> on_left;
  Mutex mutex;
  std::vector<absl::Status> refused MUSTER_GUARDED_BY(mutex);
  std::vector<std::string> no_room MUSTER_GUARDED_BY(mutex);
};

class AgentTest : public testing::Test {
 protected:
  // A member of FakeMuster::kAssembly with the claim "any".
  AgentTest();
  ~AgentTest() override;

  void MakeAgent();
  // On a thread of its own.
  void RunAgent();
  void StartAgent();
  // Returns how it ended.
  absl::Status StopAgent();
  // Waits until the agent has ended by itself.
  absl::Status Ended();

  // Moves the clock on until `condition` holds; false if it does not within some seconds of real
  // time.
  template <typename Condition>
  bool Eventually(Condition condition) {
    const absl::Duration give_up = SystemClock().Monotonic() + 2 * kPatience;
    while (SystemClock().Monotonic() < give_up) {
      if (condition()) return true;
      clock_.Advance(absl::Milliseconds(20));
      std::this_thread::yield();
    }
    return false;
  }

  bool IsReported(uint32_t shard, v1::ShardReport::State state);
  bool BecomesReported(uint32_t shard, v1::ShardReport::State state);
  // Takes the server down and waits until the agent has noticed and is trying to watch again.
  void LoseServer();

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

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_AGENT_AGENT_FIXTURE_H_
