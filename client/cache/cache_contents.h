// What a cache domain holds, for whom, and how much more fits into it.
#ifndef MUSTER_CLIENT_CACHE_CACHE_CONTENTS_H_
#define MUSTER_CLIENT_CACHE_CACHE_CONTENTS_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cache/cache_files.h"
#include "muster/v1/model.pb.h"

namespace muster {

// An entry or a part file.
struct CacheItem {
  std::string key;
  bool is_part = false;
  // Of a part; see PartStem.
  std::string stem;
  int64_t size_bytes = 0;
  // Of a part: the last write. The infinite past where it is not known.
  absl::Time last_use;
  // A process reads the entry or writes the part just now: a transfer's pin.
  bool in_use = false;
  // Whose pins name the key, in order.
  std::vector<std::string> owners;
  // See NamesOfEntry; set by ShardCache::List.
  std::vector<std::string> names = {};

  bool pinned() const { return in_use || !owners.empty(); }
};

// A shard that is to be in the cache.
struct WantedShard {
  // CheckedShard::ContentKey.
  std::string key;
  // Of the content.
  int64_t size_bytes = 0;
  // Of an encoded shard, what is stored; 0 for others.
  int64_t stored_bytes = 0;
};

// Room for the stored bytes of so many shards, the largest, is kept beside all that is decoded: they
// go when the content is there, and agents fetch that many at once unless configured otherwise.
inline constexpr size_t kDecodedAtOnce = 2;

// What a cache has to hold for `shards`, one for each.
std::vector<WantedShard> WantedOf(absl::Span<const muster::v1::Shard> shards);

// Whether shards fit, in bytes.
struct CacheRoom {
  // Of the wanted shards: what is not in the cache yet.
  int64_t needed_bytes = 0;
  // Of the rest of the cache: what has to stay, and what may go.
  int64_t pinned_bytes = 0;
  int64_t evictable_bytes = 0;
  // Within the budget and on the disk; negative where the cache is over its budget.
  int64_t free_bytes = 0;
  // The owners of pins and how much each pins, most first; what several pin counts for each.
  std::vector<std::pair<std::string, int64_t>> owners;

  bool Fits() const { return needed_bytes <= evictable_bytes + free_bytes; }
  // What could be had at most.
  int64_t Available() const { return std::max<int64_t>(evictable_bytes + free_bytes, 0); }
};

// A pin of an encoded shard's content is also one of its stored bytes, until the content is there.
//
// Entries and parts in the order in which they may go: parts first, then the least recently used.
// The caller holds the domain's lock: a file that changes its name meanwhile would be missed.
absl::StatusOr<std::vector<CacheItem>> ListContents(const CacheDomain& domain);

// In bytes; the greatest number where the disk does not say.
int64_t FreeOnDisk(const CacheDomain& domain);

// Pure except for a look at the disk's free space. `budget_bytes` unset: only the disk is the
// bound.
CacheRoom RoomFor(const CacheDomain& domain, std::optional<int64_t> budget_bytes,
                  absl::Span<const CacheItem> contents, absl::Span<const WantedShard> wanted);

// kResourceExhausted CACHE_FULL for a room that does not fit, with what is needed and what there is
// room for, the owners of pins and ways out; metadata needed_bytes, pinned_bytes, evictable_bytes,
// free_bytes, available_bytes (the sum of those two, at least 0), owners.
absl::Status NoRoomError(const CacheDomain& domain, const CacheRoom& room);

// Removes the item and all that lies beside it, unless a process uses it just now (false). The
// caller holds the domain's lock and has looked at the pins.
bool RemoveItem(const CacheDomain& domain, const CacheItem& item);

// Removes an entry and what lies beside it. The caller holds the domain's lock.
void RemoveEntryFiles(const CacheDomain& domain, const std::string& key);
// The same of the one that is open as `fd`, if it still has its name. Takes the domain's lock.
absl::Status RemoveEntry(const CacheDomain& domain, const std::string& key, int fd);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_CONTENTS_H_
