// Decides what the end of a watch means: whether to watch again, and when.
#ifndef MUSTER_CLIENT_SDK_WATCH_RETRY_H_
#define MUSTER_CLIENT_SDK_WATCH_RETRY_H_

#include <functional>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "storage/base/backoff.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"

namespace muster {

struct WatchRetryOptions {
  absl::Duration timeout = absl::InfiniteDuration();
  // A server that was never reached is given up after this long.
  absl::Duration first_contact_timeout = absl::Seconds(60);
  // The server was reached already, by a call before the watch: a watch that says nothing until the timeout is over is
  // one on which nothing happened.
  bool reached = false;
  std::stop_token stop;
  BackoffOptions backoff;
  // Called when the watch broke and is about to be resumed; may be empty.
  std::function<void(const absl::Status&)> on_disconnect;
};

// Of one wait, which begins when this is made. Not thread-safe.
class WatchRetry {
 public:
  enum class Next {
    // The wait before it is over already.
    kWatchAgain,
    kStopped,
    kTimedOut,
    // The stream's status says why: no later attempt changes it, or the server was never reached.
    kFailed,
  };

  WatchRetry(Clock& clock, Random& random, const WatchRetryOptions& options);

  // What the timeout leaves.
  absl::Duration Left() const { return begin_ + options_.timeout - clock_.Monotonic(); }
  // A message came.
  void Heard();
  // A stream ended with `status`. Waits a little when the answer is kWatchAgain.
  Next After(const absl::Status& status);

 private:
  Clock& clock_;
  const WatchRetryOptions options_;
  Backoff backoff_;
  const absl::Duration begin_;
  bool heard_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_WATCH_RETRY_H_
