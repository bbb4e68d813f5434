// Layout of a cache directory (KEY is CheckedShard::ContentKey; of an encoded shard there are
// KEY-plain, which is its ContentKey, and KEY, which is its StoredKey):
//     CACHEDIR.TAG              marks the directory as ours; see cache_directory.cc
//     DOMAIN/KEY                an entry: complete, synced, read-only, never written again
//     DOMAIN/KEY.record         says in which state the entry was verified; see cache_record.h
//     DOMAIN/KEY.pieces         the entry's piece list; see cache_pieces.h
//     DOMAIN/KEY.use            the users of the entry, and the last use; see cache_use.h
//     DOMAIN/pins/              the owners that need entries; see cache_pins.h
//     DOMAIN/KEY.part           a shard being written, or left by a writer that ended
//     DOMAIN/KEY.claims         which pieces of KEY.part were written; see cache_part.h
//
// Protocol. Locks are flocks of the file itself, so they go with the inode through a rename and end
// with the process. A process that gets a lock checks that the name still means the locked file,
// and starts over if not.
//  1. Lookup opens KEY, takes the shared lock of its use file, and looks whether the entry is still
//     there: nobody evicts it from then on. A record that matches the open file's state vouches for
//     it.
//  2. Otherwise lock KEY and look at the record again: another process may have hashed the entry
//     meanwhile, or may just be between steps 7 and 8. Without a match, wait until the file's times
//     are settled, hash it from the open file, and compare its state before and after. Good: write
//     the record. Bad: unlink record and entry.
//  3. Acquire that found no entry opens KEY.part, making it where it is missing, and locks it. This
//     wait ends when the other writer has ended or renamed its file.
//  4. Look up again under the lock: the entry may have come before it was taken.
//  5. Take over a part file of the full size: hash the pieces that its claims name. Cut any other
//     to nothing, and its claims before it, then reserve the full size. Before that, under the
//     domain's lock: count what is there, and evict what has to go.
//  6. Write pieces, and claim each once it is written. Sync now and then. At last sync the file and
//     set its mode.
//  7. Rename KEY.part to KEY, remove the claims and sync the directory. Only the holder of the
//     part's lock does so, after step 4, so no entry is ever replaced. The domain's lock is held
//     meanwhile: a process that counts what is there finds the file under one name or the other.
//  8. Settle, write the record, release the lock. A process that died before this leaves an entry
//     that is hashed again.
//  9. A writer that ends before step 7 leaves part and claims when they hold a piece, and removes
//     them otherwise: a process that had opened the file but not yet locked it sees in step 3 that
//     the name is gone. Stray companions of neither a part nor an entry are removed at the next
//     Open.
// 10. Evict under the domain's lock: read the pins, then take the lock of an unused entry's use file
//     or of a part that nobody writes, and unlink. A pin is written under the same lock: once it is
//     there, nobody evicts by an older look at the pins.
// 11. A process links an entry's file elsewhere, or removes such a link, under the entry's lock and
//     rewrites the record, as in step 8: a link moves the file's ctime.
// 12. An encoded shard is acquired by the lock of KEY.part. Its stored bytes are written there, as in
//     step 6; then KEY-plain.part, which is locked too, gets what they encode, by the list of frames
//     in KEY-plain.pieces, which is synced first, and becomes KEY-plain as in step 7. Only then does
//     KEY.part go, or before that it has become KEY where the cache keeps both. A process that dies
//     in between leaves parts that step 5 takes over; a KEY.part beside KEY-plain goes at the next
//     Open.
// Lock order: a part of stored bytes, then one of content; a part, then the domain; a part, then an
// entry. The holder of an entry's lock waits for no other lock, and the holder of the domain's
// waits for none of them.
#include "client/cache/shard_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cache/cache_decode.h"
#include "client/cache/cache_directory.h"
#include "client/cache/cache_files.h"
#include "client/cache/cache_part.h"
#include "client/cache/cache_pieces.h"
#include "client/cache/cache_record.h"
#include "client/cache/cache_use.h"
#include "client/cache/cache_warm.h"
#include "client/cache/piece_check.h"
#include "client/encoding/frame_decoder.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

class FileShardCache final : public ShardCache {
 public:
  FileShardCache(std::shared_ptr<const CacheDomain> domain, Place place, Options options)
      : domain_(std::move(domain)), place_(std::move(place)), options_(std::move(options)) {}

