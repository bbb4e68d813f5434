#include "client/cli/rate_meter.h"

#include <algorithm>

namespace muster {
namespace {

constexpr absl::Duration kWindow = absl::Seconds(10);
// Bounds the number of samples.
constexpr absl::Duration kSpacing = absl::Milliseconds(100);

}  // namespace

void RateMeter::Add(absl::Duration now, int64_t done) {
  // The newest one moves along until it is far enough from the one before.
  const size_t count = samples_.size();
  if (count >= 2 && samples_[count - 1].time - samples_[count - 2].time < kSpacing) {
    samples_.back() = {now, done};
  } else {
    samples_.push_back({now, done});
  }
  // One that is older than the window stays: it is where the window begins.
  while (samples_.size() > 2 && samples_[1].time <= now - kWindow) samples_.pop_front();
}

double RateMeter::PerSecond() const {
  if (samples_.size() < 2) return 0;
  const double seconds = absl::ToDoubleSeconds(samples_.back().time - samples_.front().time);
  const int64_t done = samples_.back().done - samples_.front().done;
  return seconds <= 0 ? 0 : static_cast<double>(std::max<int64_t>(done, 0)) / seconds;
}

}  // namespace muster
