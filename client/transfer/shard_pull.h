// One shard being pulled: which piece comes from where, and what went wrong. No threads of its own;
// Puller brings them.
#ifndef MUSTER_CLIENT_TRANSFER_SHARD_PULL_H_
#define MUSTER_CLIENT_TRANSFER_SHARD_PULL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cache/checked_shard.h"
#include "client/cache/piece_sink.h"
#include "client/hash/hash_queue.h"
#include "client/transfer/admission.h"
#include "client/transfer/location_book.h"
#include "client/transfer/pull_failure.h"
#include "client/transfer/read_gate.h"
#include "client/transfer/step_race.h"
#include "storage/base/backoff.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/base/random.h"
#include "storage/object/rate_limit.h"
#include "storage/object/transfer_pace.h"

namespace muster {

// Gets the shard's bytes so far; see Puller.
using PullProgress = std::function<void(int64_t done_bytes)>;

// How often a piece is tried where a retry may help, and how long to wait between rounds over the
// locations.
struct PullRetry {
  int attempts = 4;
  BackoffOptions backoff = {};
};

// What a step of a pull works with.
struct StepMeans {
  // Of the connections that pulls share, the one of this step.
  class Connection {
   public:
    virtual ~Connection() = default;
    // Waits until the step has one to the host of `uri`; at once when it has it already. False once `stop`
    // was requested.
    virtual bool Take(const std::string& uri, const std::stop_token& stop) = 0;
    // Leaves it to other steps while this one hashes and writes what it read. A step that waits
    // before it tries again keeps it: a busy location should get fewer reads, not those of other
    // steps.
    virtual void GiveBack() = 0;
  };

  // Of ShardPull::step_memory_bytes().
  absl::Span<char> buffer;
  Connection& connection;
  const std::stop_token& stop;
};

// Thread-safe: different steps may run at once, a step one at a time. All references outlive it.
class ShardPull {
 public:
  struct Environment {
    const ObjectStoreRegistry& stores;
    Clock& clock;
    Random& random;
    absl::string_view zone;
    const PullRetry& retry;
    // Asked before bounded locations are read from; may be null.
    ReadGate* gate;
    HashQueue& hashes;
    // May be null, both.
    RateLimit* limit;
    TransferPace* pace;
    const HedgeOptions& hedge;
    HedgeBudget& hedge_budget;
  };

  ShardPull(const Environment& environment, const CheckedShard& shard, PieceSink& sink,
            const PullProgress& progress);

  // A step is one piece, or all of a shard without pieces.
  size_t step_count() const;
  // Whether every step is done, as when the sink had all pieces.
  bool IsDone() const;
  // The size of the buffer that a step needs; 0 where the sink has memory for pieces.
  int64_t step_memory_bytes() const;

  // Where a step will most likely be read from; "" for nowhere.
  std::string NextUri(size_t step) const;

  // Opens locations to read from, as Admission::Next; while no step runs.
  absl::StatusOr<bool> Admit(const std::stop_token& stop) { return admission_.Next(stop); }

  // Fetches, verifies and hands to the sink, unless an earlier run of the step did so. Returns what
  // went wrong for good.
  std::optional<PullFailure> RunStep(size_t step, const StepMeans& means);

  // A second read of a step that takes too long, from another location.
  struct SecondRead {
    size_t step = 0;
    // Where the first read is, and where the second one is to be.
    size_t overtaken = 0;
    size_t location = 0;
    // Stopped once the first read is done, or with the pull.
    std::stop_token stop;
  };
  // Whether there may ever be one.
  bool may_read_twice() const { return shard_.has_pieces() && book_.size() > 1; }
  // The next one that is worth making, if any; it is made by RunSecondRead, whose stop is the read's own.
  std::optional<SecondRead> NextSecondRead(const std::stop_token& stop);
  // As RunStep; a second read that fails, comes too late or has no memory is not a failure.
  std::optional<PullFailure> RunSecondRead(const SecondRead& read, const StepMeans& means);

  std::vector<PullFailure> location_failures() const { return book_.failures(); }
  std::vector<muster::v1::LocationReport> location_reports() const { return book_.Reports(); }
  // Bytes read from locations, failed ones included.
  int64_t fetched_bytes() const;

 private:
  // Fetches the step's bytes from one location.
  using Fetch = std::function<std::optional<PullFailure>(size_t location)>;

  std::optional<PullFailure> Attempt(size_t step, const StepMeans& means);
  std::optional<PullFailure> FromSomeLocation(size_t piece, const Fetch& fetch,
                                              const StepMeans& means);
  std::optional<PullFailure> FetchPiece(size_t piece, size_t location, absl::Span<char> out,
                                        const StepMeans& means, bool second);
  // Where the sink wants the piece; empty when it is to be handed on.
  absl::Span<char> MemoryOf(size_t piece) const;
  std::optional<PullFailure> HandOn(size_t piece, absl::Span<const char> bytes, bool in_place);
  std::optional<PullFailure> FetchWhole(size_t location, const StepMeans& means);
  absl::Status ReadRange(const LocationBook::Source& source, int64_t offset, absl::Span<char> out,
                         const StepMeans& means);
  absl::Status ReadRangeWithRetries(const LocationBook::Source& source, int64_t offset,
                                    absl::Span<char> out, const StepMeans& means);
  std::optional<PullFailure> Compare(const Md5Digest& expected, const Md5Digest& found,
                                     const std::string& what, size_t location) const;
  PullFailure NoLocationLeft() const;
  std::optional<PullFailure> Stopped(size_t step);
  PullFailure Cancelled() const;
  void Progress(int64_t done_bytes, bool from_start);

  const Environment environment_;
  const CheckedShard& shard_;
  PieceSink& sink_;
  const PullProgress& progress_;
  LocationBook book_;
  Admission admission_;
  StepRace race_;
  mutable Mutex mutex_;
  std::vector<bool> done_ MUSTER_GUARDED_BY(mutex_);
  int64_t done_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  int64_t fetched_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_SHARD_PULL_H_