  absl::Status RemoveStrayFiles();
  Place place() const override { return place_; }
  absl::StatusOr<CachedShard> Lookup(const CheckedShard& shard,
                                     const std::stop_token& stop) override;
  absl::StatusOr<Acquired> Acquire(const CheckedShard& shard, const std::stop_token& stop) override;
  std::vector<Md5Digest> Inventory(size_t limit) override;
  absl::Status SetPin(const CachePin& pin, const std::stop_token& stop) override;
  absl::StatusOr<std::vector<CachePin>> Pins() override { return ReadPins(*domain_); }
  absl::StatusOr<std::vector<CacheItem>> List() override;
  absl::Status Check(const std::string& key, const ReadPace& pace,
                     const std::stop_token& stop) override {
    return CheckEntry(*domain_, key, pace, stop);
  }
  absl::Status Alter(const std::string& key,
                     absl::FunctionRef<absl::Status(const LockedEntry& entry)> alter,
                     const std::stop_token& stop) override {
    return AlterEntry(*domain_, key, alter, stop);
  }
  absl::StatusOr<int64_t> Warm(const std::string& key,
                               absl::FunctionRef<bool(int64_t bytes)> may_read,
                               const std::stop_token& stop) override {
    return WarmEntry(*domain_, key, may_read, stop);
  }
  bool InMemory() override { return IsInMemory(*domain_); }
  absl::StatusOr<CacheRoom> Room(absl::Span<const WantedShard> wanted) override;
  absl::Status CheckRoom(absl::Span<const WantedShard> wanted) override;
  absl::StatusOr<std::vector<CacheItem>> Evict(const Eviction& eviction,
                                               const std::stop_token& stop) override;

 private:
  bool DecodesFor(const CheckedShard& shard) const {
    return shard.is_encoded() && options_.form != CacheForm::kStored;
  }
  std::optional<Md5Digest> DigestOfVerified(const std::string& name) const;
  void MakeWritableIfDead(const std::string& part_name);
  absl::StatusOr<UniqueFd> OpenEntry(const std::string& key) const;
  absl::Status VerifyEntry(const CheckedShard& shard, int fd, const std::stop_token& stop);
  absl::StatusOr<CachedShard> FindEntry(const CheckedShard& shard, const std::stop_token& stop);
  absl::StatusOr<bool> FoundEntry(const CheckedShard& shard, const std::stop_token& stop,
                                  Acquired& acquired);
  absl::StatusOr<Acquired> AcquireAsStored(const CheckedShard& shard, const std::stop_token& stop);
  absl::StatusOr<Acquired> AcquireDecoded(const CheckedShard& shard, const std::stop_token& stop);
  absl::StatusOr<std::unique_ptr<ContentPart>> LockContentPart(const CheckedShard& shard,
                                                               const std::stop_token& stop);
  absl::StatusOr<CachedShard> DecodeEntry(const CheckedShard& shard, const CachedShard& stored,
                                          const std::stop_token& stop);
  absl::Status ReserveRoom(const WantedShard& shard, const std::stop_token& stop,
                           absl::FunctionRef<absl::Status()> reserve);
  absl::Status MakeRoom(const WantedShard& shard);
  std::vector<WantedShard> AsKept(absl::Span<const WantedShard> wanted) const;
  absl::StatusOr<UniqueFd> LockPart(const std::string& key, const std::stop_token& stop);

  const std::shared_ptr<const CacheDomain> domain_;
  const Place place_;
  const Options options_;
};

absl::StatusOr<UniqueFd> FileShardCache::OpenEntry(const std::string& key) const {
  const std::string path = domain_->PathOf(key);
  MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, domain_->OpenToRead(key));
  MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd.get(), path));
  if (!S_ISREG(state.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": not a regular file in the place of a cache entry; remove it"));
  }
  return fd;
}

absl::StatusOr<CachedShard> FileShardCache::Lookup(const CheckedShard& shard,
                                                   const std::stop_token& stop) {
  if (!shard.is_encoded()) return FindEntry(shard, stop);
  if (!DecodesFor(shard)) return FindEntry(shard.Stored(), stop);
  // Without a list of frames it is not an entry: nobody could check it.
  MUSTER_ASSIGN_OR_RETURN(const CheckedShard content, ShardOfEntry(*domain_, shard.ContentKey()));
  if (content.size_bytes() == shard.content_size_bytes()) return FindEntry(content, stop);
  return absl::NotFoundError(
      absl::StrCat(domain_->PathOf(shard.ContentKey()), ": has another size"));
}

