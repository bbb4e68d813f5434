// Logs what an agent does.
#ifndef MUSTER_CLIENT_CLI_AGENT_LOG_H_
#define MUSTER_CLIENT_CLI_AGENT_LOG_H_

#include <functional>
#include <string>
#include <utility>

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

// From now on warnings are sentences for a person; null: lines again, as at first. Not while other threads may warn.
void SpeakThrough(AgentScreen* screen);

// What tells of an agent: AgentLog in lines for programs, AgentScreen in sentences for a person.
class AgentReporter : public AgentObserver, public ReadyObserver {
 public:
  virtual void OnWarmed(const std::string& assembly, const WarmReport& report) = 0;
};

// One line per event; of failures that repeat, one line and then their count. Thread-safe.
class AgentLog final : public AgentReporter {
 public:
  // `on_ready`, which may be empty, gets the assembly of every OnReady.
  // `clock` outlives this.
  AgentLog(Clock& clock, std::function<void(const std::string& assembly)> on_ready)
      : failures_(clock), on_ready_(std::move(on_ready)) {}

  void OnRegistered(const v1::Node& node, uint64_t epoch, bool again) override;
  void OnNameTaken(const absl::Status& status, int renewed) override;
  void OnJoined(const v1::Assembly& assembly, bool created) override;
  void OnLeft(const std::string& assembly) override;
  void OnMembershipFailed(const std::string& assembly, bool leaving,
                          const absl::Status& status) override;
  void OnAssigned(const AssignmentChange& change) override;
  void OnAssignmentRefused(const std::string& assembly) override;
  void OnPinned(const std::string& assembly, const absl::Status& status) override;
  void OnShard(const ShardUpdate& update) override;
  void OnWaiting(const std::string& assembly, uint32_t shard, const std::string& location) override;
  void OnReady(const std::string& assembly, uint32_t shards, uint64_t bytes) override;
  void OnDisconnected(const absl::Status& status) override;
  void OnReconnected() override;
  void OnWarmed(const std::string& assembly, const WarmReport& report) override;
  void OnView(const std::string& assembly, const ViewSummary& summary) override;
  void OnReadyFailed(const std::string& assembly, const absl::Status& status, bool again) override;
  void OnCommand(const std::string& assembly, const std::string& model_version,
                 const absl::StatusOr<int>& exit_code) override;

 private:
  void LogCount(const std::string& assembly, const RepeatedFailures::Count& count);

  RepeatedFailures failures_;
  const std::function<void(const std::string& assembly)> on_ready_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_AGENT_LOG_H_
