// One registration of a node, from its epoch to its end: watching, heartbeats,
// reports, places and memberships.
#ifndef MUSTER_CLIENT_AGENT_SESSION_H_
#define MUSTER_CLIENT_AGENT_SESSION_H_

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/agent/agent_observer.h"
#include "client/agent/agent_state.h"
#include "client/agent/cache_pinner.h"
#include "client/agent/memberships.h"
#include "client/agent/read_places.h"
#include "client/sdk/client.h"

namespace muster {

// What an error of a call that quotes the epoch means for the node.
enum class Verdict {
  // The server can't be reached or is busy: try again.
  kRetry,
  // The server does not know the node any more: register again.
  kRegister,
  // No later attempt helps: another process took the name, or the server refuses the call.
  kFatal,
};
Verdict JudgeError(const absl::Status& status);

// Says when the connection is lost and when it is back, once each. Thread-safe.
class ConnectionLog {
 public:
  explicit ConnectionLog(AgentObserver& observer) : observer_(observer) {}

  void Lost(const absl::Status& status);
  // The connection works, by a call that began when losses() was `losses`: an answer that was on
  // its way when the connection broke does not mend it.
  // True when it was lost before.
  bool Back(uint64_t losses);
  uint64_t losses();

 private:
  AgentObserver& observer_;
  Mutex mutex_;
  bool lost_ MUSTER_GUARDED_BY(mutex_) = false;
  uint64_t losses_ MUSTER_GUARDED_BY(mutex_) = 0;
};

struct SessionOptions {
  // "nodes/{node}".
  std::string node;
  uint64_t epoch = 0;
  // That the epoch is of.
  std::string history_id;
  absl::Duration heartbeat_interval;
  // Reports wait this long for others to go with them.
  absl::Duration report_gather;
  BackoffOptions reconnect;
};

class Session {
 public:
  // The arguments outlive the session.
  Session(AgentState& state, Client& client, ReadPlaces& places, Memberships& memberships,
          CachePinner& pinner, ConnectionLog& connection, AgentObserver& observer, Random& random,
          const SessionOptions& options);

  // Blocks until `stop` is requested (OK) or an error ends the session; JudgeError says what the
  // error means.
  absl::Status Run(const std::stop_token& stop);

 private:
  void Watch();
  absl::Status WatchOnce(Backoff& backoff);
  bool OnMessage(const v1::WatchAssignmentsResponse& message);
  void SendHeartbeats();
  absl::StatusOr<absl::Duration> HeartbeatOnce(absl::Duration interval);
  void SendReports();
  std::optional<AssignmentTable::Batch> AwaitReports(const AssignmentTable::Batch& last);
  absl::Status ReportOnce(const AssignmentTable::Batch& batch);
  void TellReady();
  // The connection works, by a call that began when there had been `losses`.
  void NoteBack(uint64_t losses);
  // Notes the first reason to end, and ends all loops.
  void End(const absl::Status& status);
  // Handles an error of a loop: true when the loop is to try again after a wait, which has passed.
  bool TryAgain(const absl::Status& status, absl::Duration wait);

  AgentState& state_;
  Client& client_;
  ReadPlaces& places_;
  Memberships& memberships_;
  CachePinner& pinner_;
  ConnectionLog& connection_;
  AgentObserver& observer_;
  Random& random_;
  const SessionOptions options_;
  std::stop_source stop_;
  // Used by the thread of the reports alone.
  uint64_t report_sequence_ = 0;
  Mutex mutex_;
  bool ended_ MUSTER_GUARDED_BY(mutex_) = false;
  absl::Status ended_with_ MUSTER_GUARDED_BY(mutex_);
  // What made a message of the watch unusable; used by the watch alone.
  absl::Status bad_message_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_SESSION_H_
