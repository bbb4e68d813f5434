// How room is counted, and what may go:
//
// 1. There is no index: the directory is listed under the domain's lock each time. Entries and
//    parts are items; the small files beside them are not counted.
// 2. An item is in use if its lock can't be had at once: the use file's for an entry, its own for a
//    part. The lock is let go right after the look, so RemoveItem takes it again and holds it while
//    it removes, and may then find that the item came into use.
// 3. An item's owners are those of the pins that name its key. The stored bytes of an encoded shard
//    (KEY) also count as pinned by the pins of its content (KEY-plain) until that is there: they
//    are on the way to it. Afterwards nobody needs them.
// 4. RoomFor puts each item into exactly one of three heaps. Items of a wanted shard, found by its
//    StoredKey, lower what is needed: a part has its full size reserved already, so it counts in
//    full. Any other item is pinned, or evictable.
// 5. What is needed is the content of all wanted shards that is not there, and beside it the stored
//    bytes of the largest kDecodedAtOnce of those that are decoded: stored bytes go once the
//    content is there, so they never all lie in the cache at once.
// 6. Free is the less of the disk's free space and what the budget leaves. It is negative where the
//    cache holds more than its budget; then evicting fills that hole first.
//
// Removing begins with what vouches: the record of an entry, the claims of a part. A crash in
// between leaves bytes that are hashed again, or stray small files, which the next Open removes.
// Entries are removed, and become visible, under the domain's lock: a removal has ended before another
// entry of the key can be there, and takes nothing of it along.
#include "client/cache/cache_contents.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cache/cache_pins.h"
#include "client/cache/cache_use.h"
#include "client/cache/checked_shard.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/base/wording.h"
#include "storage/files/disk_room.h"

namespace muster {
namespace {

// Named in an error at most.
constexpr size_t kMaxOwnersNamed = 8;

// Whether nobody writes the part; then `lock` keeps it so.
bool TryToKeepUnwritten(const CacheDomain& domain, const std::string& name, UniqueFd& lock) {
  lock = domain.Open(name, O_RDONLY);
  return lock.valid() && TryLockExclusive(lock.get()) &&
         IsSameFile(domain.dir.get(), name, lock.get());
}

std::optional<CacheItem> ItemOf(const CacheDomain& domain, const std::string& name) {
  CacheItem item;
  absl::string_view stem = name;
  item.is_part = absl::ConsumeSuffix(&stem, kPartSuffix);
  item.key = name.substr(0, name.find('.'));
  item.stem = std::string(stem);
  struct stat state {};
  if ((!item.is_part && item.key != name) ||
      fstatat(domain.dir.get(), name.c_str(), &state, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(state.st_mode)) {
    return std::nullopt;
  }
  item.size_bytes = state.st_size;
  if (item.is_part) {
    UniqueFd lock;
    item.last_use = absl::TimeFromTimespec(state.st_mtim);
    item.in_use = !TryToKeepUnwritten(domain, name, lock);
  } else {
    item.last_use = LastUse(domain, item.key);
    item.in_use = !TryToKeepUnused(domain, item.key).valid();
  }
  return item;
}

}  // namespace

std::vector<WantedShard> WantedOf(absl::Span<const muster::v1::Shard> shards) {
  std::vector<WantedShard> wanted;
  wanted.reserve(shards.size());
  for (const muster::v1::Shard& shard : shards) {
    const int64_t stored_bytes =
        shard.encoding().empty() ? 0 : static_cast<int64_t>(shard.size_bytes());
    wanted.push_back({ContentKeyOf(shard), ContentBytesOf(shard), stored_bytes});
  }
  return wanted;
}

int64_t FreeOnDisk(const CacheDomain& domain) {
  return FreeBytesOf(domain.dir.get(), domain.path).value_or(kUnknownRoom);
}

absl::StatusOr<std::vector<CacheItem>> ListContents(const CacheDomain& domain) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CachePin> pins, ReadPins(domain));
  std::map<std::string, std::vector<std::string>> owners;
  for (const CachePin& pin : pins) {
    for (const std::string& key : pin.keys) owners[key].push_back(pin.owner);
  }
  std::vector<CacheItem> items;
  MUSTER_RETURN_IF_ERROR(domain.ForEachName([&](const std::string& name) {
    std::optional<CacheItem> item = ItemOf(domain, name);
    if (!item.has_value()) return;
    const std::string decoded = DecodedKeyOf(item->key);
    if (const auto it = owners.find(item->key); it != owners.end()) {
      item->owners = it->second;
    } else if (const auto of_content = owners.find(decoded);
               of_content != owners.end() && !domain.Has(decoded)) {
      item->owners = of_content->second;
    }
    items.push_back(*std::move(item));
  }));
  std::sort(items.begin(), items.end(), [](const CacheItem& a, const CacheItem& b) {
    return std::make_tuple(!a.is_part, a.last_use, a.key) <
           std::make_tuple(!b.is_part, b.last_use, b.key);
  });
  return items;
}

