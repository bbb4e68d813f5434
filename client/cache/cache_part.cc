#include "client/cache/cache_part.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cache/cache_entry.h"
#include "client/cache/cache_names.h"
#include "client/cache/cache_pieces.h"
#include "client/cache/cache_record.h"
#include "client/cache/cache_use.h"
#include "client/cache/piece_check.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// A power cut costs at most 256 MiB: what came since the last sync began, and what came meanwhile.
constexpr int64_t kSyncBytes = int64_t{128} << 20;

}  // namespace

FileCachePart::FileCachePart(std::shared_ptr<const CacheDomain> domain, const CheckedShard& shard,
                             LockedPart part, mode_t mode)
    : domain_(std::move(domain)),
      shard_(std::make_shared<const CheckedShard>(shard)),
      key_(shard.ContentKey()),
      stem_(std::move(part.stem)),
      part_name_(stem_ + kPartSuffix),
      claims_name_(stem_ + kClaimsSuffix),
      mode_(mode),
      size_bytes_(shard.size_bytes()),
      piece_size_bytes_(shard.has_pieces() ? shard.piece_size_bytes() : 0),
      piece_count_(shard.piece_count()),
      fd_(std::move(part.fd)),
      present_(shard.piece_count(), false) {
  struct stat state {};
  worth_keeping_ =
      piece_count_ > 0 && fstat(fd_.get(), &state) == 0 && state.st_size == size_bytes_;
}

FileCachePart::~FileCachePart() {
  if (committed_ || (worth_keeping_ && !broken_)) return;
  if (!IsSameFile(domain_->dir.get(), part_name_, fd_.get())) return;
  domain_->RemovePart(key_, stem_);
}

// Claims go first: none may speak of bytes that are not there.
absl::Status FileCachePart::CutToNothing() {
  worth_keeping_ = false;
  domain_->Remove(claims_name_);
  if (ftruncate(fd_.get(), 0) != 0) return PathError(errno, "cut it to nothing", PartPath());
  return absl::OkStatus();
}

// Step 5.
absl::Status FileCachePart::Reserve() {
  if (!worth_keeping_) MUSTER_RETURN_IF_ERROR(CutToNothing());
  const absl::Status status = ReserveFile(fd_.get(), PartPath(), size_bytes_);
  // What was reserved is given back at once: the part may wait for its destruction.
  if (absl::IsResourceExhausted(status)) MUSTER_RETURN_IF_ERROR(CutToNothing());
  return status;
}

absl::Status FileCachePart::OpenClaims() {
  claims_fd_ = domain_->Open(claims_name_, O_RDWR | O_CREAT);
  if (claims_fd_.valid()) return absl::OkStatus();
  return PathError(errno, "record pieces in it", domain_->PathOf(claims_name_));
}

absl::Status FileCachePart::TakeOver(const CheckedShard& shard, const std::stop_token& stop) {
  // For people.
  KeepName(*domain_, shard).IgnoreError();
  if (piece_count_ == 0) return absl::OkStatus();
  MUSTER_RETURN_IF_ERROR(OpenClaims());
  // For a later check of the entry. Without it the entry just stays unchecked.
  KeepPieces(*domain_, shard).IgnoreError();
  // A byte that is not there claims nothing.
  std::string claims(piece_count_, '\0');
  const ssize_t count = pread(claims_fd_.get(), claims.data(), claims.size(), 0);
  if (count < 0) return PathError(errno, "read it", domain_->PathOf(claims_name_));
  std::vector<size_t> claimed;
  for (size_t piece = 0; piece < static_cast<size_t>(count); ++piece) {
    if (claims[piece] != '\0') claimed.push_back(piece);
  }
  MUSTER_RETURN_IF_ERROR(HashPieces(shard, {fd_.get(), PartPath()}, claimed, stop,
                                    [&](size_t piece, const Md5Digest& found) {
                                      present_[piece] = found == shard.piece_digest(piece);
                                      // Also where it is right: others see that this writer does not stand still.
                                      return SetClaim(piece, present_[piece]);
                                    }));
  worth_keeping_ = std::find(present_.begin(), present_.end(), true) != present_.end();
  return absl::OkStatus();
}

absl::Status FileCachePart::Write(int64_t offset, absl::string_view bytes) {
  const auto length = static_cast<int64_t>(bytes.size());
  if (offset < 0 || offset > size_bytes_ || length > size_bytes_ - offset) {
    return absl::InternalError(absl::StrCat(PartPath(), ": a range of ", length, " bytes at ",
                                            offset, " is outside ", size_bytes_, " bytes"));
  }
  absl::Status status = WriteAt(fd_.get(), PartPath(), offset, bytes);
  if (status.code() == absl::StatusCode::kResourceExhausted) return NoSpace();
  MUSTER_RETURN_IF_ERROR(status);
  if (piece_count_ == 0) return absl::OkStatus();
  MUSTER_RETURN_IF_ERROR(Claim(offset, length));
  return SyncNowAndThen(length);
}

