#include "tests/support/fake_clock.h"

namespace muster {

absl::Time FakeClock::Now() {
  MutexLock lock(mutex_);
  return absl::FromUnixSeconds(1'700'000'000) + elapsed_ + stepped_;
}

absl::Duration FakeClock::Monotonic() {
  MutexLock lock(mutex_);
  return elapsed_;
}

void FakeClock::SleepFor(absl::Duration duration) { Advance(duration); }

void FakeClock::Advance(absl::Duration duration) {
  MutexLock lock(mutex_);
  elapsed_ += duration;
}

void FakeClock::StepTimeOfDay(absl::Duration by) {
  MutexLock lock(mutex_);
  stepped_ += by;
}

}  // namespace muster
