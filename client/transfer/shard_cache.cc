// Layout of a cache directory (KEY is CheckedShard::ContentKey):
//     CACHEDIR.TAG              marks the directory as ours; see cache_directory.cc
//     DOMAIN/KEY                an entry: complete, synced, mode 0444, never written again
//     DOMAIN/KEY.record         says in which state the entry was verified; see cache_record.h
//     DOMAIN/KEY.part           a shard being written, or left by a writer that ended
//     DOMAIN/KEY.claims         which pieces of KEY.part were written; see cache_part.h
//
// Protocol. Locks are flocks of the file itself, so they go with the inode through a rename and end
// with the process. Whoever got a lock checks that the name still means the locked file, and starts
// over if not.
//  1. Lookup opens KEY. A record that matches the open file's state vouches for it.
//  2. Otherwise lock KEY and look at the record again: another process may have hashed the entry
//     meanwhile, or may just be between steps 7 and 8. Without a match, wait until the file's times
//     are settled, hash it from the open file, and compare its state before and after. Good: write
//     the record. Bad: unlink record and entry.
//  3. Acquire that found no entry opens KEY.part, making it where it is missing, and locks it. This
//     wait ends when the other writer has ended or renamed its file.
//  4. Look up again under the lock: the entry may have come before it was taken.
//  5. Take over a part file of the full size: hash the pieces that its claims name. Cut any other
//     to nothing, and its claims before it, then reserve the full size.
//  6. Write pieces, and claim each once it is written. Sync now and then. At last sync the file and
//     set its mode.
//  7. Rename KEY.part to KEY, remove the claims and sync the directory. Only the holder of the
//     part's lock does so, after step 4, so no entry is ever replaced.
//  8. Settle, write the record, release the lock. A process that died before this leaves an entry
//     that is hashed again.
//  9. A writer that ends before step 7 leaves part and claims when they hold a piece, and removes
//     them otherwise: who had opened the file but not yet locked it sees in step 3 that the name is
//     gone. Claims without a part go at the next Open.
// Lock order: a part before an entry. Who holds an entry's lock waits for no other.
#include "client/transfer/shard_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/transfer/cache_directory.h"
#include "client/transfer/cache_files.h"
#include "client/transfer/cache_part.h"
#include "client/transfer/cache_record.h"
#include "client/transfer/piece_check.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Names that keep changing between open and lock mean that something outside meddles with the
// cache.
constexpr int kMaxStartsOver = 1000;

class FileShardCache final : public ShardCache {
 public:
  explicit FileShardCache(std::shared_ptr<const CacheDomain> domain) : domain_(std::move(domain)) {}

  absl::Status RemoveStrayClaims();
  absl::StatusOr<CachedShard> Lookup(const CheckedShard& shard,
                                     const std::stop_token& stop) override;
  absl::StatusOr<Acquired> Acquire(const CheckedShard& shard, const std::stop_token& stop) override;
  std::vector<Md5Digest> Inventory(size_t limit) override;

 private:
  std::optional<Md5Digest> DigestOfVerified(const std::string& name) const;
  void MakeWritableIfDead(const std::string& part_name);
  absl::StatusOr<UniqueFd> OpenEntry(const std::string& key) const;
  absl::Status VerifyEntry(const CheckedShard& shard, int fd, const std::stop_token& stop);
  absl::StatusOr<UniqueFd> LockPart(const std::string& key, const std::stop_token& stop);

  const std::shared_ptr<const CacheDomain> domain_;
};

absl::StatusOr<UniqueFd> FileShardCache::OpenEntry(const std::string& key) const {
  const std::string path = domain_->PathOf(key);
  UniqueFd fd(
      openat(domain_->dir.get(), key.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return PathError(errno, "open", path);
  struct stat state {};
  if (fstat(fd.get(), &state) != 0) return PathError(errno, "stat", path);
  if (!S_ISREG(state.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": not a regular file in the place of a cache entry; remove it"));
  }
  return fd;
}

// Steps 1 and 2.
absl::StatusOr<CachedShard> FileShardCache::Lookup(const CheckedShard& shard,
                                                   const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  const std::string path = domain_->PathOf(key);
  const CacheRecord record(domain_->dir.get(), key);
  for (int start = 0; start < kMaxStartsOver; ++start) {
    MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, OpenEntry(key));
    struct stat state {};
    if (fstat(fd.get(), &state) != 0) return PathError(errno, "stat", path);
    if (state.st_size == shard.size_bytes() && record.Vouches(state)) {
      return CachedShard(std::move(fd), path, shard.size_bytes());
    }
    MUSTER_RETURN_IF_ERROR(LockExclusive(fd.get(), path, stop));
    if (!IsSameFile(domain_->dir.get(), key, fd.get())) continue;
    MUSTER_RETURN_IF_ERROR(VerifyEntry(shard, fd.get(), stop));
    Unlock(fd.get());
    return CachedShard(std::move(fd), path, shard.size_bytes());
  }
  return absl::AbortedError(absl::StrCat(path, ": the cache entry keeps being replaced"));
}

