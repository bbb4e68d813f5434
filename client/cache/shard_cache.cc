// Layout of a cache directory (KEY is CheckedShard::ContentKey; of an encoded shard there are
// KEY-plain, which is its ContentKey, and KEY, which is its StoredKey):
//     CACHEDIR.TAG              marks the directory as ours; see cache_directory.cc
//     DOMAIN/KEY                an entry: complete, synced, read-only, never written again
//     DOMAIN/KEY.record         says in which state the entry was verified; see cache_record.h
//     DOMAIN/KEY.pieces         the entry's piece list; see cache_pieces.h
//     DOMAIN/KEY.names          which shards of which models it is, for people; see cache_names.h
//     DOMAIN/KEY.use            the users of the entry, and the last use; see cache_use.h
//     DOMAIN/pins/              the owners that need entries; see cache_pins.h
//     DOMAIN/KEY.part           a shard being written, or left by a writer that ended
//     DOMAIN/KEY.claims         which pieces of KEY.part were written; see cache_part.h
//     DOMAIN/KEY.2.part …       the same of a further writer, with KEY.2.claims; see step 3
//
// Protocol. Locks are flocks of the file itself, so they go with the inode through a rename and end
// with the process. A process that gets a lock checks that the name still means the locked file,
// and starts over if not.
//  1. Lookup opens KEY, takes the shared lock of its use file, and looks whether the entry is still
//     there: nobody evicts it from then on. A record that matches the open file's state vouches for
//     it, unless anybody has the file open for writing.
//  2. Otherwise lock KEY and look at the record again: another process may have hashed the entry
//     meanwhile, or may just be between steps 7 and 8. Without a match, wait until the file's times
//     are settled, hash it from the open file, and compare its state before and after. Good, and open
//     for writing by nobody, so that every later change will move its times: write the record. Bad: unlink it with all that lies beside it, under the domain's lock.
//  3. Acquire that found no entry opens KEY.part, making it where it is missing, and locks it. This
//     wait ends when the other writer has ended or renamed its file, or the entry is there. A holder
//     in another process that writes nothing for long (stopped, or its source hangs) keeps its lock:
//     the same is done with KEY.2.part, and so on.
//  4. Look up again under the lock: the entry may have come before it was taken.
//  5. Take over a part file of the full size: hash the pieces that its claims name. Cut any other
//     to nothing, and its claims before it, then reserve the full size. Before that, under the
//     domain's lock: count what is there, and evict what has to go.
//  6. Write pieces, and claim each once it is written. Sync now and then. At last sync the file and
//     set its mode.
//  7. Rename KEY.part to KEY, remove the claims and sync the directory. Only the holder of the
//     part's lock does so, after step 4, and under the domain's lock, where it looks whether another
//     writer's entry has come: then that one is taken, so no entry is ever replaced. A process that
//     counts what is there finds the file under one name or the other.
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
// entry; an entry, then the domain. The holder of the domain's lock waits for none of them.
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
#include "client/cache/cache_entry.h"
#include "client/cache/cache_files.h"
#include "client/cache/cache_names.h"
#include "client/cache/cache_part.h"
#include "client/cache/cache_pieces.h"
#include "client/cache/cache_record.h"
#include "client/cache/cache_use.h"
#include "client/cache/cache_warm.h"
#include "client/cache/part_lock.h"
#include "client/encoding/frame_decoder.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// What it takes to write the shard. `beside` another writer, whose part does not count as the shard's.
WantedShard RoomOf(const CheckedShard& shard, bool beside) {
  return {beside ? "" : shard.ContentKey(), shard.content_size_bytes(),
          shard.is_encoded() ? shard.size_bytes() : 0};
}

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
  absl::StatusOr<bool> EndPin(const std::string& owner, const std::string& uid,
                              const std::stop_token& stop) override;
  absl::StatusOr<std::vector<CacheItem>> List() override;
  absl::Status Check(const std::string& key, const ReadPace& pace,
                     const std::stop_token& stop) override {
    return CheckEntry(*domain_, key, pace, stop);
  }
  absl::Status Confirm(const std::string& key, const std::stop_token& stop) override {
    return ConfirmEntry(*domain_, key, stop);
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
  absl::Status CheckKey(const CheckedShard& shard, const std::optional<KeyProof>& proof,
                        const std::stop_token& stop) const;
  std::optional<Md5Digest> DigestOfVerified(const std::string& name) const;
  absl::StatusOr<bool> FoundEntry(const CheckedShard& shard, const std::stop_token& stop,
                                  Acquired& acquired);
  absl::StatusOr<Acquired> AcquireAsStored(const CheckedShard& shard, const std::stop_token& stop);
  absl::StatusOr<Acquired> AcquireDecoded(const CheckedShard& shard, const std::stop_token& stop);
  absl::StatusOr<std::unique_ptr<FileCachePart>> PartToWrite(const CheckedShard& shard,
                                                             const CheckedShard& stored,
                                                             const std::stop_token& stop,
                                                             Acquired& acquired);
  absl::StatusOr<std::unique_ptr<ContentPart>> LockContentPart(const CheckedShard& shard,
                                                               bool beside,
                                                               const std::stop_token& stop);
  absl::Status RemoveUnlistedEntry(const CheckedShard& shard, const std::stop_token& stop);
  absl::StatusOr<CachedShard> DecodeEntry(const CheckedShard& shard, const CachedShard& stored,
                                          bool beside, const std::stop_token& stop);
  absl::Status ReserveRoom(const WantedShard& shard, const std::stop_token& stop,
                           absl::FunctionRef<absl::Status()> reserve);
  absl::Status MakeRoom(const WantedShard& shard);
  std::vector<WantedShard> AsKept(absl::Span<const WantedShard> wanted) const;

  const std::shared_ptr<const CacheDomain> domain_;
  const Place place_;
  const Options options_;
};

