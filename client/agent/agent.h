// A node's life: register, join, watch, fetch, report.
#ifndef MUSTER_CLIENT_AGENT_AGENT_H_
#define MUSTER_CLIENT_AGENT_AGENT_H_

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/agent/agent_observer.h"
#include "client/agent/agent_state.h"
#include "client/agent/cache_pinner.h"
#include "client/agent/memberships.h"
#include "client/agent/read_places.h"
#include "client/agent/session.h"
#include "client/agent/shard_fetcher.h"
#include "client/sdk/client.h"

namespace muster {

struct AgentOptions {
  // What becomes of the node's memberships when the agent is stopped.
  enum class OnStop { kStay, kLeave, kDeregister };

  // `name` is required; the agent sets `instance_id`.
  v1::Node node;
  // Unset: the server's default.
  std::optional<absl::Duration> lease_ttl;
  // RegisterNodeRequest.identity; "": the node is anybody's who registers it next.
  std::string identity;
  // Take the name at the first registration, whoever has it.
  bool take_over = false;
  // No assembly twice.
  std::vector<Membership> memberships;
  OnStop on_stop = OnStop::kStay;

  // Shards that are fetched at once, at least 1; each is fetched in parallel pieces besides.
  int parallel_shards = 2;
  // Between attempts of a shard that failed.
  BackoffOptions shard_retry = {absl::Seconds(1), absl::Seconds(60), 2.0};
  // Serves, without a server, what earlier lives of the agent noted; returns at once. Called once,
  // when no server answers at the start; from then on the agent tries for ever, as after a loss.
  // Empty: there is nothing to serve.
  std::function<void(const absl::Status& away)> serve_offline = {};
  // Between attempts to reach a server that was lost.
  BackoffOptions reconnect;
  absl::Duration report_gather = absl::Milliseconds(100);
  // Longest sleep of a thread before it looks at the clock again.
  absl::Duration wake_interval = absl::Seconds(1);
};

// Runs one node. Run is called once, by one thread; the agent has threads of its own meanwhile.
class Agent {
 public:
  // The arguments outlive the agent. The client's call timeout bounds the first contact with the
  // server.
  Agent(Client& client, ShardFetcher& fetcher, AgentObserver& observer, Clock& clock,
        Random& random, AgentOptions options);

  // Blocks until `stop` is requested (OK) or the node can't go on:
  // * kUnavailable: no server was reached at the start, and there is nothing to serve without. One that is lost later is waited for, for
  // ever.
  // * kAborted NODE_FENCED: another process registered under the node's name. The agent never
  // registers again by itself.
  // * kAborted NODE_NAME_TAKEN: another machine has the name, and renewed its lease while this one
  // waited for its end.
  // * kNotFound ASSEMBLY_UNKNOWN, VERSION_UNKNOWN: nothing to join, or nothing to make it of.
  // * kFailedPrecondition CLAIM_DIFFERS: the node is a member with another claim. ASSEMBLY_DIFFERS:
  // the assembly is not the one that the options describe; metadata `asked` and `found` show both.
  // NODE_TOO_SMALL: what would be the node's is more than its capacity.
  // * kInvalidArgument: the server refuses the node's name, a claim or another option.
  // Once all assemblies were joined, an assembly that can't be joined again is reported to the
  // observer and tried again, and the others carry on.
  absl::Status Run(const std::stop_token& stop);

  // Joins and leaves assemblies, so that the node becomes a member of just these; returns at once.
  // What can't be joined is reported to the observer and tried again. Thread-safe, before and
  // during Run.
  void SetMemberships(const std::vector<Membership>& memberships);

  // The cache was found not to hold this content (CheckedShard::ContentKey) any more. READY shards
  // with it are no longer said to be READY, and are fetched again; returns their number.
  // Thread-safe, before and during Run.
  int Recheck(const std::string& content_key);

  // What is assigned to the node in the assembly now, in order of shards. Thread-safe, as above.
  std::vector<v1::Shard> ShardsOf(const std::string& assembly);

 private:
  struct Registration {
    uint64_t epoch = 0;
    std::string history_id;
    absl::Duration heartbeat_interval;
  };

  absl::Status RunSessions(const std::stop_token& stop);
  absl::Status Enter(const std::stop_token& stop);
  bool GoOffline(const absl::Status& status);
  v1::RegisterNodeRequest MakeRegistration();
  absl::Status Register(const CallOptions& call);
  absl::StatusOr<v1::RegisterNodeResponse> AwaitName(CallOptions call);
  void SayGoodbye();
  absl::Status Explain(const absl::Status& status) const;

  Client& client_;
  ShardFetcher& fetcher_;
  AgentObserver& observer_;
  Random& random_;
  AgentOptions options_;
  ConnectionLog connection_;
  AgentState state_;
  ReadPlaces places_;
  CachePinner pinner_;
  Memberships memberships_;
  // Unset before the first registration, and from NODE_UNKNOWN to the next.
  std::optional<Registration> registration_;
  bool registered_once_ = false;
  // All assemblies were joined once, in this life or in the one whose notes are served.
  bool entered_ = false;
  // serve_offline was called.
  bool offline_ = false;
  // The same, with its request id, over all attempts of one registration: one that a lost reply
  // hides must not become a second, which could take the name from a process that registered in
  // between.
  std::optional<v1::RegisterNodeRequest> registering_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_AGENT_H_
