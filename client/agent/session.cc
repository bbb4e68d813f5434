// How one registration is kept up. A session is one epoch of the node:
//
// 1. Four threads beside the one that watches: heartbeats, reports, read places, memberships. The
//    first to find that the session can't continue ends it, and its status is the result.
// 2. JudgeError alone decides what an error means: register again or give up, which end the
//    session, or try again after a wait.
// 3. The watch resumes at the last revision that was applied as a whole; where the server no longer
//    keeps that, from a snapshot. The wait between attempts is reset only by a message that could
//    be applied, so a server that sends nonsense is not called without pause.
// 4. Heartbeats wait for nothing else, and carry how far fetches are.
// 5. Reports are gathered for a moment, then sent in batches of one assembly. What was left over
//    goes at once. A report about an assignment that is gone counts as delivered.
// 6. A success proves that the server is back only if no loss was noticed since its call began: a
//    reply from before the loss proves nothing. Then read places are claimed again.
#include "client/agent/session.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Bounds of what a server may ask for as the interval of heartbeats.
constexpr absl::Duration kMinHeartbeatInterval = absl::Milliseconds(100);
constexpr absl::Duration kMaxHeartbeatInterval = absl::Minutes(20);
// A heartbeat that failed is sent again after this long, or the interval where that is shorter.
constexpr absl::Duration kHeartbeatRetry = absl::Milliseconds(500);
// A heartbeat is of no use after the next one is due; but a slow network needs some time.
constexpr absl::Duration kMinHeartbeatTimeout = absl::Seconds(1);

}  // namespace

Verdict JudgeError(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (reason == reasons::kNodeUnknown || reason == reasons::kHistoryChanged) {
    return Verdict::kRegister;
  }
  if (reason == reasons::kNodeFenced || reason == reasons::kNodeNameTaken) return Verdict::kFatal;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
      return Verdict::kFatal;
    default:
      return Verdict::kRetry;
  }
}

void ConnectionLog::Lost(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    ++losses_;
    if (std::exchange(lost_, true)) return;
  }
  observer_.OnDisconnected(status);
}

bool ConnectionLog::Back(uint64_t losses) {
  {
    MutexLock lock(mutex_);
    if (losses != losses_ || !std::exchange(lost_, false)) return false;
  }
  observer_.OnReconnected();
  return true;
}

uint64_t ConnectionLog::losses() {
  MutexLock lock(mutex_);
  return losses_;
}

Session::Session(AgentState& state, Client& client, ReadPlaces& places, Memberships& memberships,
                 CachePinner& pinner, ConnectionLog& connection, AgentObserver& observer,
                 Random& random, const SessionOptions& options)
    : state_(state),
      client_(client),
      places_(places),
      memberships_(memberships),
      pinner_(pinner),
      connection_(connection),
      observer_(observer),
      random_(random),
      options_(options) {}

absl::Status Session::Run(const std::stop_token& stop) {
  const std::stop_callback on_stop(stop, [this] { End(absl::OkStatus()); });
  {
    // Heartbeats have a thread of their own, so that nothing that waits makes the node look dead.
    const std::jthread heartbeats([this] { SendHeartbeats(); });
    const std::jthread reports([this] { SendReports(); });
    const std::jthread places([this] { places_.Serve(stop_.get_token()); });
    const std::jthread memberships([this] { memberships_.Serve(stop_.get_token()); });
    Watch();
  }
  MutexLock lock(mutex_);
  return ended_with_;
}

void Session::End(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    if (std::exchange(ended_, true)) return;
    ended_with_ = status;
  }
  stop_.request_stop();
  state_.WakeAll();
}

bool Session::TryAgain(const absl::Status& status, absl::Duration wait) {
  if (stop_.stop_requested()) return false;
  if (JudgeError(status) != Verdict::kRetry) {
    End(status);
    return false;
  }
  return state_.Sleep(wait, stop_.get_token());
}

void Session::Watch() {
  Backoff backoff(random_, options_.reconnect);
  while (!stop_.stop_requested()) {
    const absl::Status status = WatchOnce(backoff);
    if (stop_.stop_requested()) return;
    if (absl::IsOutOfRange(status)) {
      MutexLock lock(state_.mutex);
      state_.table.ForgetRevision();
    } else if (JudgeError(status) == Verdict::kRetry) {
      connection_.Lost(status.ok() ? absl::UnavailableError("the server ended the watch") : status);
    }
    if (!TryAgain(status, backoff.Next())) return;
  }
}

absl::Status Session::WatchOnce(Backoff& backoff) {
  v1::WatchAssignmentsRequest request;
  request.set_node(options_.node);
  request.set_epoch(options_.epoch);
  {
    MutexLock lock(state_.mutex);
    state_.table.BeginStream();
    request.set_start_revision(state_.table.applied_revision());
  }
  request.set_history_id(options_.history_id);
  CallOptions call;
  call.stop = stop_.get_token();
  bad_message_ = absl::OkStatus();
  const absl::Status status = client_.WatchAssignments(
      request,
      [&](const v1::WatchAssignmentsResponse& message) {
        NoteBack(connection_.losses());
        if (!OnMessage(message)) return false;
        backoff.Reset();
        return true;
      },
      call);
  return bad_message_.ok() ? status : bad_message_;
}

