// Layout of a cache directory (KEY is CheckedShard::ContentKey):
//     CACHEDIR.TAG              marks the directory as ours; see cache_directory.cc
//     DOMAIN/KEY                an entry: complete, synced, mode 0444, never written again
//     DOMAIN/KEY.record         says in which state the entry was verified; see cache_record.h
//     DOMAIN/KEY.part           a shard being written
//
// Protocol. Locks are flocks of the file itself, so they go with the inode through a rename and end
// with the process. Whoever got a lock checks that the name still means the locked file, and starts
// over if not.
//  1. Lookup opens KEY. A record that matches the open file's state vouches for it.
//  2. Otherwise lock KEY and look at the record again: another process may have hashed the entry
//  meanwhile, or may just
//     be between steps 7 and 8. Without a match, wait until the file's times are settled, hash it
//     from the open file, and compare its state before and after. Good: write the record. Bad:
//     unlink record and entry.
//  3. Acquire that found no entry opens KEY.part, making it where it is missing, and locks it. This
//  wait ends when the
//     other writer has renamed or unlinked its file.
//  4. Look up again under the lock: the entry may have come before it was taken.
//  5. Cut the part file to nothing (a dead process may have left bytes) and reserve its full size.
//  6. Write pieces. Sync the file and set its mode.
//  7. Rename KEY.part to KEY and sync the directory. Only the holder of the part's lock does so,
//  after step 4, so no entry
//     is ever replaced.
//  8. Settle, write the record, release the lock. A process that died before this leaves an entry
//  that is hashed again.
//  9. Open removes a KEY.part whose lock is free: its writer is dead. A writer that had opened but
//  not yet locked it
//     sees in step 3 that the name is gone.
// Lock order: a part before an entry. Who holds an entry's lock waits for no other.
#include "client/transfer/shard_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/transfer/cache_directory.h"
#include "client/transfer/cache_record.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr char kPartSuffix[] = ".part";
// Of the names of entries; see CheckedShard::ContentKey.
constexpr char kRootPrefix[] = "root-";
constexpr char kMd5Prefix[] = "md5-";
// Read at once while an entry is hashed again.
constexpr int64_t kRehashChunkBytes = int64_t{1} << 20;
// Names that keep changing between open and lock mean that something outside meddles with the
// cache.
constexpr int kMaxStartsOver = 1000;

struct Domain {
  UniqueFd dir;
  std::string path;

  std::string PathOf(const std::string& name) const { return absl::StrCat(path, "/", name); }
};

absl::Status Rotted(const std::string& path, absl::string_view what, const Md5Digest& expected,
                    const Md5Digest& found) {
  return MakeError(absl::StatusCode::kDataLoss, "CACHE_ENTRY_CORRUPT",
                   absl::StrCat(path, ": ", what, " has MD5 ", Md5ToHex(found), ", expected ",
                                Md5ToHex(expected), "; the cache entry was removed"),
                   {{"expected_md5", Md5ToHex(expected)}, {"found_md5", Md5ToHex(found)}});
}

absl::StatusOr<Md5Digest> HashRange(int fd, const std::string& path, int64_t begin, int64_t length,
                                    const std::stop_token& stop) {
  Md5Stream stream;
  const int64_t chunk = std::min(length, kRehashChunkBytes);
  auto buffer = std::make_unique_for_overwrite<char[]>(static_cast<size_t>(chunk));
  for (int64_t done = 0; done < length;) {
    if (stop.stop_requested()) return absl::CancelledError(absl::StrCat(path, ": cancelled"));
    const auto count = static_cast<size_t>(std::min(chunk, length - done));
    MUSTER_RETURN_IF_ERROR(ReadAt(fd, path, begin + done, absl::MakeSpan(buffer.get(), count)));
    stream.Update(absl::string_view(buffer.get(), count));
    done += static_cast<int64_t>(count);
  }
  return stream.Finish();
}