absl::StatusOr<CachedShard> FileShardCache::Lookup(const CheckedShard& shard,
                                                   const std::stop_token& stop) {
  if (!shard.is_encoded()) return FindEntry(*domain_, shard, stop);
  if (!DecodesFor(shard)) return FindEntry(*domain_, shard.Stored(), stop);
  // Without a list of frames it is not an entry: nobody could check it.
  MUSTER_ASSIGN_OR_RETURN(const EntryList list, ListOfEntry(*domain_, shard.ContentKey()));
  if (list.shard.size_bytes() != shard.content_size_bytes()) {
    return absl::NotFoundError(
        absl::StrCat(domain_->PathOf(shard.ContentKey()), ": has another size"));
  }
  MUSTER_RETURN_IF_ERROR(CheckKey(shard, list.proof, stop));
  return FindEntry(*domain_, list.shard, stop);
}

// Content that was decrypted is for those who could do it themselves. Lists of earlier builds hold no
// proof: there it must do that a key is given.
absl::Status FileShardCache::CheckKey(const CheckedShard& shard,
                                      const std::optional<KeyProof>& proof,
                                      const std::stop_token& stop) const {
  // The proof decides, whatever the catalogue calls the encoding.
  const absl::Status status =
      proof.has_value()
          ? FrameDecoder::CheckKey(*proof, shard.name(), shard.key_id(), options_.keys.get(), stop)
          : FrameDecoder::CheckPossible(shard.encoding(), shard.key_id(), options_.keys.get());
  // What is there was decoded by a build that knew how.
  return absl::IsUnimplemented(status) ? absl::OkStatus() : Annotate(status, shard.name());
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

// Steps 3 and 4: the right to write what is stored of `shard`; null where an entry settled the matter.
absl::StatusOr<std::unique_ptr<FileCachePart>> FileShardCache::PartToWrite(
    const CheckedShard& shard, const CheckedShard& stored, const std::stop_token& stop,
    Acquired& acquired) {
  const PartWait wait{domain_->writer_patience, shard.ContentKey()};
  for (int start = 0; start < kMaxStartsOver; ++start) {
    MUSTER_ASSIGN_OR_RETURN(bool found, FoundEntry(shard, stop, acquired));
    if (found) return nullptr;
    MUSTER_ASSIGN_OR_RETURN(LockedPart lock, LockPart(*domain_, stored.ContentKey(), wait, stop));
    if (!lock.fd.valid()) {
      PauseBetweenLooks();
      continue;
    }
    auto part = std::make_unique<FileCachePart>(domain_, stored, std::move(lock),
                                                domain_->ModeOf(/*secret=*/false));
    MUSTER_ASSIGN_OR_RETURN(found, FoundEntry(shard, stop, acquired));
    if (!found) return part;
    part->GiveUp();
    return nullptr;
  }
  return absl::AbortedError(absl::StrCat(domain_->PathOf(shard.ContentKey()),
                                         ": the cache entry keeps coming and going"));
}

absl::StatusOr<ShardCache::Acquired> FileShardCache::AcquireAsStored(const CheckedShard& shard,
                                                                     const std::stop_token& stop) {
  Acquired acquired;
  MUSTER_ASSIGN_OR_RETURN(auto part, PartToWrite(shard, shard, stop, acquired));
  if (part == nullptr) return acquired;
  MUSTER_RETURN_IF_ERROR(
      ReserveRoom(RoomOf(shard, part->IsBeside()), stop, [&part] { return part->Reserve(); }));
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
  MUSTER_ASSIGN_OR_RETURN(auto part, PartToWrite(shard, stored, stop, acquired));
  if (part == nullptr) return acquired;
  // Stored bytes that rotted are pulled again, and nobody was led to expect the content.
  const absl::StatusOr<CachedShard> kept = FindEntry(*domain_, stored, stop);
  if (kept.ok()) {
    MUSTER_ASSIGN_OR_RETURN(acquired.entry, DecodeEntry(shard, *kept, part->IsBeside(), stop));
    part->GiveUp();
    return acquired;
  }
  if (!absl::IsNotFound(kept.status()) && !absl::IsDataLoss(kept.status())) return kept.status();
  MUSTER_ASSIGN_OR_RETURN(auto content, LockContentPart(shard, part->IsBeside(), stop));
  MUSTER_RETURN_IF_ERROR(ReserveRoom(RoomOf(shard, part->IsBeside()), stop, [&] {
    const absl::Status reserved = part->Reserve();
    return reserved.ok() ? content->Reserve() : reserved;
  }));
  MUSTER_RETURN_IF_ERROR(part->TakeOver(stored, stop));
  acquired.part =
      std::make_unique<DecodingCachePart>(std::move(part), std::move(content), options_, stop);
  return acquired;
}

// The caller holds the lock of the part of stored bytes, and has found no entry. `beside` others that
// stand still there, it does not wait for them here.
absl::StatusOr<std::unique_ptr<ContentPart>> FileShardCache::LockContentPart(
    const CheckedShard& shard, bool beside, const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  const PartWait wait{beside ? absl::ZeroDuration() : domain_->writer_patience, ""};
  MUSTER_ASSIGN_OR_RETURN(LockedPart lock, LockPart(*domain_, key, wait, stop));
  MUSTER_RETURN_IF_ERROR(RemoveUnlistedEntry(shard, stop));
  return std::make_unique<ContentPart>(domain_, shard, std::move(lock));
}

// One without a list of frames is of no use to anybody.
absl::Status FileShardCache::RemoveUnlistedEntry(const CheckedShard& shard,
                                                 const std::stop_token& stop) {
  const std::string key = shard.ContentKey();
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain_->Lock(stop));
  const absl::StatusOr<CheckedShard> content = ShardOfEntry(*domain_, key);
  const bool listed = content.ok() && content->size_bytes() == shard.content_size_bytes();
  if (domain_->Has(key) && !listed) RemoveEntryFiles(*domain_, key);
  return absl::OkStatus();
}

