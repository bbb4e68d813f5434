// The file of a shard that is on its way into the cache, and the record of its pieces.
#ifndef MUSTER_CLIENT_CACHE_CACHE_PART_H_
#define MUSTER_CLIENT_CACHE_CACHE_PART_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cache/cache_files.h"
#include "client/cache/checked_shard.h"
#include "client/cache/part_lock.h"
#include "client/cache/shard_cache.h"
#include "storage/files/disk_room.h"

namespace muster {

// KEY.part and KEY.claims of a cache domain, or those of a further writer. The claims file has one byte per piece, which is not
// 0 once the piece was written: a hint which pieces are worth hashing, never a proof.
class FileCachePart final : public CachePart {
 public:
  // `mode` is that of the entry.
  FileCachePart(std::shared_ptr<const CacheDomain> domain, const CheckedShard& shard,
                LockedPart part, mode_t mode);
  // Keeps the files when they hold a claimed piece, and deletes them otherwise.
  ~FileCachePart() override;

  // Keeps the bytes of an earlier writer, or reserves the full size afresh. Called first, by the
  // caller that has made room and holds the domain's lock. kResourceExhausted: the disk has no
  // room.
  absl::Status Reserve();
  // Takes over the pieces of an earlier writer that are right; called once, after Reserve. `shard`
  // is the constructor's. kCancelled, which leaves everything to the next writer.
  absl::Status TakeOver(const CheckedShard& shard, const std::stop_token& stop);
  bool IsBeside() const { return stem_ != key_; }
  // The shard has an entry, or needs none: destruction deletes the files.
  void GiveUp() { worth_keeping_ = false; }
  // Of what is there already.
  absl::Status Read(int64_t offset, absl::Span<char> out) const {
    return ReadAt(fd_.get(), PartPath(), offset, out);
  }

  std::vector<bool> Present() const override { return present_; }
  absl::Status Write(int64_t offset, absl::string_view bytes) override;
  absl::StatusOr<CachedShard> Commit() override;

 private:
  std::string PartPath() const { return domain_->PathOf(part_name_); }
  absl::Status NoSpace() const { return NoSpaceError(PartPath(), fd_.get(), size_bytes_); }
  absl::Status CutToNothing();
  absl::Status OpenClaims();
  absl::Status Claim(int64_t offset, int64_t length);
  absl::Status SetClaim(size_t piece, bool claimed);
  absl::Status SyncNowAndThen(int64_t written);
  // What `synced` means for the part; returns the error to report.
  absl::Status AfterSync(const absl::Status& synced);
  absl::StatusOr<std::optional<CachedShard>> MakeVisible(UniqueFd& use);

  const std::shared_ptr<const CacheDomain> domain_;
  const std::shared_ptr<const CheckedShard> shard_;
  const std::string key_;
  const std::string stem_;
  const std::string part_name_;
  const std::string claims_name_;
  const mode_t mode_;
  const int64_t size_bytes_;
  // 0 for a shard without pieces.
  const int64_t piece_size_bytes_;
  const size_t piece_count_;
  UniqueFd fd_;
  UniqueFd claims_fd_;
  std::vector<bool> present_;
  std::atomic<int64_t> unsynced_bytes_ = 0;
  // Whether the files are of use to a later writer.
  std::atomic<bool> worth_keeping_ = false;
  // A sync failed: what is on disk may differ from what can be read now.
  std::atomic<bool> broken_ = false;
  bool committed_ = false;
};

// Reserves room for a file, which then has that size. kResourceExhausted: the disk has none.
absl::Status ReserveFile(int fd, const std::string& path, int64_t size_bytes);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_PART_H_
