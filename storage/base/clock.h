// The time, as an argument.
//
// Thread-safe. Nothing outside storage/base and the mains asks the system for the time.
#ifndef MUSTER_STORAGE_BASE_CLOCK_H_
#define MUSTER_STORAGE_BASE_CLOCK_H_

#include "absl/time/time.h"

namespace muster {

class Clock {
 public:
  virtual ~Clock() = default;

  // The time of day, for records that people read. It may jump.
  virtual absl::Time Now() = 0;

  // Time since an arbitrary start, for leases, timeouts and rates. It never goes back.
  virtual absl::Duration Monotonic() = 0;

  // Blocks the calling thread for `duration`; a zero or negative one returns at once.
  virtual void SleepFor(absl::Duration duration) = 0;
};

// The operating system's clock. It lives for the whole process.
Clock& SystemClock();

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_CLOCK_H_
