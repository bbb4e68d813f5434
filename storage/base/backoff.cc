#include "storage/base/backoff.h"

#include <algorithm>

namespace muster {
namespace {

// A request to stop is noticed after this long at the latest.
constexpr absl::Duration kSleepSlice = absl::Milliseconds(50);

}  // namespace

absl::Duration Backoff::Next() {
  step_ = step_ == absl::ZeroDuration() ? options_.initial : step_ * options_.factor;
  step_ = std::min(step_, options_.max);
  return step_ * (0.5 + 0.5 * random_.NextDouble());
}

bool SleepUnlessStopped(Clock& clock, absl::Duration duration, const std::stop_token& stop) {
  const absl::Duration end = clock.Monotonic() + duration;
  while (!stop.stop_requested()) {
    const absl::Duration left = end - clock.Monotonic();
    if (left <= absl::ZeroDuration()) return true;
    clock.SleepFor(std::min(left, kSleepSlice));
  }
  return false;
}

}  // namespace muster
