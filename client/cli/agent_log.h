// Logs what an agent does.
#ifndef MUSTER_CLIENT_CLI_AGENT_LOG_H_
#define MUSTER_CLIENT_CLI_AGENT_LOG_H_

#include <atomic>
#include <functional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "client/agent/agent_observer.h"
#include "client/agent/model_warmer.h"
#include "client/agent/ready_actions.h"
#include "client/cli/repeated_failures.h"
#include "storage/base/clock.h"

namespace muster {

class AgentScreen;

// Sends spdlog's lines to stderr, one event each, as key=value.
void SetUpLog(const std::string& level);

// A warning of the node's own: "warning message=…".
void LogWarning(const std::string& message);

// The configuration was read again.
void LogReloaded(size_t assemblies);

// The node has a new certificate: `event` is "enrolled" or "renewed".
void LogCertificate(const std::string& event, const std::string& node, absl::Time valid_until);

// From now on warnings are sentences for a person; null: lines again, as at first. Not while other threads may warn.
void SpeakThrough(AgentScreen* screen);

// What tells of an agent: AgentLog in lines for programs, AgentScreen in sentences for a person.
class AgentReporter : public AgentObserver, public ReadyObserver {
 public:
  using OnAssembly = std::function<void(const std::string& assembly)>;
  // What follows from what is reported; either may be empty.
  struct Followers {
    // Gets the assembly of every OnReady.
    OnAssembly ready;
    // Gets that of which the node is no longer a member, or has nothing.
    OnAssembly gone;
  };

  explicit AgentReporter(Followers followers) : followers_(std::move(followers)) {}

  virtual void OnWarmed(const std::string& assembly, const WarmReport& report) = 0;

 protected:
  void Ready(const std::string& assembly) const;
  void Gone(const std::string& assembly) const;

 private:
  const Followers followers_;
};

// One line per event; of failures that repeat, one line and then their count. Thread-safe.
class AgentLog final : public AgentReporter {
 public:
  // `clock` outlives this.
  AgentLog(Clock& clock, Followers followers)
      : AgentReporter(std::move(followers)), failures_(clock) {}

  void OnRegistered(const v1::Node& node, uint64_t epoch, bool again) override;
  void OnNameTaken(const absl::Status& status, int renewed) override;
  void OnJoined(const v1::Assembly& assembly, bool created) override;
  void OnLeft(const std::string& assembly) override;
  void OnMembershipFailed(const std::string& assembly, bool leaving,
                          const absl::Status& status) override;
  void OnNoRoom(const std::string& assembly, const std::string& why) override;
  void OnAssigned(const AssignmentChange& change) override;
  void OnAssignmentRefused(const std::string& assembly) override;
  void OnPinned(const std::string& assembly, const absl::Status& status) override;
  void OnShard(const ShardUpdate& update) override;
  void OnWaiting(const std::string& assembly, uint32_t shard, const std::string& location) override;
  void OnReady(const std::string& assembly, uint32_t shards, uint64_t bytes) override;
  void OnDisconnected(const absl::Status& status) override;
  void OnReconnected() override;
  void OnWarmed(const std::string& assembly, const WarmReport& report) override;
  void OnOffline(const NotedAssembly& noted) override;
  void OnNoteFailed(const std::string& assembly, const absl::Status& status) override;
  void OnView(const std::string& assembly, const ViewSummary& summary) override;
  void OnReadyFailed(const std::string& assembly, const absl::Status& status, bool again) override;
  void OnCommand(const std::string& assembly, const std::string& model_version,
                 const absl::StatusOr<int>& exit_code) override;

 private:
  // What lines end with while no server has answered yet.
  std::string Offline() const { return offline_ ? " offline=true" : ""; }
  void LogCount(const std::string& assembly, const RepeatedFailures::Count& count);

  RepeatedFailures failures_;
  std::atomic<bool> offline_{false};
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_AGENT_LOG_H_
