#include "storage/base/clock.h"

#include <chrono>
#include <thread>

#include "absl/time/clock.h"

namespace muster {
namespace {

class OsClock final : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }

  absl::Duration Monotonic() override {
    return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }

  void SleepFor(absl::Duration duration) override {
    if (duration > absl::ZeroDuration()) {
      std::this_thread::sleep_for(absl::ToChronoNanoseconds(duration));
    }
  }
};

}  // namespace

Clock& SystemClock() {
  static OsClock clock;
  return clock;
}

}  // namespace muster