absl::StatusOr<CachedShard> FileShardCache::DecodeEntry(const CheckedShard& shard,
                                                        const CachedShard& stored, bool beside,
                                                        const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(auto content, LockContentPart(shard, beside, stop));
  MUSTER_RETURN_IF_ERROR(
      ReserveRoom(RoomOf(shard, beside), stop, [&content] { return content->Reserve(); }));
  return content->Decode(
      [&stored](int64_t offset, absl::Span<char> out) { return stored.Read(offset, out); },
      options_, stop);
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

absl::StatusOr<bool> FileShardCache::EndPin(const std::string& owner, const std::string& uid,
                                            const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain_->Lock(stop));
  return muster::EndPin(*domain_, owner, uid);
}

absl::StatusOr<std::vector<CacheItem>> FileShardCache::List() {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain_->Lock({}));
  MUSTER_ASSIGN_OR_RETURN(std::vector<CacheItem> items, ListContents(*domain_));
  for (CacheItem& item : items) item.names = NamesOfEntry(*domain_, item.key);
  return items;
}

absl::StatusOr<CacheRoom> FileShardCache::Room(absl::Span<const WantedShard> wanted) {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain_->Lock({}));
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CacheItem> contents, ListContents(*domain_));
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

// What lies beside neither an entry nor a part, and parts of what has an entry by now.
absl::Status FileShardCache::RemoveStrayFiles() {
  return domain_->ForEachName([this](const std::string& name) {
    const std::string key = name.substr(0, name.find('.'));
    absl::string_view stem = name;
    if (key == name) return;
    if (absl::ConsumeSuffix(&stem, kPartSuffix)) {
      if (!domain_->Has(key) && !domain_->Has(DecodedKeyOf(key))) return;
      CacheItem part;
      part.key = key;
      part.stem = std::string(stem);
      part.is_part = true;
      RemoveItem(*domain_, part);
    } else if (absl::ConsumeSuffix(&stem, kClaimsSuffix)) {
      if (!domain_->Has(absl::StrCat(stem, kPartSuffix))) domain_->Remove(name);
    } else if (!domain_->Has(key) && !domain_->HasPart(key)) {
      domain_->Remove(name);
    }
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
  domain->writer_patience = options.writer_patience;
  domain->warn = options.warn;
  auto cache = std::make_unique<FileShardCache>(std::move(domain),
                                                ShardCache::Place{path, options.domain}, options);
  MUSTER_RETURN_IF_ERROR(cache->RemoveStrayFiles());
  return cache;
}

}  // namespace muster
