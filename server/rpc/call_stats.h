// Counts and times of calls, and the one log line that each failed call gets.
#ifndef MUSTER_SERVER_RPC_CALL_STATS_H_
#define MUSTER_SERVER_RPC_CALL_STATS_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe.
class CallStats {
 public:
  // A call that is under way. `method` is a literal. `peer` is wanted by the End of a failed call
  // only.
  struct Call {
    const char* method;
    absl::Duration start;
    std::string peer;
  };

  // The clock outlives the object.
  explicit CallStats(Clock& clock) : clock_(clock) {}

  Call Begin(const char* method, std::string peer);

  // Counts the call and logs a failure: method, code, reason, time, peer, message. Values that a
  // caller sent are escaped.
  void End(const Call& call, const absl::Status& status);

  // One line a method: count, errors, and percentiles of the times.
  void LogSummary() MUSTER_EXCLUDES(mutex_);

 private:
  // Bucket i holds times below 2^i microseconds.
  static constexpr size_t kBuckets = 36;
  struct Method {
    uint64_t calls = 0;
    uint64_t errors = 0;
    std::array<uint64_t, kBuckets> buckets{};
  };

  Clock& clock_;
  Mutex mutex_;
  absl::flat_hash_map<absl::string_view, Method> methods_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_CALL_STATS_H_
