// Looks for entries that rotted, slowly, and for those that were changed, often; both for ever.
#ifndef MUSTER_CLIENT_CACHE_CACHE_SCRUB_H_
#define MUSTER_CLIENT_CACHE_CACHE_SCRUB_H_

#include <cstdint>
#include <functional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cache/shard_cache.h"
#include "storage/base/clock.h"

namespace muster {

struct ScrubOptions {
  // What is read in a second, at least 1.
  int64_t bytes_per_second = 0;
  // From the beginning of one pass over the cache to that of the next, where the pass is shorter.
  absl::Duration interval = absl::Hours(24);
  // Gets one sentence for each entry that can't be checked; may be empty.
  std::function<void(const std::string& warning)> warn = {};
};

// Gets the key of an entry that is not there any more although it was, or may have been: kDataLoss
// for one that was bad and is removed now; kNotFound for one that a pin names, or that was changed and
// can be verified only with the server's piece list.
using OnGone = std::function<void(const std::string& key, const absl::Status& why)>;

// One pass: checks every entry, the least recently used first.
void ScrubCache(ShardCache& cache, Clock& clock, const ScrubOptions& options, const OnGone& on_gone,
                const std::stop_token& stop);

// Passes in a thread of its own, which also calls `on_gone`, until the object is destroyed.
class CacheScrubber {
 public:
  // The references outlive it.
  CacheScrubber(ShardCache& cache, Clock& clock, const ScrubOptions& options, OnGone on_gone);

 private:
  std::jthread thread_;
};

// Looks at what pins name, which is what nodes report as READY and views link: a file that was changed, or
// that somebody has open for writing, is noticed at the next look, and only such a file is read. Not
// thread-safe.
class CacheWatch {
 public:
  // The cache outlives it.
  explicit CacheWatch(ShardCache& cache) : cache_(cache) {}

  void Look(const OnGone& on_gone, const std::stop_token& stop);

 private:
  absl::Status Confirm(const std::string& key, const std::stop_token& stop);

  ShardCache& cache_;
  // At the last look.
  std::set<std::string> present_;
};

// A look each `interval`, in a thread of its own, which also calls `on_gone`, until the object is
// destroyed.
class CacheWatcher {
 public:
  // The references outlive it.
  CacheWatcher(ShardCache& cache, Clock& clock, absl::Duration interval, OnGone on_gone);

 private:
  std::jthread thread_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_SCRUB_H_
