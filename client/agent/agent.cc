// A node's life is this state machine; Run is its loop, Enter its first three states and Session
// its fourth.
//
// 1. CHECKING: every assembly is looked up, and created where that was asked for. It comes before
//    REGISTERING, so that an agent that was started with a wrong name or against a server that is
//    down does not fence off a good one.
// 2. REGISTERING: the node gets an epoch, once the lease of another machine that has its name is
//    over; the server resets its reports. What the agent holds is
//    reported again: READY only after the cache has vouched for it again, without a fetch.
// 3. JOINING: the node joins each assembly with its claim; the same claim again changes nothing.
//    Once this has come to its end, 1 and 3 are left out and done by 4e: an assembly that is gone
//    is nothing that the others wait for.
// 4. RUNNING, five loops at once, beside the fetch threads that outlive them:
//    a. watch: one stream for all assemblies, snapshot then deltas; resumed after the last whole
//       revision, and from a snapshot when that revision is compacted;
//    b. heartbeats, on a thread of their own, with the applied revision and the bytes of the
//       fetches under way;
//    c. reports: changes of state, gathered shortly, at most 1,000 a call, sent again until the
//       server has answered;
//    d. places at bounded locations: those that fetches have done with are given back, and those
//       that they hold are claimed again when the connection or the epoch is another one;
//    e. memberships: assemblies that the node has yet to join in this epoch, or is to leave.
// 5. STOPPED, by the caller, or by an error that no later attempt changes.
//
// Transitions out of 2, 3 and 4: NODE_UNKNOWN leads to 2, since the server has forgotten the node;
// NODE_FENCED and NODE_NAME_TAKEN to 5, since another process has the name; errors that a retry may
// cure (an assembly that a server without its store has yet to get again is one) stay in the state,
// with a growing wait, except before the first registration, when they lead to 5. Where no server
// answers by then and earlier lives noted something to serve (noted_assembly.h), that is served, and
// 2 is tried for as long as it takes; nothing of it is READY for a server before 4 has said so. A
// shard that can't be fetched changes nothing here: it is FAILED, reported, and tried again by the
// fetch threads.
#include "client/agent/agent.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/fetch_pool.h"
#include "client/agent/name_wait.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// For the farewell, which nobody waits for longer.
constexpr absl::Duration kLeaveTimeout = absl::Seconds(3);
// Engines wait for what can be served without a server.
constexpr absl::Duration kAwayAfter = absl::Seconds(5);
// Where the server names no interval; a third of its default lease.
constexpr absl::Duration kDefaultHeartbeatInterval = absl::Seconds(3);

}  // namespace

Agent::Agent(Client& client, ShardFetcher& fetcher, AgentObserver& observer, Clock& clock,
             Random& random, AgentOptions options)
    : client_(client),
      fetcher_(fetcher),
      observer_(observer),
      random_(random),
      options_(std::move(options)),
      connection_(observer),
      state_(clock, random, options_.shard_retry, options_.wake_interval),
      places_(state_, client, options_.node.name()),
      pinner_(state_, fetcher),
      memberships_(state_, client, pinner_, observer, random, options_.node.name(),
                   options_.memberships, options_.reconnect) {
  options_.node.set_instance_id(random.NextId());
}

absl::Status Agent::Run(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] { state_.WakeAll(); });
  const absl::Status status = RunSessions(stop);
  // Others wait for them; those that can't be given back now go with the lease.
  if (registration_.has_value()) places_.Flush(kLeaveTimeout);
  if (!stop.stop_requested()) return Explain(status);
  SayGoodbye();
  return absl::OkStatus();
}

void Agent::SetMemberships(const std::vector<Membership>& memberships) {
  memberships_.Set(memberships);
}

int Agent::Recheck(const std::string& content_key) {
  MutexLock lock(state_.mutex);
  state_.changed.NotifyAll();
  return state_.table.Recheck(content_key);
}

std::vector<v1::Shard> Agent::ShardsOf(const std::string& assembly) {
  MutexLock lock(state_.mutex);
  return state_.table.ShardsOf(assembly);
}

absl::Status Agent::RunSessions(const std::stop_token& stop) {
  Backoff backoff(random_, options_.reconnect);
  std::optional<FetchPool> pool;
  while (!stop.stop_requested()) {
    absl::Status status = Enter(stop);
    if (status.ok()) {
      if (!pool.has_value()) {
        pool.emplace(state_, client_, places_, pinner_, fetcher_, observer_,
                     std::max(options_.parallel_shards, 1));
      }
      Session session(
          state_, client_, places_, memberships_, pinner_, connection_, observer_, random_,
          {options_.node.name(), registration_->epoch, registration_->history_id,
           registration_->heartbeat_interval, options_.report_gather, options_.reconnect});
      const absl::Duration begin = state_.clock.Monotonic();
      status = session.Run(stop);
      // A node that is forgotten as often as it registers must not do so in a tight loop.
      if (state_.clock.Monotonic() - begin > options_.reconnect.max) backoff.Reset();
    }
    if (stop.stop_requested()) break;
    const Verdict verdict = JudgeError(status);
    if (verdict == Verdict::kFatal) return status;
    if (!registered_once_ && !offline_ && !GoOffline(status)) return status;
    if (verdict == Verdict::kRegister) registration_.reset();
    if (verdict == Verdict::kRetry) connection_.Lost(status);
    state_.Sleep(backoff.Next(), stop);
  }
  return absl::OkStatus();
}

