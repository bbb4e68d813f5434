#include "client/cache/cache_scrub.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cache/checked_shard.h"
#include "storage/base/backoff.h"

namespace muster {

void ScrubCache(ShardCache& cache, Clock& clock, const ScrubOptions& options, const OnGone& on_gone,
                const std::stop_token& stop) {
  absl::StatusOr<std::vector<CacheItem>> items = cache.List();
  // A cache that can't be looked at now is looked at in the next pass.
  if (!items.ok()) return;
  absl::Duration next_read = clock.Monotonic();
  const ReadPace pace = [&](int64_t bytes) {
    SleepUnlessStopped(clock, next_read - clock.Monotonic(), stop);
    next_read = std::max(next_read, clock.Monotonic()) +
                absl::Seconds(static_cast<double>(bytes) /
                              static_cast<double>(std::max<int64_t>(options.bytes_per_second, 1)));
  };
  std::map<std::string, std::string> unchecked;
  for (const CacheItem& item : *items) {
    if (stop.stop_requested()) return;
    if (item.is_part) continue;
    const absl::Status status = cache.Check(item.key, pace, stop);
    if (absl::IsDataLoss(status)) {
      on_gone(item.key, status);
    } else if (!status.ok() && !absl::IsCancelled(status)) {
      unchecked[item.key] = std::string(status.message());
    }
  }
  // The pins first: what came since they were read is among the items.
  const absl::StatusOr<std::vector<CachePin>> pins = cache.Pins();
  items = cache.List();
  if (!pins.ok() || !items.ok()) return;
  std::set<std::string> there;
  for (const CacheItem& item : *items) {
    if (item.is_part) continue;
    // One that is gone was evicted meanwhile.
    const auto it = unchecked.find(item.key);
    if (it != unchecked.end() && options.warn)
      options.warn(absl::StrCat("not checked: ", it->second));
    // Stored bytes stand for their content where the cache keeps only them.
    there.insert(std::string(StoredKeyOf(item.key)));
  }
  for (const CachePin& pin : *pins) {
    for (const std::string& key : pin.keys) {
      if (there.insert(std::string(StoredKeyOf(key))).second)
        on_gone(key, absl::NotFoundError(key));
    }
  }
}

CacheScrubber::CacheScrubber(ShardCache& cache, Clock& clock, const ScrubOptions& options,
                             OnGone on_gone)
    : thread_([&cache, &clock, options, on_gone = std::move(on_gone)](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          const absl::Duration next = clock.Monotonic() + options.interval;
          ScrubCache(cache, clock, options, on_gone, stop);
          SleepUnlessStopped(clock, next - clock.Monotonic(), stop);
        }
      }) {}

// Where the cache keeps only what is stored, that stands for the content.
absl::Status CacheWatch::Confirm(const std::string& key, const std::stop_token& stop) {
  const absl::Status status = cache_.Confirm(key, stop);
  const std::string stored(StoredKeyOf(key));
  return absl::IsNotFound(status) && stored != key ? cache_.Confirm(stored, stop) : status;
}

void CacheWatch::Look(const OnGone& on_gone, const std::stop_token& stop) {
  const absl::StatusOr<std::vector<CachePin>> pins = cache_.Pins();
  // What can't be looked at now is looked at the next time.
  if (!pins.ok()) return;
  std::set<std::string> keys;
  for (const CachePin& pin : *pins) keys.insert(pin.keys.begin(), pin.keys.end());
  std::set<std::string> present;
  for (const std::string& key : keys) {
    if (stop.stop_requested()) return;
    const absl::Status status = Confirm(key, stop);
    const bool was_there = present_.contains(key);
    if (absl::IsDataLoss(status) || (absl::IsNotFound(status) && was_there)) {
      on_gone(key, status);
    } else if (status.ok() || was_there) {
      present.insert(key);
    }
  }
  present_ = std::move(present);
}

CacheWatcher::CacheWatcher(ShardCache& cache, Clock& clock, absl::Duration interval, OnGone on_gone)
    : thread_(
          [&cache, &clock, interval, on_gone = std::move(on_gone)](const std::stop_token& stop) {
            CacheWatch watch(cache);
            while (!stop.stop_requested()) {
              watch.Look(on_gone, stop);
              SleepUnlessStopped(clock, interval, stop);
            }
          }) {}

}  // namespace muster
