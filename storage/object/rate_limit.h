// A bound on bytes per second that any number of reads share.
#ifndef MUSTER_STORAGE_OBJECT_RATE_LIMIT_H_
#define MUSTER_STORAGE_OBJECT_RATE_LIMIT_H_

#include <cstdint>
#include <stop_token>

#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// A bucket of tokens, one per byte, that fills at the given rate and holds what comes in within
// kBurst. Thread-safe; callers are served in the order in which they came.
class RateLimit {
 public:
  // `bytes_per_second` is at least 1. `clock` outlives the limit.
  RateLimit(Clock& clock, int64_t bytes_per_second);

  // Blocks until `bytes` may pass; they may be more than the bucket holds. False when `stop` was
  // requested: the bytes count as passed all the same.
  bool Take(int64_t bytes, const std::stop_token& stop);

 private:
  // Short beside a transfer, long beside the time between two reads of a socket.
  static constexpr absl::Duration kBurst = absl::Milliseconds(100);

  Clock& clock_;
  const double bytes_per_second_;
  Mutex mutex_;
  // On the monotonic clock: when all bytes that were let through have been paid for.
  absl::Duration paid_at_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_RATE_LIMIT_H_
