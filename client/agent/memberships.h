// The assemblies that a node is to be a member of, and the calls that make it one.
#ifndef MUSTER_CLIENT_AGENT_MEMBERSHIPS_H_
#define MUSTER_CLIENT_AGENT_MEMBERSHIPS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/agent/agent_observer.h"
#include "client/agent/agent_state.h"
#include "client/agent/cache_pinner.h"
#include "client/sdk/client.h"
#include "storage/base/backoff.h"

namespace muster {

struct Membership {
  // "assemblies/{assembly}".
  std::string assembly;
  v1::Claim claim;
  // Creates the assembly if it is absent: model_version and policy are required, min_nodes and
  // replicas have the server's defaults. One that is there and differs is refused. Unset: the
  // assembly must be there.
  std::optional<v1::Assembly> create;
};

// Thread-safe. Outlives sessions.
class Memberships {
 public:
  // The references outlive it. `node` is the full name; no assembly is in `wanted` twice.
  Memberships(AgentState& state, Client& client, CachePinner& pinner, AgentObserver& observer,
              Random& random, std::string node, std::vector<Membership> wanted,
              BackoffOptions retry);

  // Looks every assembly up, and creates it where that was asked for and it is absent. Errors as
  // Agent::Run has them.
  absl::Status Check(const CallOptions& call);
  // Joins every assembly that is not joined in this epoch.
  absl::Status JoinAll(const CallOptions& call);

  // Under this epoch of the node with this uid calls are made from now on; every assembly has to be joined again.
  void BeginEpoch(uint64_t epoch, const std::string& node_uid);

  // From now on the node is to be a member of these: others are left, new ones are joined, and what
  // has another claim now is left and joined again. Serve does it.
  void Set(const std::vector<Membership>& wanted);

  // Joins and leaves, as that becomes necessary, until `stop`. What the server refuses is reported
  // to the observer and tried again with a growing wait; it stands in nobody's way.
  void Serve(const std::stop_token& stop);

  // What is wanted now.
  std::vector<std::string> Assemblies();

  // Leaves all of them, and lets their shards go. `call` bounds each call; stops at the first error.
  void LeaveAll(const CallOptions& call);

 private:
  struct Entry {
    Membership membership;
    // False: it is only here to be left.
    bool wanted = true;
    // Made by Check; reported when it is joined.
    bool created = false;
    bool joined = false;
    // Comes before joining: the node is a member that it must not be, or under another claim.
    bool leave = false;
    // Of the assembly that was joined.
    std::string uid = {};
    // That one was found to be gone.
    bool gone = false;
    Backoff backoff;
    // By the clock; nothing is tried before.
    absl::Duration not_before = absl::ZeroDuration();
    // While it is joined and assigns nothing: when to look whether it still is what was joined.
    Backoff look_backoff;
    std::optional<absl::Duration> look_at = {};
    // What was last reported to the observer: an error, and why the node gets no shards.
    std::string told = {};
    std::string told_problem = {};
  };
  // One thing to do, as it was when it was chosen.
  struct Step {
    // The last one is of no assembly: see CachePinner::LetGoOfGone.
    enum class Kind { kJoin, kLeave, kLook, kLetGoOfGone };

    Membership membership;
    Kind kind = Kind::kJoin;
    bool created = false;
    uint64_t epoch = 0;
    uint64_t version = 0;
  };

  // What a step learns of the assembly.
  struct Seen {
    std::string uid;
    // AssemblyMember.problem.
    std::string problem = {};
  };

  // True when it was created by this call.
  absl::StatusOr<bool> Ensure(const Membership& membership, const CallOptions& call);
  absl::StatusOr<Seen> Join(const Membership& membership, bool created, uint64_t epoch,
                            const CallOptions& call);
  absl::Status Leave(const std::string& assembly, uint64_t epoch, const CallOptions& call);
  absl::StatusOr<Seen> Look(const std::string& assembly, const CallOptions& call);
  absl::StatusOr<Seen> Carry(const Step& step, const CallOptions& call);
  // The next thing to do once its time has come; unset once `stop` was requested.
  std::optional<Step> AwaitStep(const std::stop_token& stop);
  // What is due by `now`; otherwise `until` becomes when something will be.
  std::optional<Step> Due(absl::Duration now, absl::Duration& until) MUSTER_REQUIRES(state_.mutex);
  // The same for a look at one that is joined.
  bool DueForALook(const std::string& assembly, Entry& entry, absl::Duration now,
                   absl::Duration& until) MUSTER_REQUIRES(state_.mutex);
  void LetGoOfGone(const CallOptions& call);
  void Done(const Step& step, const absl::StatusOr<Seen>& seen);
  // True where the node has a problem that was not told yet.
  bool Looked(Entry& entry, const absl::StatusOr<Seen>& seen) MUSTER_REQUIRES(state_.mutex);
  // The table takes assignments of these only.
  void TellTable() MUSTER_REQUIRES(state_.mutex);
  std::vector<Step> StepsToJoin();

  AgentState& state_;
  Client& client_;
  CachePinner& pinner_;
  AgentObserver& observer_;
  Random& random_;
  const std::string node_;
  const BackoffOptions retry_;
  uint64_t epoch_ MUSTER_GUARDED_BY(state_.mutex) = 0;
  // Changes with epoch_ and with what is wanted: what was learnt by a call from before says nothing.
  uint64_t version_ MUSTER_GUARDED_BY(state_.mutex) = 0;
  std::string node_uid_ MUSTER_GUARDED_BY(state_.mutex);
  // When to look what other nodes of the cache keep for assemblies that are gone; unset: not before there is a reason.
  std::optional<absl::Duration> let_go_at_ MUSTER_GUARDED_BY(state_.mutex);
  Backoff let_go_backoff_ MUSTER_GUARDED_BY(state_.mutex);
  // By assembly.
  std::map<std::string, Entry> entries_ MUSTER_GUARDED_BY(state_.mutex);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_MEMBERSHIPS_H_
