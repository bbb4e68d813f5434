#include "storage/files/posix_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/disk_room.h"

namespace muster {
namespace {

// Between two looks at the stop token of a copy within the kernel, and of one through memory.
constexpr int64_t kKernelCopyBytes = int64_t{64} << 20;
constexpr int64_t kMemoryCopyBytes = int64_t{1} << 20;

constexpr int kOpenTriesMax = 16;

absl::string_view KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISBLK(mode) || S_ISCHR(mode)) return "a device";
  return "something special";
}

absl::Status Sync(int (*sync)(int fd), int fd, absl::string_view path) {
  while (sync(fd) != 0) {
    if (errno != EINTR) return PathError(errno, "sync it", path);
  }
  return absl::OkStatus();
}

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

absl::Status CheckRegularFile(const struct stat& info, absl::string_view name,
                              absl::StatusCode other_kind) {
  if (S_ISREG(info.st_mode)) return absl::OkStatus();
  return absl::Status(other_kind,
                      absl::StrCat(name, ": is ", KindOf(info.st_mode), ", not a regular file"));
}

absl::StatusOr<struct stat> StatOf(int fd, absl::string_view path) {
  struct stat info = {};
  if (fstat(fd, &info) != 0) return PathError(errno, "look at it", path);
  return info;
}

absl::StatusOr<OpenedFile> OpenRegularFile(const std::string& path, absl::string_view name,
                                           absl::StatusCode other_kind) {
  OpenedFile opened;
  // O_NONBLOCK keeps the open of a FIFO from waiting for a writer; a regular file ignores it.
  opened.fd = UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!opened.fd.valid()) {
    const int error = errno;
    // A socket can't be opened at all, so what it is has to be asked for by its path.
    if (error == ENXIO && stat(path.c_str(), &opened.info) == 0) {
      MUSTER_RETURN_IF_ERROR(CheckRegularFile(opened.info, name, other_kind));
    }
    return PathError(error, "open it", name);
  }
  MUSTER_ASSIGN_OR_RETURN(opened.info, StatOf(opened.fd.get(), name));
  MUSTER_RETURN_IF_ERROR(CheckRegularFile(opened.info, name, other_kind));
  return opened;
}

absl::StatusOr<OpenedFile> OpenRegularFileBelow(const std::string& folder,
                                                const std::string& relative,
                                                absl::string_view name) {
  const UniqueFd directory(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return PathError(errno, absl::StrCat("open ", folder), name);
  struct open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  OpenedFile opened;
  // EAGAIN: something was renamed on the way.
  for (int tries = 0; !opened.fd.valid() && tries < kOpenTriesMax; ++tries) {
    opened.fd = UniqueFd(static_cast<int>(
        syscall(SYS_openat2, directory.get(), relative.c_str(), &how, sizeof(how))));
    if (opened.fd.valid() || errno == EAGAIN) continue;
    if (errno == EXDEV) {
      return MakeError(absl::StatusCode::kPermissionDenied, reasons::kLocationNotAllowed,
                       absl::StrCat(name, ": a link on its way leads out of ", folder,
                                    ", or begins with a slash; make it a relative one within, or "
                                    "allow the folder that it leads to"));
    }
    if (errno == ENOSYS || errno == EPERM) {
      return absl::UnimplementedError(
          absl::StrCat(name, ": can't be opened below ", folder,
                       ": openat2 is not there (Linux 5.6), or is filtered for this process"));
    }
    return PathError(errno, "open it", name);
  }
  if (!opened.fd.valid()) return PathError(EAGAIN, "open it", name);
  MUSTER_ASSIGN_OR_RETURN(opened.info, StatOf(opened.fd.get(), name));
  MUSTER_RETURN_IF_ERROR(CheckRegularFile(opened.info, name));
  return opened;
}

absl::Status WriteAt(int fd, absl::string_view path, int64_t offset, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return PathError(written < 0 ? errno : EIO, "write it", path);
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return absl::OkStatus();
}

absl::Status ReadAt(int fd, absl::string_view path, int64_t offset, absl::Span<char> out,
                    ErrnoCodes exceptions) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t count =
        pread(fd, out.data() + done, out.size() - done, offset + static_cast<int64_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return PathError(errno, "read it", path, exceptions);
    if (count == 0) {
      return absl::OutOfRangeError(absl::StrCat(path, ": expected ", out.size(),
                                                " bytes at offset ", offset, ", found ", done));
    }
    done += static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

absl::Status CopyBytes(CopyEnd from, CopyEnd to, int64_t length, const std::stop_token& stop) {
  while (length > 0) {
    if (stop.stop_requested()) return absl::CancelledError(absl::StrCat(to.path, ": stopped"));
    const auto count = static_cast<size_t>(std::min(length, kKernelCopyBytes));
    const ssize_t copied = copy_file_range(from.fd, &from.offset, to.fd, &to.offset, count, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0 && (IsNoSpace(errno) || errno == EIO)) {
      return PathError(errno, "write it", to.path);
    }
    // Some file systems refuse, and some copy nothing: then reading and writing decides.
    if (copied <= 0) return CopyThroughMemory(from, to, length, stop);
    length -= copied;
  }
  return absl::OkStatus();
}

absl::Status SyncFile(int fd, absl::string_view path) { return Sync(&fsync, fd, path); }

absl::Status SyncData(int fd, absl::string_view path) { return Sync(&fdatasync, fd, path); }

absl::Status ReserveSpace(int fd, absl::string_view path, int64_t size_bytes, bool keep_size) {
  while (fallocate(fd, keep_size ? FALLOC_FL_KEEP_SIZE : 0, 0, size_bytes) != 0) {
    if (errno == EINTR) continue;
    return IsNoSpace(errno) ? NoSpaceError(path, fd, size_bytes) : absl::OkStatus();
  }
  return absl::OkStatus();
}

bool TryLockExclusive(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0; }

void Unlock(int fd) { flock(fd, LOCK_UN); }

absl::Status LockExclusive(int fd, absl::string_view path, const std::stop_token& stop) {
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return PathError(errno, "lock it", path);
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
