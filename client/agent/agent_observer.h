// What an agent reports to its owner, for log lines and progress bars.
#ifndef MUSTER_CLIENT_AGENT_AGENT_OBSERVER_H_
#define MUSTER_CLIENT_AGENT_AGENT_OBSERVER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"

namespace muster {

// Called from the agent's threads, several at once, never under a lock; must not block for long.
// Every method does nothing unless it is overridden.
class AgentObserver {
 public:
  struct AssignmentChange {
    // "assemblies/{assembly}".
    std::string assembly;
    uint32_t assigned = 0;
    uint32_t unassigned = 0;
    // All that the node is to hold in this assembly after the change.
    uint32_t total_shards = 0;
    uint64_t total_bytes = 0;
  };
  struct ShardUpdate {
    std::string assembly;
    uint32_t shard = 0;
    uint64_t size_bytes = 0;
    // FETCHING, READY or FAILED.
    v1::ShardReport::State state = v1::ShardReport::STATE_UNSPECIFIED;
    // READY without a fetch: the cache held the shard already.
    bool from_cache = false;
    // Bytes that this attempt read from locations; fewer than the size where an earlier attempt had
    // got some.
    int64_t fetched_bytes = 0;
    // For FAILED: what the server is told, and all that this node knows.
    v1::ShardFailure failure;
    absl::Status error;
    // For FAILED: how often in a row.
    int failures = 0;
  };

  virtual ~AgentObserver() = default;

  // `again`: not the first time; the server had forgotten the node.
  virtual void OnRegistered(const v1::Node& node, uint64_t epoch, bool again);
  // Another machine has the node's name: told at first, and each time that its lease was to end and was renewed instead
  // (`renewed` times) or extended by the server.
  virtual void OnNameTaken(const absl::Status& status, int renewed);
  virtual void OnJoined(const v1::Assembly& assembly, bool created);
  virtual void OnLeft(const std::string& assembly);
  // The node can't become a member (`leaving`: can't leave); it is tried again. Reported again only
  // when the reason is another one.
  virtual void OnMembershipFailed(const std::string& assembly, bool leaving,
                                  const absl::Status& status);
  // The node was left without shards, as what is its in the assembly has no room on it; `why` has the numbers. It is
  // tried again when there is more room. Once each time that the numbers differ.
  virtual void OnNoRoom(const std::string& assembly, const std::string& why);
  virtual void OnAssigned(const AssignmentChange& change);
  // Others made the node a member of an assembly that it was not told to join; what is assigned to it there is left out.
  // Once per assembly.
  virtual void OnAssignmentRefused(const std::string& assembly);
  // What the assembly needs is in the cache but can't be pinned there (or, later, can again: OK), so that others may
  // evict it. Once each time.
  virtual void OnPinned(const std::string& assembly, const absl::Status& status);
  virtual void OnShard(const ShardUpdate& update);
  // The shard's fetch waits for a place at a bounded location.
  virtual void OnWaiting(const std::string& assembly, uint32_t shard, const std::string& location);
  virtual void OnProgress(const std::string& assembly, uint32_t shard, uint64_t done_bytes,
                          uint64_t size_bytes);
  // Every shard that is assigned to the node in the assembly is READY, and the server knows.
  virtual void OnReady(const std::string& assembly, uint32_t shards, uint64_t bytes);
  // The server can't be reached; the agent keeps trying.
  virtual void OnDisconnected(const absl::Status& status);
  virtual void OnReconnected();
};

inline void AgentObserver::OnRegistered(const v1::Node&, uint64_t, bool) {}
inline void AgentObserver::OnNameTaken(const absl::Status&, int) {}
inline void AgentObserver::OnJoined(const v1::Assembly&, bool) {}
inline void AgentObserver::OnLeft(const std::string&) {}
inline void AgentObserver::OnMembershipFailed(const std::string&, bool, const absl::Status&) {}
inline void AgentObserver::OnNoRoom(const std::string&, const std::string&) {}
inline void AgentObserver::OnAssigned(const AssignmentChange&) {}
inline void AgentObserver::OnAssignmentRefused(const std::string&) {}
inline void AgentObserver::OnPinned(const std::string&, const absl::Status&) {}
inline void AgentObserver::OnShard(const ShardUpdate&) {}
inline void AgentObserver::OnWaiting(const std::string&, uint32_t, const std::string&) {}
inline void AgentObserver::OnProgress(const std::string&, uint32_t, uint64_t, uint64_t) {}
inline void AgentObserver::OnReady(const std::string&, uint32_t, uint64_t) {}
inline void AgentObserver::OnDisconnected(const absl::Status&) {}
inline void AgentObserver::OnReconnected() {}

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_AGENT_OBSERVER_H_