// The entry is locked. OK when it is good and recorded as such.
absl::Status FileShardCache::VerifyEntry(const CheckedShard& shard, int fd,
                                         const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  const std::string path = domain_->PathOf(key);
  const CacheRecord record(domain_->dir.get(), key);
  struct stat state {};
  if (fstat(fd, &state) != 0) return PathError(errno, "stat", path);
  absl::Status verified;
  if (state.st_size != shard.size_bytes()) {
    verified = MakeError(absl::StatusCode::kDataLoss, "CACHE_ENTRY_CORRUPT",
                         absl::StrCat(path, ": has ", state.st_size, " bytes, expected ",
                                      shard.size_bytes(), "; the cache entry was removed"));
  } else {
    if (record.Vouches(state)) return absl::OkStatus();
    MUSTER_ASSIGN_OR_RETURN(const struct stat before, record.Settle(fd));
    verified = CheckFile(shard, {fd, path}, stop);
    struct stat after {};
    if (fstat(fd, &after) != 0) return PathError(errno, "stat", path);
    if (verified.ok() && SameState(before, after)) return record.Write(before);
    if (verified.ok()) {
      return absl::AbortedError(absl::StrCat(path, ": was changed while it was verified"));
    }
  }
  if (verified.code() != absl::StatusCode::kDataLoss) return verified;
  record.Remove();
  if (unlinkat(domain_->dir.get(), key.c_str(), 0) != 0 && errno != ENOENT) {
    return PathError(errno, "remove the bad cache entry", path);
  }
  return verified;
}

// Step 3.
absl::StatusOr<UniqueFd> FileShardCache::LockPart(const std::string& key,
                                                  const std::stop_token& stop) {
  const std::string name = key + kPartSuffix;
  const std::string path = domain_->PathOf(name);
  for (int start = 0; start < kMaxStartsOver; ++start) {
    UniqueFd fd(openat(domain_->dir.get(), name.c_str(),
                       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (!fd.valid()) {
      if (errno == EACCES) {
        // Its writer made it read-only already, and is about to rename it or died.
        MakeWritableIfDead(name);
        PauseBetweenLooks();
        continue;
      }
      if (errno == ENOSPC || errno == EDQUOT) return NoSpaceError(path, domain_->dir.get(), 1);
      return PathError(errno, "make", path);
    }
    MUSTER_RETURN_IF_ERROR(LockExclusive(fd.get(), path, stop));
    if (IsSameFile(domain_->dir.get(), name, fd.get())) return fd;
  }
  return absl::AbortedError(absl::StrCat(path, ": the part file keeps being replaced"));
}

absl::StatusOr<ShardCache::Acquired> FileShardCache::Acquire(const CheckedShard& shard,
                                                             const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  Acquired acquired;
  // Whether the lookup settled the matter; an entry that rotted counts as none.
  const auto found_entry = [&]() -> absl::StatusOr<bool> {
    absl::StatusOr<CachedShard> entry = Lookup(shard, stop);
    if (entry.ok()) {
      acquired.entry = *std::move(entry);
      return true;
    }
    if (entry.status().code() == absl::StatusCode::kDataLoss) {
      acquired.rotted = entry.status();
      return false;
    }
    if (entry.status().code() == absl::StatusCode::kNotFound) return false;
    return entry.status();
  };
  MUSTER_ASSIGN_OR_RETURN(bool found, found_entry());
  if (found) return acquired;
  MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, LockPart(key, stop));
  auto part = std::make_unique<FileCachePart>(domain_, shard, std::move(fd));
  // Step 4.
  MUSTER_ASSIGN_OR_RETURN(found, found_entry());
  if (found) {
    part->GiveUp();
    return acquired;
  }
  MUSTER_RETURN_IF_ERROR(part->Prepare(shard, stop));
  acquired.part = std::move(part);
  return acquired;
}

// Its writer died between the change of the mode and step 7: it may be taken over all the same.
void FileShardCache::MakeWritableIfDead(const std::string& part_name) {
  const UniqueFd fd(openat(domain_->dir.get(), part_name.c_str(),
                           O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid() || !TryLockExclusive(fd.get())) return;
  if (IsSameFile(domain_->dir.get(), part_name, fd.get())) fchmod(fd.get(), 0600);
}

absl::Status FileShardCache::RemoveStrayClaims() {
  return domain_->ForEachName([this](const std::string& name) {
    absl::string_view key = name;
    if (!absl::ConsumeSuffix(&key, kClaimsSuffix)) return;
    if (!domain_->Has(absl::StrCat(key, kPartSuffix))) domain_->Remove(name);
  });
}

// By the name and the record alone; nullopt for other files, too.
std::optional<Md5Digest> FileShardCache::DigestOfVerified(const std::string& name) const {
  const std::vector<std::string> parts = absl::StrSplit(name, '-');
  int64_t size = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[2], &size)) return std::nullopt;
  const absl::StatusOr<Md5Digest> digest = Md5FromHex(parts[1]);
  struct stat state {};
  if (!digest.ok() || fstatat(domain_->dir.get(), name.c_str(), &state, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(state.st_mode) || state.st_size != size ||
      !CacheRecord(domain_->dir.get(), name).Vouches(state)) {
    return std::nullopt;
  }
  return *digest;
}

std::vector<Md5Digest> FileShardCache::Inventory(size_t limit) {
  std::vector<Md5Digest> digests;
  // A directory that can't be listed holds nothing that could be promised.
  domain_
      ->ForEachName([&](const std::string& name) {
        if (digests.size() >= limit) return;
        if (const auto digest = DigestOfVerified(name)) digests.push_back(*digest);
      })
      .IgnoreError();
  return digests;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardCache>> ShardCache::Open(const std::string& path,
                                                             const Options& options) {
  auto domain = std::make_shared<CacheDomain>();
  MUSTER_ASSIGN_OR_RETURN(domain->dir, OpenCacheDomain(path, options.domain));
  domain->path = absl::StrCat(path, "/", options.domain);
  auto cache = std::make_unique<FileShardCache>(std::move(domain));
  MUSTER_RETURN_IF_ERROR(cache->RemoveStrayClaims());
  return cache;
}

}  // namespace muster
