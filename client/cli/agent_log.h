// Tells the log what an agent does.
#ifndef MUSTER_CLIENT_CLI_AGENT_LOG_H_
#define MUSTER_CLIENT_CLI_AGENT_LOG_H_

#include <string>

#include "client/agent/agent_observer.h"

namespace muster {

// Sends spdlog's lines to stderr, one event each, as key=value.
void SetUpLog(const std::string& level);

// A warning of the node's own: "warning message=…".
void LogWarning(const std::string& message);

// One line per event. Thread-safe.
class AgentLog final : public AgentObserver {
 public:
  void OnRegistered(const v1::Node& node, uint64_t epoch, bool again) override;
  void OnJoined(const v1::Assembly& assembly, bool created) override;
  void OnAssigned(const AssignmentChange& change) override;
  void OnShard(const ShardUpdate& update) override;
  void OnWaiting(const std::string& assembly, uint32_t shard, const std::string& location) override;
  void OnReady(const std::string& assembly, uint32_t shards, uint64_t bytes) override;
  void OnDisconnected(const absl::Status& status) override;
  void OnReconnected() override;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_AGENT_LOG_H_