// The pieces that lie whole in the range.
absl::Status FileCachePart::Claim(int64_t offset, int64_t length) {
  const int64_t end = offset + length;
  int64_t piece = (offset + piece_size_bytes_ - 1) / piece_size_bytes_;
  for (; piece * piece_size_bytes_ < end; ++piece) {
    if (std::min((piece + 1) * piece_size_bytes_, size_bytes_) > end) break;
    MUSTER_RETURN_IF_ERROR(SetClaim(static_cast<size_t>(piece), true));
    worth_keeping_ = true;
  }
  return absl::OkStatus();
}

absl::Status FileCachePart::SetClaim(size_t piece, bool claimed) {
  return WriteAt(claims_fd_.get(), domain_->PathOf(claims_name_), static_cast<int64_t>(piece),
                 claimed ? absl::string_view("\1", 1) : absl::string_view("\0", 1));
}

absl::Status FileCachePart::SyncNowAndThen(int64_t written) {
  if (unsynced_bytes_.fetch_add(written) + written < kSyncBytes) return absl::OkStatus();
  const int64_t taken = unsynced_bytes_.exchange(0);
  if (taken < kSyncBytes) {
    // Another thread was quicker.
    unsynced_bytes_ += taken;
    return absl::OkStatus();
  }
  // The directory too, since the names have to be found again.
  absl::Status synced = SyncData(fd_.get(), PartPath());
  if (synced.ok()) synced = SyncData(claims_fd_.get(), domain_->PathOf(claims_name_));
  if (synced.ok()) synced = SyncDirectory(domain_->dir.get(), domain_->path);
  return AfterSync(synced);
}

absl::Status FileCachePart::AfterSync(const absl::Status& synced) {
  if (!synced.ok()) broken_ = true;
  return absl::IsResourceExhausted(synced) ? NoSpace() : synced;
}

// Step 7; gives another writer's entry, where that was quicker.
absl::StatusOr<std::optional<CachedShard>> FileCachePart::MakeVisible(UniqueFd& use) {
  for (int start = 0; start < kMaxStartsOver; ++start) {
    {
      MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, domain_->Lock({}));
      if (!domain_->Has(key_)) {
        // Before the entry is there, so that nobody evicts it at once.
        MUSTER_ASSIGN_OR_RETURN(use, BeginUse(*domain_, key_));
        const int dir = domain_->dir.get();
        if (renameat(dir, part_name_.c_str(), dir, key_.c_str()) == 0) return std::nullopt;
        return PathError(errno, "rename it", PartPath());
      }
    }
    absl::StatusOr<CachedShard> entry = FindEntry(*domain_, *shard_, {});
    if (entry.ok()) return std::optional<CachedShard>(*std::move(entry));
    // It was bad, and is removed.
    if (!absl::IsDataLoss(entry.status()) && !absl::IsNotFound(entry.status())) {
      return entry.status();
    }
  }
  return absl::AbortedError(
      absl::StrCat(domain_->PathOf(key_), ": the cache entry keeps coming and going"));
}

// Steps 6 to 8.
absl::StatusOr<CachedShard> FileCachePart::Commit() {
  const int dir = domain_->dir.get();
  MUSTER_RETURN_IF_ERROR(AfterSync(SyncFile(fd_.get(), PartPath())));
  if (fchmod(fd_.get(), mode_) != 0) {
    return PathError(errno, "make it read-only", PartPath());
  }
  if (!IsSameFile(dir, part_name_, fd_.get())) {
    return absl::AbortedError(absl::StrCat(
        PartPath(),
        ": the part file was removed or replaced by another program while it was written"));
  }
  UniqueFd use;
  MUSTER_ASSIGN_OR_RETURN(std::optional<CachedShard> others, MakeVisible(use));
  if (others.has_value()) {
    GiveUp();
    return *std::move(others);
  }
  committed_ = true;
  domain_->Remove(claims_name_);
  const std::string path = domain_->PathOf(key_);
  MUSTER_RETURN_IF_ERROR(SyncDirectory(dir, domain_->path));
  MUSTER_ASSIGN_OR_RETURN(UniqueFd read_fd, domain_->OpenToRead(key_));
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
  return CachedShard(std::move(read_fd), std::move(use), path, shard_);
}

absl::Status ReserveFile(int fd, const std::string& path, int64_t size_bytes) {
  MUSTER_RETURN_IF_ERROR(ReserveSpace(fd, path, size_bytes));
  // Where the file system can't reserve.
  if (ftruncate(fd, size_bytes) != 0) return PathError(errno, "extend it", path);
  return absl::OkStatus();
}

}  // namespace muster
