// Second reads of steps that take too long: which step deserves one, and which read wins.
#ifndef MUSTER_CLIENT_TRANSFER_STEP_RACE_H_
#define MUSTER_CLIENT_TRANSFER_STEP_RACE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <vector>

#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// When a piece is fetched a second time, from another location.
struct HedgeOptions {
  // So many times the median of its peers of the same shard.
  double slow_factor = 3;
  // Never before this, however fast its peers were.
  absl::Duration slow_min = absl::Milliseconds(200);
  // While fewer than kPeersMin pieces have come.
  absl::Duration slow_without_peers = absl::Seconds(3);
  // Bound on the bytes of second reads, as a part of the bytes of all shards that were pulled so far.
  double extra_bytes = 0.05;
};

// The bytes that second reads may cost, over all pulls. Thread-safe.
class HedgeBudget {
 public:
  explicit HedgeBudget(double extra_bytes) : extra_bytes_(extra_bytes) {}

  // A pull of `bytes` begins.
  void Add(int64_t bytes);
  // False when `bytes` more would be too many.
  bool Take(int64_t bytes);

 private:
  const double extra_bytes_;
  Mutex mutex_;
  int64_t pulled_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  int64_t extra_taken_ MUSTER_GUARDED_BY(mutex_) = 0;
};

// The steps of one pull that are being read. Each has one first reader, and at most once in its life a
// second one; they have buffers of their own, and whoever wins is the only one to hand on what it
// read. Thread-safe.
class StepRace {
 public:
  static constexpr size_t kPeersMin = 3;

  // `clock` outlives the race.
  StepRace(Clock& clock, const HedgeOptions& options) : clock_(clock), options_(options) {}

  // First reader: the step begins. The token is stopped once the second one has won, or with `stop`.
  std::stop_token Begin(size_t step, const std::stop_token& stop);
  // First reader: a read of `bytes` at `location` begins.
  void ReadFrom(size_t step, size_t location, int64_t bytes);
  // First reader: all bytes have come; from now on the step is not slow, whatever hashing them takes.
  void ReadDone(size_t step);
  // First reader: the read did not work. Waits for a second one under way; true when that has won.
  bool LostAfterFailure(size_t step);
  // First reader: the step is over.
  void End(size_t step);

  // A step that has been read for too long, and where from.
  struct Slow {
    size_t step = 0;
    size_t location = 0;
    int64_t bytes = 0;
  };
  // The slow steps without a second reader so far, oldest first.
  std::vector<Slow> FindSlow();
  // Second reader: begins, if the step is still being read and had no second reader. The token is stopped
  // once the first one has won, or with `stop`.
  std::optional<std::stop_token> BeginSecond(size_t step, const std::stop_token& stop);
  // Second reader: it is over.
  void EndSecond(size_t step);

  // Either: what was read is right. True for the first to say so, which hands it on; the other one
  // is stopped.
  bool Win(size_t step, bool second);

 private:
  // Stopped by the other reader, or with the pull.
  struct Reader {
    explicit Reader(const std::stop_token& stop)
        : forward(stop, [this] { source.request_stop(); }) {}
    std::stop_source source;
    std::stop_callback<std::function<void()>> forward;
  };
  struct Step {
    explicit Step(const std::stop_token& stop) : first(stop) {}
    Reader first;
    std::optional<Reader> second;
    bool had_second = false;
    bool second_runs = false;
    bool ended = false;
    bool won = false;
    // Of the read that is under way; no bytes while there is none.
    absl::Duration since;
    size_t location = 0;
    int64_t bytes = 0;
  };

  absl::Duration SlowAfter(int64_t bytes) const MUSTER_REQUIRES(mutex_);

  Clock& clock_;
  const HedgeOptions options_;
  mutable Mutex mutex_;
  CondVar second_ended_;
  std::map<size_t, Step> steps_ MUSTER_GUARDED_BY(mutex_);
  // Seconds per byte of the last reads, as a ring.
  std::vector<double> peers_ MUSTER_GUARDED_BY(mutex_);
  size_t next_peer_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_STEP_RACE_H_
