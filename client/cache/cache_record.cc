// A record is one text file, written in place: its reader compares the whole text with what the
// entry's state would give, so a torn record is merely one that does not vouch, and the entry is
// hashed again.
#include "client/cache/cache_record.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <tuple>

#include "absl/strings/str_cat.h"
#include "client/cache/cache_files.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Ticks are 1 to 10 ms long; a clock that was set back makes an entry that lies in the future,
// which is not waited for.
constexpr int kMaxLooksForTick = 40;

auto Times(const struct stat& entry) {
  return std::make_tuple(entry.st_size, entry.st_ino, entry.st_mtim.tv_sec, entry.st_mtim.tv_nsec,
                         entry.st_ctim.tv_sec, entry.st_ctim.tv_nsec);
}

bool IsLater(const timespec& a, const timespec& b) {
  return std::tie(a.tv_sec, a.tv_nsec) > std::tie(b.tv_sec, b.tv_nsec);
}

}  // namespace

bool SameState(const struct stat& a, const struct stat& b) { return Times(a) == Times(b); }

CacheRecord::CacheRecord(int dir_fd, const std::string& name)
    : dir_fd_(dir_fd), name_(name), file_name_(name + kRecordSuffix) {}

std::string CacheRecord::TextFor(const struct stat& entry) const {
  return absl::StrCat("verified ", name_, " size ", entry.st_size, " inode ", entry.st_ino,
                      " mtime ", entry.st_mtim.tv_sec, ".", entry.st_mtim.tv_nsec, " ctime ",
                      entry.st_ctim.tv_sec, ".", entry.st_ctim.tv_nsec, " end\n");
}

bool CacheRecord::Vouches(const struct stat& entry) const {
  const UniqueFd fd(
      openat(dir_fd_, file_name_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return false;
  const std::string wanted = TextFor(entry);
  // One byte more than wanted, so that a longer record does not pass.
  std::string found(wanted.size() + 1, '\0');
  const ssize_t count = pread(fd.get(), found.data(), found.size(), 0);
  return count == static_cast<ssize_t>(wanted.size()) &&
         found.compare(0, wanted.size(), wanted) == 0;
}

absl::StatusOr<UniqueFd> CacheRecord::OpenForWriting() const {
  UniqueFd fd(openat(dir_fd_, file_name_.c_str(),
                     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644));
  if (!fd.valid()) return PathError(errno, "write it", file_name_);
  return fd;
}

absl::StatusOr<struct stat> CacheRecord::Settle(int entry_fd) const {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd fd, OpenForWriting());
  for (int look = 0; look < kMaxLooksForTick; ++look) {
    if (look > 0) PauseBetweenLooks();
    MUSTER_ASSIGN_OR_RETURN(const struct stat before, StatOf(entry_fd, name_));
    // The record's own mtime is the file system's present tick.
    MUSTER_RETURN_IF_ERROR(WriteAt(fd.get(), file_name_, 0, "?"));
    MUSTER_ASSIGN_OR_RETURN(const struct stat record, StatOf(fd.get(), file_name_));
    MUSTER_ASSIGN_OR_RETURN(const struct stat after, StatOf(entry_fd, name_));
    if (SameState(before, after) && IsLater(record.st_mtim, after.st_ctim)) return after;
  }
  return absl::FailedPreconditionError(absl::StrCat(
      name_,
      ": the cache entry keeps changing, or its time lies ahead of the file system's clock"));
}

absl::Status CacheRecord::Write(const struct stat& entry) const {
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd fd, OpenForWriting());
  return WriteAt(fd.get(), file_name_, 0, TextFor(entry));
}

void CacheRecord::Remove() const { unlinkat(dir_fd_, file_name_.c_str(), 0); }

}  // namespace muster