// kDataLoss when the open file does not hold the shard's bytes.
absl::Status VerifyFile(const CheckedShard& shard, int fd, const std::string& path,
                        const std::stop_token& stop) {
  if (!shard.has_pieces()) {
    MUSTER_ASSIGN_OR_RETURN(const Md5Digest found,
                            HashRange(fd, path, 0, shard.size_bytes(), stop));
    if (found == *shard.whole_md5()) return absl::OkStatus();
    return Rotted(path, "the file", *shard.whole_md5(), found);
  }
  for (size_t piece = 0; piece < shard.piece_count(); ++piece) {
    MUSTER_ASSIGN_OR_RETURN(const Md5Digest found, HashRange(fd, path, shard.PieceOffset(piece),
                                                             shard.PieceLength(piece), stop));
    if (found == shard.piece_digest(piece)) continue;
    return Rotted(path, absl::StrCat("piece ", piece), shard.piece_digest(piece), found);
  }
  return absl::OkStatus();
}

class FileCachePart final : public CachePart {
 public:
  FileCachePart(std::shared_ptr<const Domain> domain, std::string key, UniqueFd fd,
                int64_t size_bytes)
      : domain_(std::move(domain)),
        key_(std::move(key)),
        part_name_(key_ + kPartSuffix),
        fd_(std::move(fd)),
        size_bytes_(size_bytes) {}

  ~FileCachePart() override {
    if (committed_ || !IsSameFile(domain_->dir.get(), part_name_, fd_.get())) return;
    unlinkat(domain_->dir.get(), part_name_.c_str(), 0);
  }

  absl::Status Reserve();
  absl::Status Write(int64_t offset, absl::string_view bytes) override;
  absl::StatusOr<CachedShard> Commit() override;

 private:
  std::string PartPath() const { return domain_->PathOf(part_name_); }
  absl::Status NoSpace() const { return NoSpaceError(PartPath(), fd_.get(), size_bytes_); }

  const std::shared_ptr<const Domain> domain_;
  const std::string key_;
  const std::string part_name_;
  UniqueFd fd_;
  const int64_t size_bytes_;
  bool committed_ = false;
};

// Step 5.
absl::Status FileCachePart::Reserve() {
  if (ftruncate(fd_.get(), 0) != 0) return PathError(errno, "cut to nothing", PartPath());
  int result = 0;
  do {
    result = fallocate(fd_.get(), 0, 0, size_bytes_);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return absl::OkStatus();
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
    absl::Status status = NoSpace();
    // What was reserved is given back at once: the part may wait for its destruction.
    if (ftruncate(fd_.get(), 0) != 0) return PathError(errno, "cut to nothing", PartPath());
    return status;
  }
  if (errno != EOPNOTSUPP && errno != ENOSYS) return PathError(errno, "reserve", PartPath());
  // A file system that can't reserve: a full disk then shows in Write.
  if (ftruncate(fd_.get(), size_bytes_) != 0) return PathError(errno, "extend", PartPath());
  return absl::OkStatus();
}

absl::Status FileCachePart::Write(int64_t offset, absl::string_view bytes) {
  if (offset < 0 || offset > size_bytes_ ||
      static_cast<int64_t>(bytes.size()) > size_bytes_ - offset) {
    return absl::InternalError(absl::StrCat(PartPath(), ": a range of ", bytes.size(), " bytes at ",
                                            offset, " is outside ", size_bytes_, " bytes"));
  }
  absl::Status status = WriteAt(fd_.get(), PartPath(), offset, bytes);
  if (status.code() == absl::StatusCode::kResourceExhausted) return NoSpace();
  return status;
}