// Steps 1 and 2.
absl::StatusOr<CachedShard> FileShardCache::FindEntry(const CheckedShard& shard,
                                                      const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  const std::string path = domain_->PathOf(key);
  const CacheRecord record(domain_->dir.get(), key);
  for (int start = 0; start < kMaxStartsOver; ++start) {
    MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, OpenEntry(key));
    MUSTER_ASSIGN_OR_RETURN(UniqueFd use, BeginUse(*domain_, key));
    if (!IsSameFile(domain_->dir.get(), key, fd.get())) {
      if (!domain_->Has(key) && !domain_->Has(key + kPartSuffix)) domain_->Remove(key + kUseSuffix);
      continue;
    }
    MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd.get(), path));
    if (state.st_size != shard.size_bytes() || !record.Vouches(state)) {
      MUSTER_RETURN_IF_ERROR(LockExclusive(fd.get(), path, stop));
      if (!IsSameFile(domain_->dir.get(), key, fd.get())) continue;
      MUSTER_RETURN_IF_ERROR(VerifyEntry(shard, fd.get(), stop));
      Unlock(fd.get());
    }
    // For a later check of the entry. Without it the entry just stays unchecked.
    KeepPieces(*domain_, shard).IgnoreError();
    return CachedShard(std::move(fd), std::move(use), path,
                       std::make_shared<const CheckedShard>(shard));
  }
  return absl::AbortedError(absl::StrCat(path, ": the cache entry keeps being replaced"));
}

// The entry is locked. OK when it is good and recorded as such.
absl::Status FileShardCache::VerifyEntry(const CheckedShard& shard, int fd,
                                         const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  const std::string path = domain_->PathOf(key);
  const CacheRecord record(domain_->dir.get(), key);
  MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd, path));
  absl::Status verified = CheckFileSize(shard, path, state.st_size);
  if (verified.ok()) {
    if (record.Vouches(state)) return absl::OkStatus();
    MUSTER_ASSIGN_OR_RETURN(const struct stat before, record.Settle(fd));
    verified = CheckFile(shard, {fd, path}, stop);
    MUSTER_ASSIGN_OR_RETURN(const struct stat after, StatOf(fd, path));
    if (verified.ok() && SameState(before, after)) return record.Write(before);
    if (verified.ok()) {
      return absl::AbortedError(absl::StrCat(path, ": was changed while it was verified"));
    }
  }
  if (verified.code() != absl::StatusCode::kDataLoss) return verified;
  RemoveEntryFiles(*domain_, key);
  return verified;
}

// Step 3.
absl::StatusOr<UniqueFd> FileShardCache::LockPart(const std::string& key,
                                                  const std::stop_token& stop) {
  const std::string name = key + kPartSuffix;
  const std::string path = domain_->PathOf(name);
  for (int start = 0; start < kMaxStartsOver; ++start) {
    UniqueFd fd = domain_->Open(name, O_RDWR | O_CREAT);
    if (!fd.valid() && errno == EACCES) {
      // Its writer made it read-only already, and is about to rename it or died.
      MakeWritableIfDead(name);
      PauseBetweenLooks();
      continue;
    }
    if (!fd.valid()) return PathError(errno, "make it", path);
    MUSTER_RETURN_IF_ERROR(LockExclusive(fd.get(), path, stop));
    if (IsSameFile(domain_->dir.get(), name, fd.get())) return fd;
  }
  return absl::AbortedError(absl::StrCat(path, ": the part file keeps being replaced"));
}

absl::StatusOr<ShardCache::Acquired> FileShardCache::Acquire(const CheckedShard& shard,
                                                             const std::stop_token& stop) {
  if (!shard.is_encoded()) return AcquireAsStored(shard, stop);
  if (!DecodesFor(shard)) return AcquireAsStored(shard.Stored(), stop);
  return AcquireDecoded(shard, stop);
}

// Whether the lookup settled the matter; an entry that rotted counts as none.
absl::StatusOr<bool> FileShardCache::FoundEntry(const CheckedShard& shard,
                                                const std::stop_token& stop, Acquired& acquired) {
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
}

absl::StatusOr<ShardCache::Acquired> FileShardCache::AcquireAsStored(const CheckedShard& shard,
                                                                     const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  Acquired acquired;
  MUSTER_ASSIGN_OR_RETURN(bool found, FoundEntry(shard, stop, acquired));
  if (found) return acquired;
  MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, LockPart(key, stop));
  auto part = std::make_unique<FileCachePart>(domain_, shard, std::move(fd));
  // Step 4.
  MUSTER_ASSIGN_OR_RETURN(found, FoundEntry(shard, stop, acquired));
  if (found) {
    part->GiveUp();
    return acquired;
  }
  MUSTER_RETURN_IF_ERROR(
      ReserveRoom({key, shard.size_bytes()}, stop, [&part] { return part->Reserve(); }));
  MUSTER_RETURN_IF_ERROR(part->TakeOver(shard, stop));
  acquired.part = std::move(part);
  return acquired;
}

