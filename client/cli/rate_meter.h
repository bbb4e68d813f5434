// How fast something goes now.
#ifndef MUSTER_CLIENT_CLI_RATE_METER_H_
#define MUSTER_CLIENT_CLI_RATE_METER_H_

#include <cstdint>
#include <deque>

#include "absl/time/time.h"

namespace muster {

// Over the last seconds only, since what was found in a cache, or stood still for an hour, says nothing about the time
// that is left. Not thread-safe.
class RateMeter {
 public:
  // `done` is all that was done by the monotonic time `now`.
  void Add(absl::Duration now, int64_t done);
  // Per second; 0 while that is not known, and while nothing goes on.
  double PerSecond() const;

 private:
  struct Sample {
    absl::Duration time;
    int64_t done = 0;
  };
  std::deque<Sample> samples_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_RATE_METER_H_