// Steps 6 to 8.
absl::StatusOr<CachedShard> FileCachePart::Commit() {
  const int dir = domain_->dir.get();
  if (fsync(fd_.get()) != 0) {
    if (errno == ENOSPC || errno == EDQUOT) return NoSpace();
    return PathError(errno, "sync", PartPath());
  }
  if (fchmod(fd_.get(), 0444) != 0) return PathError(errno, "make read-only", PartPath());
  if (!IsSameFile(dir, part_name_, fd_.get())) {
    return absl::AbortedError(absl::StrCat(
        PartPath(),
        ": the part file was removed or replaced by another program while it was written"));
  }
  if (renameat(dir, part_name_.c_str(), dir, key_.c_str()) != 0) {
    return PathError(errno, "rename", PartPath());
  }
  committed_ = true;
  const std::string path = domain_->PathOf(key_);
  if (fsync(dir) != 0) return PathError(errno, "sync the directory of", path);
  UniqueFd read_fd(openat(dir, key_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!read_fd.valid()) return PathError(errno, "open", path);
  if (!IsSameFile(dir, key_, fd_.get())) {
    return absl::AbortedError(
        absl::StrCat(path, ": the cache entry was replaced by another program as it was made"));
  }
  // An entry without a record is only slower to find: it is hashed again.
  const CacheRecord record(dir, key_);
  if (const auto settled = record.Settle(fd_.get()); settled.ok()) {
    if (!record.Write(*settled).ok()) record.Remove();
  }
  fd_.Reset();
  return CachedShard(std::move(read_fd), path, size_bytes_);
}

class FileShardCache final : public ShardCache {
 public:
  explicit FileShardCache(std::shared_ptr<const Domain> domain) : domain_(std::move(domain)) {}

  absl::Status RemoveLeftovers();
  absl::StatusOr<CachedShard> Lookup(const CheckedShard& shard,
                                     const std::stop_token& stop) override;
  absl::StatusOr<Acquired> Acquire(const CheckedShard& shard, const std::stop_token& stop) override;
  std::vector<Md5Digest> Inventory(size_t limit) override;

 private:
  absl::Status ForEachName(absl::FunctionRef<void(const std::string& name)> on_name) const;
  std::optional<Md5Digest> DigestOfVerified(const std::string& name) const;
  void RemoveIfDead(const std::string& part_name);
  absl::StatusOr<UniqueFd> OpenEntry(const std::string& key) const;
  absl::Status VerifyEntry(const CheckedShard& shard, int fd, const std::stop_token& stop);
  absl::StatusOr<UniqueFd> LockPart(const std::string& key, const std::stop_token& stop);

  const std::shared_ptr<const Domain> domain_;
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
    verified = VerifyFile(shard, fd, path, stop);
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
        RemoveIfDead(name);
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
  auto part = std::make_unique<FileCachePart>(domain_, key, std::move(fd), shard.size_bytes());
  // Step 4.
  MUSTER_ASSIGN_OR_RETURN(found, found_entry());
  if (found) return acquired;
  MUSTER_RETURN_IF_ERROR(part->Reserve());
  acquired.part = std::move(part);
  return acquired;
}

// Step 9.
void FileShardCache::RemoveIfDead(const std::string& part_name) {
  const UniqueFd fd(openat(domain_->dir.get(), part_name.c_str(),
                           O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat state {};
  if (!fd.valid() || fstat(fd.get(), &state) != 0 || !S_ISREG(state.st_mode)) return;
  if (!TryLockExclusive(fd.get()) || !IsSameFile(domain_->dir.get(), part_name, fd.get())) return;
  unlinkat(domain_->dir.get(), part_name.c_str(), 0);
}

absl::Status FileShardCache::ForEachName(
    absl::FunctionRef<void(const std::string& name)> on_name) const {
  const int list_fd = openat(domain_->dir.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (list_fd < 0) return PathError(errno, "list", domain_->path);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(fdopendir(list_fd), &closedir);
  if (dir == nullptr) {
    close(list_fd);
    return PathError(errno, "list", domain_->path);
  }
  while (const dirent* entry = readdir(dir.get())) {
    const absl::string_view name = entry->d_name;
    if (absl::StartsWith(name, kRootPrefix) || absl::StartsWith(name, kMd5Prefix)) {
      on_name(std::string(name));
    }
  }
  return absl::OkStatus();
}

absl::Status FileShardCache::RemoveLeftovers() {
  return ForEachName([this](const std::string& name) {
    if (absl::EndsWith(name, kPartSuffix)) RemoveIfDead(name);
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
  ForEachName([&](const std::string& name) {
    if (digests.size() >= limit) return;
    if (const auto digest = DigestOfVerified(name)) digests.push_back(*digest);
  }).IgnoreError();
  return digests;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardCache>> ShardCache::Open(const std::string& path,
                                                             const Options& options) {
  auto domain = std::make_shared<Domain>();
  MUSTER_ASSIGN_OR_RETURN(domain->dir, OpenCacheDomain(path, options.domain));
  domain->path = absl::StrCat(path, "/", options.domain);
  auto cache = std::make_unique<FileShardCache>(std::move(domain));
  MUSTER_RETURN_IF_ERROR(cache->RemoveLeftovers());
  return cache;
}

}  // namespace muster
