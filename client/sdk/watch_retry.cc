#include "client/sdk/watch_retry.h"

#include <algorithm>

namespace muster {
namespace {

// Errors that no later attempt changes.
bool IsFinal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kFailedPrecondition:
      return true;
    default:
      return false;
  }
}

}  // namespace

WatchRetry::WatchRetry(Clock& clock, Random& random, const WatchRetryOptions& options)
    : clock_(clock),
      options_(options),
      backoff_(random, options.backoff),
      begin_(clock.Monotonic()),
      heard_(options.reached) {}

void WatchRetry::Heard() {
  heard_ = true;
  backoff_.Reset();
}

WatchRetry::Next WatchRetry::After(const absl::Status& status) {
  if (options_.stop.stop_requested()) return Next::kStopped;
  if (Left() <= absl::ZeroDuration()) {
    return heard_ || status.ok() ? Next::kTimedOut : Next::kFailed;
  }
  if (IsFinal(status)) return Next::kFailed;
  // A server that calls the revision too old was reached.
  if (!heard_ && !absl::IsOutOfRange(status) &&
      clock_.Monotonic() - begin_ >= options_.first_contact_timeout) {
    return Next::kFailed;
  }
  if (options_.on_disconnect && !status.ok()) options_.on_disconnect(status);
  SleepUnlessStopped(clock_, std::min(backoff_.Next(), Left()), options_.stop);
  return Next::kWatchAgain;
}

}  // namespace muster
