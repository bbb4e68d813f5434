#include "client/agent/read_places.h"

#include "absl/strings/str_cat.h"
#include "client/agent/session.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// How long one call waits at the server: the longer, the fewer calls; but a shard that is no longer
// wanted should leave the queue soon.
constexpr absl::Duration kMaxWait = absl::Seconds(20);
// For a call that is not to wait.
constexpr absl::Duration kQuickTimeout = absl::Seconds(5);
constexpr absl::Duration kRetryWait = absl::Milliseconds(500);

// Whether a later call may bring a place.
bool MayRetry(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (reason == reasons::kNodeUnknown || reason == reasons::kNodeFenced) return true;
  return JudgeError(status) == Verdict::kRetry && !absl::IsNotFound(status) &&
         reason != reasons::kAssignmentGone;
}

}  // namespace

absl::StatusOr<bool> ReadPlaces::Ask(const Place& place, uint64_t epoch, absl::Duration max_wait,
                                     bool held, const CallOptions& call) {
  v1::AcquireReadRequest request;
  request.set_name(node_);
  request.set_epoch(epoch);
  request.set_shard(place.first);
  request.set_uri(place.second);
  request.mutable_max_wait()->set_seconds(absl::ToInt64Seconds(max_wait));
  request.set_held(held);
  MUSTER_ASSIGN_OR_RETURN(const v1::AcquireReadResponse response,
                          client_.AcquireRead(request, call));
  return response.granted();
}

absl::Status ReadPlaces::GiveBack(const Place& place, uint64_t epoch, const CallOptions& call) {
  v1::ReleaseReadRequest request;
  request.set_name(node_);
  request.set_epoch(epoch);
  request.set_shard(place.first);
  request.set_uri(place.second);
  return client_.ReleaseRead(request, call).status();
}

uint64_t ReadPlaces::AwaitTurn(const Place& place, const std::stop_token& stop) {
  MutexLock lock(state_.mutex);
  to_release_.erase(place);
  while (!stop.stop_requested() && (epoch_ == 0 || releasing_ == place)) {
    state_.Wait(absl::InfiniteDuration());
  }
  return epoch_;
}

absl::StatusOr<bool> ReadPlaces::Acquire(const std::string& shard, const std::string& uri,
                                         bool wait, const std::stop_token& stop) {
  const Place place(shard, uri);
  CallOptions call;
  call.stop = stop;
  if (!wait) call.timeout = kQuickTimeout;
  while (!stop.stop_requested()) {
    const uint64_t epoch = AwaitTurn(place, stop);
    const absl::StatusOr<bool> granted =
        Ask(place, epoch, wait ? kMaxWait : absl::ZeroDuration(), /*held=*/false, call);
    if (stop.stop_requested()) break;
    if (granted.ok() && *granted) {
      MutexLock lock(state_.mutex);
      held_.insert(place);
      return true;
    }
    if (!granted.ok() && !MayRetry(granted.status())) return granted.status();
    if (!wait) return false;
    if (!granted.ok() && !state_.Sleep(kRetryWait, stop)) break;
  }
  // The server may have given a place that nobody waits for any more.
  Release(shard, uri);
  return absl::CancelledError(absl::StrCat("the wait for a place at ", uri, " was stopped"));
}

void ReadPlaces::Release(const std::string& shard, const std::string& uri) {
  MutexLock lock(state_.mutex);
  const Place place(shard, uri);
  held_.erase(place);
  unclaimed_.erase(place);
  to_release_.insert(place);
  state_.changed.NotifyAll();
}

void ReadPlaces::BeginEpoch(uint64_t epoch) {
  MutexLock lock(state_.mutex);
  epoch_ = epoch;
  unclaimed_ = held_;
  state_.changed.NotifyAll();
}

void ReadPlaces::ClaimAgain() {
  MutexLock lock(state_.mutex);
  unclaimed_ = held_;
  state_.changed.NotifyAll();
}

bool ReadPlaces::ServeOne(const std::stop_token& stop) {
  std::optional<Place> claim;
  std::optional<Place> release;
  uint64_t epoch = 0;
  {
    MutexLock lock(state_.mutex);
    // Those first whom others wait for.
    if (!to_release_.empty()) {
      release = *to_release_.begin();
      to_release_.erase(to_release_.begin());
      releasing_ = release;
    } else if (!unclaimed_.empty()) {
      claim = *unclaimed_.begin();
      unclaimed_.erase(unclaimed_.begin());
    } else {
      return false;
    }
    epoch = epoch_;
  }
  CallOptions call;
  call.stop = stop;
  const absl::Status status =
      release.has_value() ? GiveBack(*release, epoch, call)
                          : Ask(*claim, epoch, absl::ZeroDuration(), /*held=*/true, call).status();
  // A node that the server does not know, or got to know again, has no places there.
  const bool again = !status.ok() && JudgeError(status) == Verdict::kRetry;
  {
    MutexLock lock(state_.mutex);
    releasing_.reset();
    if (again && release.has_value()) to_release_.insert(*release);
    if (again && claim.has_value() && held_.contains(*claim)) unclaimed_.insert(*claim);
    state_.changed.NotifyAll();
  }
  if (again) state_.Sleep(kRetryWait, stop);
  return true;
}

void ReadPlaces::Serve(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    if (ServeOne(stop)) continue;
    MutexLock lock(state_.mutex);
    if (!stop.stop_requested() && to_release_.empty() && unclaimed_.empty()) {
      state_.Wait(absl::InfiniteDuration());
    }
  }
}

void ReadPlaces::Flush(absl::Duration timeout) {
  std::set<Place> places;
  uint64_t epoch = 0;
  {
    MutexLock lock(state_.mutex);
    places.swap(to_release_);
    places.merge(held_);
    epoch = epoch_;
  }
  CallOptions call;
  call.timeout = timeout;
  for (const Place& place : places) {
    if (!GiveBack(place, epoch, call).ok()) return;
  }
}

}  // namespace muster