// Step 12.
absl::StatusOr<ShardCache::Acquired> FileShardCache::AcquireDecoded(const CheckedShard& shard,
                                                                    const std::stop_token& stop) {
  Acquired acquired;
  MUSTER_ASSIGN_OR_RETURN(bool found, FoundEntry(shard, stop, acquired));
  if (found) return acquired;
  const absl::Status possible =
      FrameDecoder::CheckPossible(shard.encoding(), shard.key_id(), options_.keys.get());
  if (!possible.ok()) return Annotate(possible, shard.name());
  const CheckedShard stored = shard.Stored();
  MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, LockPart(stored.ContentKey(), stop));
  auto part = std::make_unique<FileCachePart>(domain_, stored, std::move(fd));
  MUSTER_ASSIGN_OR_RETURN(found, FoundEntry(shard, stop, acquired));
  if (!found) {
    // Stored bytes that rotted are pulled again, and nobody was led to expect the content.
    const absl::StatusOr<CachedShard> kept = FindEntry(stored, stop);
    if (kept.ok()) {
      MUSTER_ASSIGN_OR_RETURN(acquired.entry, DecodeEntry(shard, *kept, stop));
      found = true;
    } else if (!absl::IsNotFound(kept.status()) && !absl::IsDataLoss(kept.status())) {
      return kept.status();
    }
  }
  if (found) {
    part->GiveUp();
    return acquired;
  }
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<ContentPart> content, LockContentPart(shard, stop));
  MUSTER_RETURN_IF_ERROR(
      ReserveRoom({shard.ContentKey(), shard.content_size_bytes(), shard.size_bytes()}, stop, [&] {
        const absl::Status reserved = part->Reserve();
        return reserved.ok() ? content->Reserve() : reserved;
      }));
  MUSTER_RETURN_IF_ERROR(part->TakeOver(stored, stop));
  acquired.part =
      std::make_unique<DecodingCachePart>(std::move(part), std::move(content), options_, stop);
  return acquired;
}

// The caller holds the lock of the part of stored bytes, and has found no entry.
absl::StatusOr<std::unique_ptr<ContentPart>> FileShardCache::LockContentPart(
    const CheckedShard& shard, const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, LockPart(key, stop));
  // One without a list of frames.
  if (domain_->Has(key)) RemoveEntryFiles(*domain_, key);
  return std::make_unique<ContentPart>(domain_, shard, std::move(fd));
}

absl::StatusOr<CachedShard> FileShardCache::DecodeEntry(const CheckedShard& shard,
                                                        const CachedShard& stored,
                                                        const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<ContentPart> content, LockContentPart(shard, stop));
  MUSTER_RETURN_IF_ERROR(
      ReserveRoom({shard.ContentKey(), shard.content_size_bytes(), shard.size_bytes()}, stop,
                  [&content] { return content->Reserve(); }));
  return content->Decode(
      [&stored](int64_t offset, absl::Span<char> out) { return stored.Read(offset, out); },
      options_, stop);
}

// Its writer died between the change of the mode and step 7: it may be taken over all the same.
void FileShardCache::MakeWritableIfDead(const std::string& part_name) {
  const UniqueFd fd = domain_->Open(part_name, O_RDONLY);
  if (!fd.valid() || !TryLockExclusive(fd.get())) return;
  if (IsSameFile(domain_->dir.get(), part_name, fd.get())) fchmod(fd.get(), 0600);
}

// Step 5.
absl::Status FileShardCache::ReserveRoom(const WantedShard& shard, const std::stop_token& stop,
                                         absl::FunctionRef<absl::Status()> reserve) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain_->Lock(stop));
  MUSTER_RETURN_IF_ERROR(MakeRoom(shard));
  return reserve();
}

// `wanted` with the keys and sizes of what this cache keeps.
std::vector<WantedShard> FileShardCache::AsKept(absl::Span<const WantedShard> wanted) const {
  std::vector<WantedShard> kept(wanted.begin(), wanted.end());
  for (WantedShard& shard : kept) {
    if (shard.stored_bytes == 0 || options_.form == CacheForm::kPlain) continue;
    const int64_t stored = std::exchange(shard.stored_bytes, 0);
    shard.size_bytes = options_.form == CacheForm::kBoth ? shard.size_bytes + stored : stored;
  }
  return kept;
}

