#include "storage/object/rate_limit.h"

#include <algorithm>

#include "storage/base/backoff.h"

namespace muster {

RateLimit::RateLimit(Clock& clock, int64_t bytes_per_second)
    : clock_(clock),
      bytes_per_second_(static_cast<double>(std::max<int64_t>(bytes_per_second, 1))),
      paid_at_(clock.Monotonic()) {}

bool RateLimit::Take(int64_t bytes, const std::stop_token& stop) {
  absl::Duration wait;
  {
    MutexLock lock(mutex_);
    const absl::Duration now = clock_.Monotonic();
    paid_at_ = std::max(paid_at_, now - kBurst) +
               absl::Seconds(static_cast<double>(bytes) / bytes_per_second_);
    wait = paid_at_ - now;
  }
  return SleepUnlessStopped(clock_, wait, stop);
}

}  // namespace muster
