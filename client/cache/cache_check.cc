#include "client/cache/cache_check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cache/cache_contents.h"
#include "client/cache/cache_pieces.h"
#include "client/cache/part_lock.h"
#include "client/cache/piece_check.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/object/io_buffer.h"

namespace muster {
namespace {

// Nobody is served by an entry on a bad sector. Anything else that a read may fail of (no memory, too
// many descriptors, a device that is away) says nothing about the bytes.
constexpr ErrnoCode kBadSector[] = {{EIO, absl::StatusCode::kDataLoss}};

// A device that recovers from an error, or a path to it that is changed, gives the bytes then.
constexpr int kReadsOfBadSector = 2;

// Fills `out`, at a multiple of kIoAlignment in the file and in memory, except its end.
absl::Status ReadDirect(int fd, const std::string& path, int64_t offset, absl::Span<char> out) {
  const size_t bulk = out.size() / kIoAlignment * kIoAlignment;
  MUSTER_RETURN_IF_ERROR(ReadAt(fd, path, offset, out.first(bulk)));
  if (bulk == out.size()) return absl::OkStatus();
  alignas(kIoAlignment) char end[kIoAlignment];
  const absl::Span<char> rest = out.subspan(bulk);
  const ssize_t count = pread(fd, end, sizeof(end), offset + static_cast<int64_t>(bulk));
  if (count < static_cast<ssize_t>(rest.size())) return PathError(EIO, "read it", path);
  std::copy_n(end, rest.size(), rest.begin());
  return absl::OkStatus();
}

// What is on the disk, leaving the page cache to those who use the entry; where that doesn't work,
// by dropping the range from it first. Pages that were written but not synced would stay; an entry
// was synced before it was visible.
absl::Status ReadFromDisk(int fd, int direct_fd, const std::string& path, int64_t offset,
                          absl::Span<char> out) {
  if (direct_fd >= 0 && ReadDirect(direct_fd, path, offset, out).ok()) return absl::OkStatus();
  absl::Status status;
  for (int read = 0; read < kReadsOfBadSector; ++read) {
    if (read > 0) PauseBetweenLooks();
    posix_fadvise(fd, offset, static_cast<off_t>(out.size()), POSIX_FADV_DONTNEED);
    status = ReadAt(fd, path, offset, out, kBadSector);
    if (!absl::IsDataLoss(status)) return status;
  }
  return status;
}

// kDataLoss CACHE_ENTRY_CORRUPT also for what can't be read.
absl::Status HashEntry(const CheckedShard& shard, const CheckedFile& file,
                       const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(file.fd, file.path));
  MUSTER_RETURN_IF_ERROR(CheckFileSize(shard, file.path, state.st_size));
  const absl::Status status = CheckFile(shard, file, stop);
  const bool unreadable = absl::IsDataLoss(status) && ReasonOf(status).empty();
  // Out of range: it was cut since its size was looked at.
  if (unreadable || absl::IsOutOfRange(status)) {
    return MakeError(
        absl::StatusCode::kDataLoss, reasons::kCacheEntryCorrupt,
        absl::StrCat(file.path, ": ", status.message(), "; the cache entry was removed"));
  }
  return status;
}

}  // namespace

absl::Status CheckEntry(const CacheDomain& domain, const std::string& key, const ReadPace& pace,
                        const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const CheckedShard shard, ShardOfEntry(domain, key));
  const std::string path = domain.PathOf(key);
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd fd, domain.OpenToRead(key));
  // Has no lock and no life of its own; invalid where the file system can't do it.
  const UniqueFd direct(open(absl::StrCat("/proc/self/fd/", fd.get()).c_str(),
                             O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_DIRECT));
  const auto read = [&](int64_t offset, absl::Span<char> out) {
    if (pace) pace(static_cast<int64_t>(out.size()));
    return ReadFromDisk(fd.get(), direct.get(), path, offset, out);
  };
  const absl::Status status = HashEntry(shard, {fd.get(), path, read}, stop);
  if (!absl::IsDataLoss(status)) return status;
  // As Lookup removes one: under the entry's lock, and only if it still is the one that was read.
  MUSTER_RETURN_IF_ERROR(AwaitLock(domain, fd.get(), path, stop));
  MUSTER_RETURN_IF_ERROR(RemoveEntry(domain, key, fd.get()));
  return status;
}

}  // namespace muster
