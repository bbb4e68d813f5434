#include "client/transfer/cache_check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "client/transfer/cache_contents.h"
#include "client/transfer/cache_pieces.h"
#include "client/transfer/piece_check.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// kDataLoss also for what can't be read: nobody is served by an entry on a bad sector.
absl::Status HashEntry(const CheckedShard& shard, const CheckedFile& file,
                       const std::stop_token& stop) {
  struct stat state {};
  if (fstat(file.fd, &state) != 0) return PathError(errno, "stat", file.path);
  MUSTER_RETURN_IF_ERROR(CheckFileSize(shard, file.path, state.st_size));
  const absl::Status status = CheckFile(shard, file, stop);
  if (absl::IsInternal(status) || absl::IsOutOfRange(status)) {
    return MakeError(
        absl::StatusCode::kDataLoss, "CACHE_ENTRY_CORRUPT",
        absl::StrCat(file.path, ": ", status.message(), "; the cache entry was removed"));
  }
  return status;
}

}  // namespace

absl::Status CheckEntry(const CacheDomain& domain, const std::string& key, const ReadPace& pace,
                        const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const CheckedShard shard, ShardOfEntry(domain, key));
  const std::string path = domain.PathOf(key);
  const UniqueFd fd(
      openat(domain.dir.get(), key.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return PathError(errno, "open", path);
  const auto drop_and_wait = [&](int64_t offset, int64_t length) {
    if (pace) pace(length);
    // Pages that were written but not synced stay; an entry was synced before it was visible.
    posix_fadvise(fd.get(), offset, length, POSIX_FADV_DONTNEED);
  };
  const absl::Status status = HashEntry(shard, {fd.get(), path, drop_and_wait}, stop);
  if (!absl::IsDataLoss(status)) return status;
  // As Lookup removes one: under the entry's lock, and only if it still is the one that was read.
  MUSTER_RETURN_IF_ERROR(LockExclusive(fd.get(), path, stop));
  if (IsSameFile(domain.dir.get(), key, fd.get())) RemoveEntryFiles(domain, key);
  return status;
}

}  // namespace muster
