// Looks for entries that rotted, slowly and for ever.
#ifndef MUSTER_CLIENT_CACHE_CACHE_SCRUB_H_
#define MUSTER_CLIENT_CACHE_CACHE_SCRUB_H_

#include <cstdint>
#include <functional>
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
// for one that was bad and is removed now; kNotFound for one that a pin names.
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

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_SCRUB_H_
