#include "client/cache/cache_entry.h"

#include <sys/stat.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cache/cache_contents.h"
#include "client/cache/cache_names.h"
#include "client/cache/cache_pieces.h"
#include "client/cache/cache_record.h"
#include "client/cache/cache_use.h"
#include "client/cache/part_lock.h"
#include "client/cache/piece_check.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_guard.h"

namespace muster {
namespace {

// A fifth of a second.
constexpr int kLooksAtWriters = 40;

absl::StatusOr<UniqueFd> OpenEntry(const CacheDomain& domain, const std::string& key) {
  const std::string path = domain.PathOf(key);
  MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, domain.OpenToRead(key));
  MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd.get(), path));
  if (!S_ISREG(state.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": not a regular file in the place of a cache entry; remove it"));
  }
  return fd;
}

bool IsAsVerified(const CacheRecord& record, int fd, const struct stat& state) {
  return record.Vouches(state) && FindOpenWriters(fd) != OpenWriters::kSome;
}

// Also after a while: whoever has made the entry has it open for a moment longer, and so does a child of
// its between fork and exec.
bool StaysOpenForWriting(int fd) {
  for (int look = 0; look < kLooksAtWriters; ++look) {
    if (look > 0) PauseBetweenLooks();
    if (FindOpenWriters(fd) != OpenWriters::kSome) return false;
  }
  return true;
}

absl::Status Writable(const std::string& path) {
  return MakeError(
      absl::StatusCode::kDataLoss, reasons::kCacheEntryWritable,
      absl::StrCat(path,
                   ": a program has it open for writing, perhaps by a view of it, so what it holds "
                   "may change at any time; the cache entry was removed. Give engines a "
                   "read-only mount of the view, or a view of --view-links reflink or copy"));
}

// Hashes it, and records that it is good where that is possible.
absl::Status HashEntry(const CheckedShard& shard, const CacheRecord& record, int fd,
                       const std::string& path, const struct stat& state,
                       const std::stop_token& stop) {
  // A state that can't be told from a later one (a clock that was set back), or not be written down (a
  // full disk), is hashed all the same, each time.
  const absl::StatusOr<struct stat> settled = record.Settle(fd);
  const struct stat before = settled.ok() ? *settled : state;
  MUSTER_RETURN_IF_ERROR(CheckFile(shard, {fd, path}, stop));
  MUSTER_ASSIGN_OR_RETURN(const struct stat after, StatOf(fd, path));
  if (!SameState(before, after)) {
    return absl::AbortedError(absl::StrCat(path, ": was changed while it was verified"));
  }
  // Nobody may be able to write on without moving its times. Who opens it from now on moves them.
  if (StaysOpenForWriting(fd)) return Writable(path);
  if (!settled.ok() || !record.Write(before).ok()) record.Remove();
  return absl::OkStatus();
}

// The entry is locked. OK when it is good; then it is recorded as such, where that is possible.
absl::Status VerifyEntry(const CacheDomain& domain, const CheckedShard& shard, int fd,
                         const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  const std::string path = domain.PathOf(key);
  const CacheRecord record(domain.dir.get(), key);
  MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd, path));
  absl::Status verified = CheckFileSize(shard, path, state.st_size);
  if (verified.ok()) {
    if (StaysOpenForWriting(fd)) {
      verified = Writable(path);
    } else if (!record.Vouches(state)) {
      verified = HashEntry(shard, record, fd, path, state, stop);
    }
  }
  if (verified.code() != absl::StatusCode::kDataLoss) return verified;
  MUSTER_RETURN_IF_ERROR(RemoveEntry(domain, key, fd));
  return verified;
}

}  // namespace

absl::StatusOr<CachedShard> FindEntry(const CacheDomain& domain, const CheckedShard& shard,
                                      const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  const std::string path = domain.PathOf(key);
  const CacheRecord record(domain.dir.get(), key);
  for (int start = 0; start < kMaxStartsOver; ++start) {
    MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, OpenEntry(domain, key));
    MUSTER_ASSIGN_OR_RETURN(UniqueFd use, BeginUse(domain, key));
    if (!IsSameFile(domain.dir.get(), key, fd.get())) {
      if (!domain.Has(key) && !domain.HasPart(key)) domain.Remove(key + kUseSuffix);
      continue;
    }
    MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd.get(), path));
    if (state.st_size != shard.size_bytes() || !IsAsVerified(record, fd.get(), state)) {
      MUSTER_RETURN_IF_ERROR(AwaitLock(domain, fd.get(), path, stop));
      if (!IsSameFile(domain.dir.get(), key, fd.get())) continue;
      MUSTER_RETURN_IF_ERROR(VerifyEntry(domain, shard, fd.get(), stop));
      Unlock(fd.get());
    }
    // For a later check of the entry. Without it the entry just stays unchecked.
    KeepPieces(domain, shard).IgnoreError();
    // And for people.
    KeepName(domain, shard).IgnoreError();
    return CachedShard(std::move(fd), std::move(use), path,
                       std::make_shared<const CheckedShard>(shard));
  }
  return absl::AbortedError(absl::StrCat(path, ": the cache entry keeps being replaced"));
}

absl::Status ConfirmEntry(const CacheDomain& domain, const std::string& key,
                          const std::stop_token& stop) {
  const std::string path = domain.PathOf(key);
  const CacheRecord record(domain.dir.get(), key);
  for (int start = 0; start < kMaxStartsOver; ++start) {
    MUSTER_ASSIGN_OR_RETURN(const UniqueFd fd, OpenEntry(domain, key));
    MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd.get(), path));
    if (IsAsVerified(record, fd.get(), state)) return absl::OkStatus();
    MUSTER_ASSIGN_OR_RETURN(const CheckedShard shard, ShardOfEntry(domain, key));
    MUSTER_RETURN_IF_ERROR(AwaitLock(domain, fd.get(), path, stop));
    if (!IsSameFile(domain.dir.get(), key, fd.get())) continue;
    return VerifyEntry(domain, shard, fd.get(), stop);
  }
  return absl::AbortedError(absl::StrCat(path, ": the cache entry keeps being replaced"));
}

}  // namespace muster
