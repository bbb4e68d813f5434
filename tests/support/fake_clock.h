// A clock that moves only when a test moves it.
#ifndef MUSTER_TESTS_SUPPORT_FAKE_CLOCK_H_
#define MUSTER_TESTS_SUPPORT_FAKE_CLOCK_H_

#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe. SleepFor advances the clock itself and returns at once.
class FakeClock final : public Clock {
 public:
  absl::Time Now() override;
  absl::Duration Monotonic() override;
  void SleepFor(absl::Duration duration) override;

  void Advance(absl::Duration duration);
  // Sets the time of day forward or back; Monotonic does not notice.
  void StepTimeOfDay(absl::Duration by);

 private:
  Mutex mutex_;
  absl::Duration elapsed_ MUSTER_GUARDED_BY(mutex_);
  absl::Duration stepped_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_FAKE_CLOCK_H_
