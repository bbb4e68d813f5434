// Calls on open files, with errors that name the file and codes by the table of file_error.h.
#ifndef MUSTER_STORAGE_FILES_POSIX_FILE_H_
#define MUSTER_STORAGE_FILES_POSIX_FILE_H_

#include <sys/stat.h>

#include <cstdint>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/files/file_error.h"
#include "storage/files/unique_fd.h"

namespace muster {

// A regular file, open for reading.
struct OpenedFile {
  UniqueFd fd;
  struct stat info = {};
};
// Opens one, and never waits, whatever is there. Links are followed. `name` is for messages;
// anything but a regular file gives `other_kind`.
absl::StatusOr<OpenedFile> OpenRegularFile(
    const std::string& path, absl::string_view name,
    absl::StatusCode other_kind = absl::StatusCode::kFailedPrecondition);

// The same for `relative` below `folder`: kPermissionDenied LOCATION_NOT_ALLOWED where ".." or a link, absolute ones
// included, would lead out of it. kUnimplemented: the kernel (older than 5.6), or what filters its calls, doesn't know
// openat2.
absl::StatusOr<OpenedFile> OpenRegularFileBelow(const std::string& folder,
                                                const std::string& relative,
                                                absl::string_view name);

// `other_kind`, with a message that says what it is, unless `info` is that of a regular file.
absl::Status CheckRegularFile(const struct stat& info, absl::string_view name,
                              absl::StatusCode other_kind = absl::StatusCode::kFailedPrecondition);

absl::StatusOr<struct stat> StatOf(int fd, absl::string_view path);

// Writes all of `bytes` at `offset`. Thread-safe for ranges that don't overlap.
absl::Status WriteAt(int fd, absl::string_view path, int64_t offset, absl::string_view bytes);

// Fills all of `out` from `offset`. kOutOfRange when the file ends before that. Thread-safe.
absl::Status ReadAt(int fd, absl::string_view path, int64_t offset, absl::Span<char> out,
                    ErrnoCodes exceptions = {});

// Copies `length` bytes between files that are open as `from` and `to`: as shared extents or within
// the kernel where the file systems can, otherwise through memory. kOutOfRange: `from` is shorter;
// kCancelled.
struct CopyEnd {
  int fd = -1;
  absl::string_view path;
  int64_t offset = 0;
};
absl::Status CopyBytes(CopyEnd from, CopyEnd to, int64_t length, const std::stop_token& stop);

// Make durable what was written: SyncFile with all that is known of the file, SyncData with what it
// takes to read the bytes.
absl::Status SyncFile(int fd, absl::string_view path);
absl::Status SyncData(int fd, absl::string_view path);

// Reserves the first `size_bytes`, so that a full disk shows before the first byte is written; in a
// file system that can't, a write will tell. The file has that size then, unless `keep_size` is set
// or the file system can't. kResourceExhausted: see NoSpaceError.
absl::Status ReserveSpace(int fd, absl::string_view path, int64_t size_bytes,
                          bool keep_size = false);

// Takes the exclusive flock of `fd`, waiting for its holder. kCancelled once `stop` is requested.
absl::Status LockExclusive(int fd, absl::string_view path, const std::stop_token& stop);

// Takes it if it is free.
bool TryLockExclusive(int fd);

void Unlock(int fd);

// Whether `name` in directory `dir_fd` is the file that is open as `fd`.
bool IsSameFile(int dir_fd, const std::string& name, int fd);

// Waits a moment of real time between two looks at the file system: short beside a fetch, and cheap
// beside a look.
inline constexpr absl::Duration kLookInterval = absl::Milliseconds(5);
void PauseBetweenLooks();

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_POSIX_FILE_H_
