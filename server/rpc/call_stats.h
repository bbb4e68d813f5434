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
  // Since then.
  absl::Duration Elapsed(const Call& call) const { return clock_.Monotonic() - call.start; }

  // Counts the call and logs a failure: method, code, reason, time, peer, message. Values that a
  // caller sent are escaped. Of failures of one method for one reason kFailuresLogged a second are
  // logged; the next one that is says how many were left out before it.
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

  static constexpr uint32_t kFailuresLogged = 10;
  // Failures of one method for one reason.
  struct Failures {
    absl::Duration window_start = -absl::InfiniteDuration();
    uint32_t logged = 0;
    uint64_t left_out = 0;
  };

  // Whether the failure is to be logged; `*left_out` were not since the last one that was.
  bool MayLog(const char* method, const absl::Status& status, uint64_t* left_out)
      MUSTER_EXCLUDES(mutex_);

  Clock& clock_;
  Mutex mutex_;
  // By method, code and reason: all of them the server's own words, so that they are few.
  absl::flat_hash_map<std::string, Failures> failures_ MUSTER_GUARDED_BY(mutex_);
  absl::flat_hash_map<absl::string_view, Method> methods_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_CALL_STATS_H_
