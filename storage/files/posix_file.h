// The few calls on files that the cache and the file sink share, with errors that name the file.
#ifndef MUSTER_STORAGE_FILES_POSIX_FILE_H_
#define MUSTER_STORAGE_FILES_POSIX_FILE_H_

#include <sys/stat.h>

#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

// Owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Reset();

 private:
  int fd_ = -1;
};

// The error for errno value `error`: "`path`: can't `action`: text". ENOENT is kNotFound; EACCES,
// EPERM and EROFS kPermissionDenied; ENOSPC, EDQUOT and EFBIG kResourceExhausted; the rest
// kInternal.
absl::Status PathError(int error, absl::string_view action, absl::string_view path);

// As PathError, and says how many bytes `path` needs and how many its file system has free.
absl::Status NoSpaceError(absl::string_view path, int fd, int64_t needed_bytes);

// Writes all of `bytes` at `offset`. Thread-safe for ranges that don't overlap.
absl::Status WriteAt(int fd, absl::string_view path, int64_t offset, absl::string_view bytes);

// Fills all of `out` from `offset`. kOutOfRange when the file ends before that. Thread-safe.
absl::Status ReadAt(int fd, absl::string_view path, int64_t offset, absl::Span<char> out);

// Copies `length` bytes between files that are open as `from` and `to`: as shared extents or within
// the kernel where the file systems can, else through memory. kOutOfRange: `from` is shorter;
// kCancelled.
struct CopyEnd {
  int fd = -1;
  absl::string_view path;
  int64_t offset = 0;
};
absl::Status CopyBytes(CopyEnd from, CopyEnd to, int64_t length, const std::stop_token& stop);

// Takes the exclusive flock of `fd`, waiting for its holder. kCancelled once `stop` is requested.
absl::Status LockExclusive(int fd, absl::string_view path, const std::stop_token& stop);

// Takes it if it is free.
bool TryLockExclusive(int fd);

void Unlock(int fd);

// Whether `name` in directory `dir_fd` is the file that is open as `fd`.
bool IsSameFile(int dir_fd, const std::string& name, int fd);

// Waits a moment of real time between two looks at the file system.
void PauseBetweenLooks();

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_POSIX_FILE_H_