CacheRoom RoomFor(const CacheDomain& domain, std::optional<int64_t> budget_bytes,
                  absl::Span<const CacheItem> contents, absl::Span<const WantedShard> wanted) {
  // By StoredKey.
  std::map<std::string, WantedShard, std::less<>> missing;
  for (const WantedShard& shard : wanted) missing[std::string(StoredKeyOf(shard.key))] = shard;
  CacheRoom room;
  std::map<std::string, int64_t> by_owner;
  int64_t used = 0;
  for (const CacheItem& item : contents) {
    used += item.size_bytes;
    const std::string stored_key(StoredKeyOf(item.key));
    if (const auto it = missing.find(stored_key); it != missing.end()) {
      const bool is_transient = it->second.stored_bytes > 0 && item.key == stored_key;
      int64_t& bytes = is_transient ? it->second.stored_bytes : it->second.size_bytes;
      bytes = std::max<int64_t>(0, bytes - item.size_bytes);
      continue;
    }
    (item.pinned() ? room.pinned_bytes : room.evictable_bytes) += item.size_bytes;
    for (const std::string& owner : item.owners) by_owner[owner] += item.size_bytes;
    if (item.in_use) by_owner["transfers under way"] += item.size_bytes;
  }
  std::vector<int64_t> transient;
  for (const auto& [key, shard] : missing) {
    room.needed_bytes += shard.size_bytes;
    if (shard.size_bytes > 0) transient.push_back(shard.stored_bytes);
  }
  std::sort(transient.rbegin(), transient.rend());
  for (size_t i = 0; i < std::min(transient.size(), kDecodedAtOnce); ++i) {
    room.needed_bytes += transient[i];
  }
  room.free_bytes = FreeOnDisk(domain);
  if (budget_bytes.has_value()) room.free_bytes = std::min(room.free_bytes, *budget_bytes - used);
  room.owners.assign(by_owner.begin(), by_owner.end());
  std::stable_sort(room.owners.begin(), room.owners.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return room;
}

namespace {

// "has room for 40.0 MiB, and 2.0 GiB are needed"; in bytes where the rounded numbers look alike.
std::string DescribeRoom(const CacheRoom& room) {
  std::string needed = FormatSize(room.needed_bytes);
  std::string free = FormatSize(room.Available());
  if (needed == free) {
    needed = absl::StrCat(room.needed_bytes, " bytes");
    free = absl::StrCat(room.Available(), " bytes");
  }
  return absl::StrCat("has room for ", free, ", and ", needed, " are needed");
}

}  // namespace

absl::Status NoRoomError(const CacheDomain& domain, const CacheRoom& room) {
  std::string owners;
  for (size_t i = 0; i < room.owners.size(); ++i) {
    if (i == kMaxOwnersNamed) {
      absl::StrAppend(&owners, " and ", room.owners.size() - i, " more");
      break;
    }
    absl::StrAppend(&owners, i == 0 ? "" : ", ", room.owners[i].first, " (",
                    FormatSize(room.owners[i].second), ")");
  }
  return MakeError(
      absl::StatusCode::kResourceExhausted, reasons::kCacheFull,
      absl::StrCat(domain.path, " ", DescribeRoom(room),
                   owners.empty() ? "" : absl::StrCat("; the rest is pinned by ", owners),
                   "; raise --cache-budget, free disk space, use another --cache, or let go of "
                   "assemblies (leave or delete them, or `muster cache unpin`)"),
      {{"needed_bytes", absl::StrCat(room.needed_bytes)},
       {"pinned_bytes", absl::StrCat(room.pinned_bytes)},
       {"evictable_bytes", absl::StrCat(room.evictable_bytes)},
       {"free_bytes", absl::StrCat(room.free_bytes)},
       {"available_bytes", absl::StrCat(room.Available())},
       {"owners", owners}});
}

bool RemoveItem(const CacheDomain& domain, const CacheItem& item) {
  UniqueFd lock;
  if (item.is_part) {
    if (!TryToKeepUnwritten(domain, item.stem + kPartSuffix, lock)) return false;
    domain.RemovePart(item.key, item.stem);
    return true;
  }
  lock = TryToKeepUnused(domain, item.key);
  if (!lock.valid()) return false;
  RemoveEntryFiles(domain, item.key);
  return true;
}

// What lies beside the entry goes first: once that is gone another writer may begin, with files of these
// names. The use file goes last: it keeps others from beginning to use the entry.
void RemoveEntryFiles(const CacheDomain& domain, const std::string& key) {
  for (const char* suffix : {kRecordSuffix, kPiecesSuffix, kNamesSuffix, "", kUseSuffix}) {
    domain.Remove(key + suffix);
  }
}

absl::Status RemoveEntry(const CacheDomain& domain, const std::string& key, int fd) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain.Lock({}));
  if (IsSameFile(domain.dir.get(), key, fd)) RemoveEntryFiles(domain, key);
  return absl::OkStatus();
}

}  // namespace muster
