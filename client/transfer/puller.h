// Pulls shards from their locations, verified, into a cache, memory or any other sink.
#ifndef MUSTER_CLIENT_TRANSFER_PULLER_H_
#define MUSTER_CLIENT_TRANSFER_PULLER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cache/checked_shard.h"
#include "client/cache/memory_budget.h"
#include "client/cache/piece_sink.h"
#include "client/cache/shard_cache.h"
#include "client/transfer/pull_failure.h"
#include "client/transfer/read_gate.h"
#include "client/transfer/shard_pull.h"
#include "client/transfer/step_race.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/io_buffer.h"
#include "storage/object/object_store_registry.h"
#include "storage/object/transfer_pace.h"

namespace muster {

struct PullerOptions {
  // The node's zone: locations of the same zone are preferred. "" means none.
  std::string zone = {};
  // Pieces that are fetched at once, over all shards: 1 to kMaxPullConnections, values outside are
  // moved inside. Pieces that are hashed or written meanwhile don't count; there are at most as
  // many more as two cores of this machine hash side by side.
  size_t connections = 8;
  // Bound on the buffers of all pieces in flight. Where connections × piece size would go beyond
  // it, fewer connections are used; a single piece must fit.
  int64_t memory_budget_bytes = int64_t{1} << 30;
  // Where it is shared with what decodes; in place of memory_budget_bytes.
  std::shared_ptr<MemoryBudget> memory = nullptr;
  // Reads at once from one host; 0: only `connections` bounds them.
  size_t connections_per_host = 0;
  // Bound on the bytes per second that all connections read together; 0: none.
  int64_t max_bytes_per_second = 0;
  PullRetry retry = {};
  // Reads over a network that are slower are broken off and resumed, and fail at the third time.
  PaceOptions pace = {};
  // Second reads of slow pieces; they take up to a quarter of `connections` more, at least one.
  HedgeOptions hedge = {};
  // Gets one sentence when the memory budget lowers the connections; may be empty. Called from any
  // thread.
  std::function<void(absl::string_view warning)> warn = {};
};

inline constexpr size_t kMaxPullConnections = 1024;

// How a pull ended.
struct PullResult {
  absl::Status status;
  // Why, in reportable form: set exactly when `status` is an error.
  std::optional<PullFailure> failure;
  // What went wrong at locations on the way, also when the pull succeeded: for each location and
  // code the first.
  std::vector<PullFailure> location_failures;
  // What the locations that were read from were like, for the report.
  std::vector<muster::v1::LocationReport> location_reports;
  // Set when a cache entry had gone bad and was removed, also when the shard was then pulled again.
  std::optional<PullFailure> rotted;
  // Bytes read from locations, wrong ones included; 0 for a cache hit.
  int64_t fetched_bytes = 0;
};

struct CachedPullResult {
  PullResult pull;
  // Set exactly when pull.status is OK.
  std::optional<CachedShard> entry;
  // Whether the shard was in the cache already, or another process put it there meanwhile.
  bool hit = false;
};

struct MemoryPullResult {
  PullResult pull;
  // The shard's bytes; set exactly when pull.status is OK.
  IoBuffer bytes;
  int64_t size_bytes = 0;
};

// A set of connections that all pulls share.
//
// Thread-safe. Pulls block; to have several shards under way, call from several threads. Pieces of
// the pull that was called first go first, and connections that it leaves idle go to the next one.
// Codes: kDataLoss wrong bytes, kNotFound no location has the object, kUnavailable or
// kPermissionDenied and the like from the last store, kResourceExhausted no room or memory,
// kInvalidArgument a description that makes no sense, kCancelled. Nothing is visible in the cache
// or in a result after an error. The pull itself retries; a caller that tries again later starts
// the shard again, but into a cache it finds the verified pieces of the earlier attempt.
//
// `progress` gets the shard's verified bytes, counting up, one call at a time, from any thread; it
// must be quick. For a shard without pieces it gets the bytes fetched, and starts from 0 again when
// another location has to be tried.
//
// `stop` ends a pull with kCancelled, after the reads that are under way.
class Puller {
 public:
  // All references outlive the puller.
  Puller(const ObjectStoreRegistry& stores, Clock& clock, Random& random, PullerOptions options);
  // Cancels and waits for pulls that are under way.
  ~Puller();
  Puller(const Puller&) = delete;
  Puller& operator=(const Puller&) = delete;

  // Into a sink of the caller's. After an error it may hold some verified pieces, or, where it
  // holds back, anything. kFailedPrecondition for a shard without pieces when the sink doesn't hold
  // back.
  PullResult Pull(const PullShard& shard, PieceSink& sink, const std::stop_token& stop,
                  const PullProgress& progress);

  // Into the cache, unless it is there. A cached entry that can't be vouched for is hashed, and
  // pulled again if it is bad. While another process pulls the same shard into the cache, this
  // waits for it. With a gate, bounded locations are read from only with a place, which is waited
  // for on the calling thread, before the pull takes any connection.
  CachedPullResult PullToCache(const PullShard& shard, ShardCache& cache,
                               const std::stop_token& stop, const PullProgress& progress,
                               ReadGate* gate = nullptr);

  // Into memory. The shard's bytes do not count towards the memory budget; `max_bytes` bounds them
  // (kResourceExhausted).
  MemoryPullResult PullToMemory(const PullShard& shard, int64_t max_bytes,
                                const std::stop_token& stop, const PullProgress& progress);

  // For whoever decodes what was pulled.
  MemoryBudget& memory();

 private:
  class Engine;
  const std::unique_ptr<Engine> engine_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_PULLER_H_
