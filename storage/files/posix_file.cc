#include "storage/files/posix_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// How long a waiter leaves a file lock alone: short beside a fetch, and cheap beside a look.
constexpr absl::Duration kLookInterval = absl::Milliseconds(5);

// Between two looks at the stop token of a copy within the kernel, and of one through memory.
constexpr int64_t kKernelCopyBytes = int64_t{64} << 20;
constexpr int64_t kMemoryCopyBytes = int64_t{1} << 20;

absl::Status CopyThroughMemory(CopyEnd from, CopyEnd to, int64_t length,
                               const std::stop_token& stop) {
  const auto buffer = std::make_unique<char[]>(kMemoryCopyBytes);
  while (length > 0) {
    if (stop.stop_requested()) return absl::CancelledError(absl::StrCat(to.path, ": stopped"));
    const auto count = static_cast<size_t>(std::min(length, kMemoryCopyBytes));
    const absl::Span<char> part(buffer.get(), count);
    MUSTER_RETURN_IF_ERROR(ReadAt(from.fd, from.path, from.offset, part));
    MUSTER_RETURN_IF_ERROR(WriteAt(to.fd, to.path, to.offset, {part.data(), part.size()}));
    from.offset += static_cast<int64_t>(count);
    to.offset += static_cast<int64_t>(count);
    length -= static_cast<int64_t>(count);
  }
  return absl::OkStatus();
}

}  // namespace

void UniqueFd::Reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

absl::Status PathError(int error, absl::string_view action, absl::string_view path) {
  const std::string message =
      absl::StrCat(path, ": can't ", action, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status NoSpaceError(absl::string_view path, int fd, int64_t needed_bytes) {
  struct statvfs vfs {};
  std::string free = "an unknown number of";
  if (fstatvfs(fd, &vfs) == 0) {
    free = absl::StrCat(static_cast<uint64_t>(vfs.f_bavail) * vfs.f_frsize);
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      path, ": no space for ", needed_bytes, " bytes, ", free,
      " bytes are free; free some, raise the file size or quota limit, or use another disk"));
}

absl::Status WriteAt(int fd, absl::string_view path, int64_t offset, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0) {
      if (errno == EINTR) continue;
      return PathError(errno, "write", path);
    }
    if (written == 0) return PathError(EIO, "write", path);
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return absl::OkStatus();
}

absl::Status ReadAt(int fd, absl::string_view path, int64_t offset, absl::Span<char> out) {
  while (!out.empty()) {
    const ssize_t count = pread(fd, out.data(), out.size(), offset);
    if (count < 0) {
      if (errno == EINTR) continue;
      return PathError(errno, "read", path);
    }
    if (count == 0) {
      return absl::OutOfRangeError(absl::StrCat(path, ": ends at ", offset));
    }
    out.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
  return absl::OkStatus();
}

absl::Status CopyBytes(CopyEnd from, CopyEnd to, int64_t length, const std::stop_token& stop) {
  while (length > 0) {
    if (stop.stop_requested()) return absl::CancelledError(absl::StrCat(to.path, ": stopped"));
    const auto count = static_cast<size_t>(std::min(length, kKernelCopyBytes));
    const ssize_t copied = copy_file_range(from.fd, &from.offset, to.fd, &to.offset, count, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO)) {
      return PathError(errno, "write", to.path);
    }
    // Some file systems refuse, and some copy nothing: then reading and writing decides.
    if (copied <= 0) return CopyThroughMemory(from, to, length, stop);
    length -= copied;
  }
  return absl::OkStatus();
}

bool TryLockExclusive(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0; }

void Unlock(int fd) { flock(fd, LOCK_UN); }

absl::Status LockExclusive(int fd, absl::string_view path, const std::stop_token& stop) {
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return PathError(errno, "lock", path);
    if (stop.stop_requested()) {
      return absl::CancelledError(absl::StrCat(path, ": cancelled while another process has it"));
    }
    PauseBetweenLooks();
  }
  return absl::OkStatus();
}

bool IsSameFile(int dir_fd, const std::string& name, int fd) {
  struct stat by_name {};
  struct stat open_file {};
  return fstatat(dir_fd, name.c_str(), &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
         fstat(fd, &open_file) == 0 && by_name.st_ino == open_file.st_ino &&
         by_name.st_dev == open_file.st_dev;
}

void PauseBetweenLooks() {
  Mutex mutex;
  CondVar never;
  MutexLock lock(mutex);
  never.WaitFor(mutex, kLookInterval);
}

}  // namespace muster
