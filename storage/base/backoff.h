// Growing, jittered waits between attempts.
#ifndef MUSTER_STORAGE_BASE_BACKOFF_H_
#define MUSTER_STORAGE_BASE_BACKOFF_H_

#include <stop_token>

#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"

namespace muster {

struct BackoffOptions {
  absl::Duration initial = absl::Milliseconds(100);
  absl::Duration max = absl::Seconds(5);
  // Each wait is this many times the one before.
  double factor = 2.0;
};

// The waits of one series of attempts. Not thread-safe.
class Backoff {
 public:
  Backoff(Random& random, const BackoffOptions& options) : random_(random), options_(options) {}

  // The next wait: between half of the present step and all of it, so that clients which failed
  // together don't come back together.
  absl::Duration Next();

  // Begins again at the smallest step; for after a success.
  void Reset() { step_ = absl::ZeroDuration(); }

 private:
  Random& random_;
  const BackoffOptions options_;
  absl::Duration step_;
};

// Sleeps for `duration`, or until shortly after `stop` is requested. False when it was.
bool SleepUnlessStopped(Clock& clock, absl::Duration duration, const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_BACKOFF_H_