bool Session::OnMessage(const v1::WatchAssignmentsResponse& message) {
  absl::StatusOr<AssignmentTable::Applied> applied;
  {
    MutexLock lock(state_.mutex);
    if (stop_.stop_requested()) return false;
    applied = state_.table.Apply(message);
    state_.changed.NotifyAll();
  }
  if (!applied.ok()) {
    bad_message_ = applied.status();
    return false;
  }
  for (std::stop_source& cancelled : applied->cancelled) cancelled.request_stop();
  for (const auto& change : applied->changes) observer_.OnAssigned(change);
  for (const std::string& assembly : applied->refused) observer_.OnAssignmentRefused(assembly);
  if (applied->whole) pinner_.SyncAll();
  TellReady();
  return true;
}

void Session::SendHeartbeats() {
  absl::Duration interval = options_.heartbeat_interval;
  while (!stop_.stop_requested()) {
    interval = std::clamp(interval, kMinHeartbeatInterval, kMaxHeartbeatInterval);
    const uint64_t losses = connection_.losses();
    const absl::StatusOr<absl::Duration> next = HeartbeatOnce(interval);
    if (next.ok()) {
      NoteBack(losses);
      if (*next > absl::ZeroDuration()) interval = *next;
      if (!state_.Sleep(interval, stop_.get_token())) return;
      continue;
    }
    if (stop_.stop_requested()) return;
    if (JudgeError(next.status()) == Verdict::kRetry) connection_.Lost(next.status());
    if (!TryAgain(next.status(), std::min(interval, kHeartbeatRetry))) return;
  }
}

absl::StatusOr<absl::Duration> Session::HeartbeatOnce(absl::Duration interval) {
  v1::HeartbeatRequest request;
  request.set_name(options_.node);
  request.set_epoch(options_.epoch);
  {
    MutexLock lock(state_.mutex);
    request.set_applied_revision(state_.table.applied_revision());
    for (v1::ShardProgress& progress : state_.table.Progress(kMaxItemsPerCall)) {
      *request.add_progress() = std::move(progress);
    }
  }
  CallOptions call;
  call.stop = stop_.get_token();
  call.timeout = std::max(interval, kMinHeartbeatTimeout);
  MUSTER_ASSIGN_OR_RETURN(const v1::HeartbeatResponse response, client_.Heartbeat(request, call));
  return absl::Seconds(response.heartbeat_interval().seconds()) +
         absl::Nanoseconds(response.heartbeat_interval().nanos());
}

void Session::SendReports() {
  Backoff backoff(random_, options_.reconnect);
  AssignmentTable::Batch last;
  while (true) {
    const std::optional<AssignmentTable::Batch> batch = AwaitReports(last);
    if (!batch.has_value()) return;
    const absl::Status status = ReportOnce(*batch);
    if (status.ok()) {
      last = *batch;
      backoff.Reset();
      TellReady();
    } else if (!TryAgain(status, backoff.Next())) {
      return;
    }
  }
}

// What did not fit into the `last` batch, or is of an assembly after it, has been gathered already
// and goes at once.
std::optional<AssignmentTable::Batch> Session::AwaitReports(const AssignmentTable::Batch& last) {
  MutexLock lock(state_.mutex);
  std::optional<absl::Duration> send_at;
  if (!last.reports.empty() && !stop_.stop_requested()) {
    AssignmentTable::Batch rest = state_.table.NextReports();
    const bool gathered = last.reports.size() == kMaxItemsPerCall || rest.assembly > last.assembly;
    if (gathered && !rest.reports.empty()) return rest;
  }
  while (!stop_.stop_requested()) {
    if (!state_.table.HasReports()) {
      send_at.reset();
      state_.Wait(absl::InfiniteDuration());
      continue;
    }
    const absl::Duration now = state_.clock.Monotonic();
    if (!send_at.has_value()) send_at = now + options_.report_gather;
    if (now >= *send_at) return state_.table.NextReports();
    state_.Wait(*send_at);
  }
  return std::nullopt;
}

absl::Status Session::ReportOnce(const AssignmentTable::Batch& batch) {
  v1::ReportShardsRequest request;
  request.set_node(options_.node);
  request.set_epoch(options_.epoch);
  request.set_assembly(batch.assembly);
  request.mutable_reports()->Add(batch.reports.begin(), batch.reports.end());
  request.set_sequence(++report_sequence_);
  CallOptions call;
  call.stop = stop_.get_token();
  const absl::Status status = client_.ReportShards(request, call).status();
  // Where an assignment or its assembly is gone the watch says so too; the report has nothing left
  // to be about.
  const std::string reason = ReasonOf(status);
  if (!status.ok() && reason != reasons::kAssignmentGone && reason != reasons::kAssemblyUnknown)
    return status;
  MutexLock lock(state_.mutex);
  state_.table.Reported(batch);
  return absl::OkStatus();
}

void Session::NoteBack(uint64_t losses) {
  if (connection_.Back(losses)) places_.ClaimAgain();
}

void Session::TellReady() {
  std::vector<std::pair<std::string, AssignmentTable::Totals>> ready;
  {
    MutexLock lock(state_.mutex);
    for (const std::string& assembly : state_.table.TakeNewlyReady()) {
      ready.emplace_back(assembly, state_.table.TotalsOf(assembly));
    }
  }
  for (const auto& [assembly, totals] : ready) {
    observer_.OnReady(assembly, totals.shards, totals.bytes);
  }
}

}  // namespace muster