// The node was a member when it last knew, so an assembly that the server has no more is reported
// later, and tried again, as in any other agent that runs.
bool Agent::GoOffline(const absl::Status& status) {
  const bool away = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
  if (!away || !options_.serve_offline) return false;
  offline_ = true;
  entered_ = true;
  options_.serve_offline(status);
  return true;
}

absl::Status Agent::Enter(const std::stop_token& stop) {
  CallOptions call;
  call.stop = stop;
  const bool first_contact = !registered_once_ && !offline_;
  if (first_contact && options_.serve_offline) call.timeout = kAwayAfter;
  if (first_contact) MUSTER_RETURN_IF_ERROR(memberships_.Check(call));
  if (!registration_.has_value()) MUSTER_RETURN_IF_ERROR(Register(call));
  if (!entered_) MUSTER_RETURN_IF_ERROR(memberships_.JoinAll(call));
  entered_ = true;
  return absl::OkStatus();
}

v1::RegisterNodeRequest Agent::MakeRegistration() {
  v1::RegisterNodeRequest request;
  *request.mutable_node() = options_.node;
  request.set_request_id(random_.NextId());
  request.set_cached_digests(fetcher_.Inventory());
  request.set_identity(options_.identity);
  request.set_take_over(options_.take_over && !registered_once_);
  if (options_.lease_ttl.has_value()) {
    const absl::Duration ttl = *options_.lease_ttl;
    request.mutable_lease_ttl()->set_seconds(absl::ToInt64Seconds(ttl));
    request.mutable_lease_ttl()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(ttl % absl::Seconds(1))));
  }
  return request;
}

// Registers, once the lease of another machine that has the name is over.
absl::StatusOr<v1::RegisterNodeResponse> Agent::AwaitName(CallOptions call) {
  call.returned_reason = reasons::kNodeNameTaken;
  NameWait name;
  while (true) {
    absl::StatusOr<v1::RegisterNodeResponse> response = client_.RegisterNode(*registering_, call);
    if (ReasonOf(response.status()) != reasons::kNodeNameTaken) return response;
    if (name.Note(response.status(), state_.clock.Monotonic())) {
      observer_.OnNameTaken(response.status(), name.renewed());
    }
    if (name.in_vain()) return response;
    if (!state_.Sleep(name.wait(), call.stop)) {
      return absl::CancelledError("stopped while another machine had the node's name");
    }
  }
}

absl::Status Agent::Register(const CallOptions& call) {
  if (!registering_.has_value()) registering_ = MakeRegistration();
  MUSTER_ASSIGN_OR_RETURN(const v1::RegisterNodeResponse response, AwaitName(call));
  {
    MutexLock lock(state_.mutex);
    state_.table.ForgetRevision();
    state_.table.BeginEpoch();
    state_.changed.NotifyAll();
  }
  registering_.reset();
  Registration registration;
  registration.epoch = response.epoch();
  registration.history_id = response.history_id();
  registration.heartbeat_interval = absl::Seconds(response.heartbeat_interval().seconds()) +
                                    absl::Nanoseconds(response.heartbeat_interval().nanos());
  if (registration.heartbeat_interval <= absl::ZeroDuration()) {
    registration.heartbeat_interval = kDefaultHeartbeatInterval;
  }
  registration_ = registration;
  places_.BeginEpoch(registration.epoch);
  memberships_.BeginEpoch(registration.epoch, response.node().uid());
  const bool again = std::exchange(registered_once_, true);
  observer_.OnRegistered(response.node(), response.epoch(), again);
  return absl::OkStatus();
}

void Agent::SayGoodbye() {
  if (!registration_.has_value() || options_.on_stop == AgentOptions::OnStop::kStay) return;
  CallOptions call;
  call.timeout = kLeaveTimeout;
  // The lease will reveal what can't be said now; nobody is left to report an error to.
  if (options_.on_stop == AgentOptions::OnStop::kLeave) return memberships_.LeaveAll(call);
  v1::DeregisterNodeRequest request;
  request.set_name(options_.node.name());
  request.set_epoch(registration_->epoch);
  if (!client_.DeregisterNode(request, call).ok()) return;
  for (const std::string& assembly : memberships_.Assemblies()) {
    pinner_.LetGo(assembly);
    observer_.OnLeft(assembly);
  }
}

absl::Status Agent::Explain(const absl::Status& status) const {
  const std::string reason = ReasonOf(status);
  const std::string& node = options_.node.name();
  std::string way_out;
  if (reason == reasons::kNodeFenced) {
    way_out = absl::StrCat("another process registered as ", node,
                           "; this agent stops. Give each agent a node name of its own");
  } else if (reason == reasons::kNodeNameTaken) {
    way_out = "that agent is alive: it renewed its lease while this one waited";
  } else if (reason == reasons::kClaimDiffers) {
    way_out = absl::StrCat(
        node, " is a member with another claim; use that claim, or leave the assembly first");
  } else if (reason == reasons::kAssemblyUnknown) {
    way_out = "create the assembly first, or give the agent its model version and policy";
  } else {
    return status;
  }
  absl::Status explained(status.code(), absl::StrCat(status.message(), " (", way_out, ")"));
  return WithDetail(explained, DetailOf(status));
}

}  // namespace muster
