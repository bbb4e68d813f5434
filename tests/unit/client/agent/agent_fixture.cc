#include "tests/unit/client/agent/agent_fixture.h"

namespace muster {

void CountingObserver::OnRegistered(const v1::Node&, uint64_t, bool again) {
  ++(again ? registered_again : registered);
}
void CountingObserver::OnJoined(const v1::Assembly&, bool created_now) {
  created = created_now;
  ++joined;
}
void CountingObserver::OnAssignmentRefused(const std::string&) { ++assignments_refused; }
void CountingObserver::OnPinned(const std::string&, const absl::Status& status) {
  if (!status.ok()) ++pin_failed;
}
void CountingObserver::OnLeft(const std::string&) {
  if (on_left) on_left();
  ++left;
}
void CountingObserver::OnNoRoom(const std::string&, const std::string& why) {
  MutexLock lock(mutex);
  no_room.push_back(why);
}

void CountingObserver::OnMembershipFailed(const std::string&, bool, const absl::Status& status) {
  MutexLock lock(mutex);
  refused.push_back(status);
}
void CountingObserver::OnReady(const std::string&, uint32_t shards, uint64_t) {
  ready_shards = shards;
}
void CountingObserver::OnShard(const ShardUpdate& update) {
  if (update.state == v1::ShardReport::READY && update.from_cache) ++from_cache;
}
void CountingObserver::OnWaiting(const std::string&, uint32_t, const std::string&) { ++waiting; }
void CountingObserver::OnDisconnected(const absl::Status&) { ++disconnected; }
void CountingObserver::OnNameTaken(const absl::Status&, int) { ++name_taken; }
void CountingObserver::OnReconnected() { ++reconnected; }

AgentTest::AgentTest() {
  options_.node.set_name("nodes/n1");
  Membership membership;
  membership.assembly = FakeMuster::kAssembly;
  membership.claim.set_kind(v1::Claim::ANY);
  options_.memberships = {membership};
  options_.wake_interval = absl::Milliseconds(1);
}

AgentTest::~AgentTest() { StopAgent().IgnoreError(); }

void AgentTest::MakeAgent() {
  agent_ = std::make_unique<Agent>(client_, fetcher_, observer_, clock_, *random_, options_);
}

void AgentTest::RunAgent() {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    result_ = agent_->Run(stop);
    ended_ = true;
  });
}

void AgentTest::StartAgent() {
  MakeAgent();
  RunAgent();
}

absl::Status AgentTest::StopAgent() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  return result_;
}

absl::Status AgentTest::Ended() {
  EXPECT_TRUE(Eventually([&] { return ended_.load(); }));
  return StopAgent();
}

bool AgentTest::IsReported(uint32_t shard, v1::ShardReport::State state) {
  const auto reports = server_.reports();
  const auto it = reports.find(shard);
  return it != reports.end() && it->second.state() == state;
}

bool AgentTest::BecomesReported(uint32_t shard, v1::ShardReport::State state) {
  return Eventually([&] { return IsReported(shard, state); });
}

void AgentTest::LoseServer() {
  const int watches = server_.calls("WatchAssignments");
  server_.SetDown(true);
  ASSERT_TRUE(Eventually(
      [&] { return observer_.disconnected >= 1 && server_.calls("WatchAssignments") > watches; }));
}

}  // namespace muster
