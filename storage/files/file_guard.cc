#include "storage/files/file_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fsverity.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "storage/files/file_error.h"

namespace muster {

// A read lease is given only while nobody has the file open for writing, and is given back at once. Who
// opens it for writing in between has the kernel send a signal to this process: one that is ignored by
// default, unlike SIGIO, which ends it.
OpenWriters FindOpenWriters(int fd) {
  if (fcntl(fd, F_SETSIG, SIGURG) != 0) return OpenWriters::kUnknown;
  if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) {
    return errno == EAGAIN ? OpenWriters::kSome : OpenWriters::kUnknown;
  }
  fcntl(fd, F_SETLEASE, F_UNLCK);
  return OpenWriters::kNone;
}

absl::Status SealFile(int fd, const std::string& path) {
  fsverity_enable_arg how{};
  how.version = 1;
  how.hash_algorithm = FS_VERITY_HASH_ALG_SHA256;
  how.block_size = 4096;
  // One that is sealed already, perhaps by another process just now.
  if (ioctl(fd, FS_IOC_ENABLE_VERITY, &how) == 0 || errno == EEXIST) return absl::OkStatus();
  static constexpr ErrnoCode kCodes[] = {{EOPNOTSUPP, absl::StatusCode::kUnimplemented},
                                         {ENOTTY, absl::StatusCode::kUnimplemented},
                                         {ENOSYS, absl::StatusCode::kUnimplemented},
                                         {EINVAL, absl::StatusCode::kUnimplemented},
                                         {ETXTBSY, absl::StatusCode::kUnavailable}};
  return PathError(errno, "protect it by fs-verity", path, kCodes);
}

bool IsSealed(int fd) {
  struct statx state {};
  return statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &state) == 0 &&
         (state.stx_attributes & STATX_ATTR_VERITY) != 0;
}

}  // namespace muster