// Step 10. The domain is locked, and so is the shard's part, which is therefore not evicted.
absl::Status FileShardCache::MakeRoom(const WantedShard& shard) {
  // Looking at every file is for when it may matter.
  if (!options_.budget_bytes.has_value() &&
      FreeOnDisk(*domain_) >= shard.size_bytes + shard.stored_bytes) {
    return absl::OkStatus();
  }
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CacheItem> contents, ListContents(*domain_));
  const CacheRoom room = RoomFor(*domain_, options_.budget_bytes, contents, {&shard, 1});
  if (!room.Fits()) return NoRoomError(*domain_, room);
  int64_t short_of = room.needed_bytes - room.free_bytes;
  for (const CacheItem& item : contents) {
    if (short_of <= 0) return absl::OkStatus();
    if (item.pinned() || StoredKeyOf(item.key) == StoredKeyOf(shard.key)) continue;
    if (RemoveItem(*domain_, item)) short_of -= item.size_bytes;
  }
  // Some that were free to go came into use meanwhile.
  if (short_of <= 0) return absl::OkStatus();
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CacheItem> left, ListContents(*domain_));
  return NoRoomError(*domain_, RoomFor(*domain_, options_.budget_bytes, left, {&shard, 1}));
}

absl::Status FileShardCache::SetPin(const CachePin& pin, const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain_->Lock(stop));
  return WritePin(*domain_, pin);
}

absl::StatusOr<std::vector<CacheItem>> FileShardCache::List() {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain_->Lock({}));
  return ListContents(*domain_);
}

absl::StatusOr<CacheRoom> FileShardCache::Room(absl::Span<const WantedShard> wanted) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CacheItem> contents, List());
  return RoomFor(*domain_, options_.budget_bytes, contents, AsKept(wanted));
}

absl::Status FileShardCache::CheckRoom(absl::Span<const WantedShard> wanted) {
  MUSTER_ASSIGN_OR_RETURN(const CacheRoom room, Room(wanted));
  return room.Fits() ? absl::OkStatus() : NoRoomError(*domain_, room);
}

absl::StatusOr<std::vector<CacheItem>> FileShardCache::Evict(const Eviction& eviction,
                                                             const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain_->Lock(stop));
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CacheItem> contents, ListContents(*domain_));
  int64_t used = 0;
  for (const CacheItem& item : contents) used += item.size_bytes;
  std::vector<CacheItem> gone;
  for (const CacheItem& item : contents) {
    const auto& keys = eviction.keys;
    const bool chosen = keys.empty() ? used > eviction.target_bytes
                                     : std::find(keys.begin(), keys.end(), item.key) != keys.end();
    if (!chosen || item.in_use || (!item.owners.empty() && !eviction.force)) continue;
    if (!RemoveItem(*domain_, item)) continue;
    used -= item.size_bytes;
    gone.push_back(item);
  }
  return gone;
}

// What lies beside neither an entry nor a part, and stored bytes that were decoded.
absl::Status FileShardCache::RemoveStrayFiles() {
  return domain_->ForEachName([this](const std::string& name) {
    const std::string key = name.substr(0, name.find('.'));
    if (name == key + kPartSuffix && domain_->Has(DecodedKeyOf(key))) {
      CacheItem part;
      part.key = key;
      part.is_part = true;
      RemoveItem(*domain_, part);
      return;
    }
    if (key == name || domain_->Has(key + kPartSuffix)) return;
    if (absl::EndsWith(name, kClaimsSuffix) || !domain_->Has(key)) domain_->Remove(name);
  });
}

// By the name and the record alone; nullopt for other files, too.
std::optional<Md5Digest> FileShardCache::DigestOfVerified(const std::string& name) const {
  const std::vector<std::string> parts = absl::StrSplit(StoredKeyOf(name), '-');
  int64_t size = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[2], &size)) return std::nullopt;
  const bool is_stored = StoredKeyOf(name) == name;
  // Its content counts.
  if (is_stored && domain_->Has(DecodedKeyOf(name))) return std::nullopt;
  const absl::StatusOr<Md5Digest> digest = Md5FromHex(parts[1]);
  struct stat state {};
  if (!digest.ok() || fstatat(domain_->dir.get(), name.c_str(), &state, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(state.st_mode) || (is_stored && state.st_size != size) ||
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
  MUSTER_ASSIGN_OR_RETURN(domain->dir,
                          OpenCacheDomain(path, options.domain, options.allow_network));
  domain->path = absl::StrCat(path, "/", options.domain);
  domain->entry_mode = options.entry_mode;
  auto cache = std::make_unique<FileShardCache>(std::move(domain),
                                                ShardCache::Place{path, options.domain}, options);
  MUSTER_RETURN_IF_ERROR(cache->RemoveStrayFiles());
  return cache;
}

}  // namespace muster
