// How much the file systems have free, and whether files fit.
#ifndef MUSTER_STORAGE_FILES_DISK_ROOM_H_
#define MUSTER_STORAGE_FILES_DISK_ROOM_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// Bytes that this process may still write to the file system of an open file, or of what is at
// `path`. `path` of an open file is for messages. Thread-safe.
absl::StatusOr<int64_t> FreeBytesOf(int fd, absl::string_view path);
absl::StatusOr<int64_t> FreeBytesOf(const std::string& path);

// The same for a `path` that need not be there yet; kUnknownRoom where the system does not say.
inline constexpr int64_t kUnknownRoom = INT64_MAX;
int64_t FreeBytesAt(const std::string& path);

struct DiskRoom {
  int64_t needed_bytes = 0;
  int64_t free_bytes = 0;
};

// kResourceExhausted NO_SPACE, with metadata needed_bytes and free_bytes, unless it fits; `path` is
// for the message.
absl::Status CheckDiskRoom(const DiskRoom& room, const std::string& path);

// kResourceExhausted for a file that the system refused space for: how many bytes `path`, open as
// `fd`, needs and how many its file system has free.
absl::Status NoSpaceError(absl::string_view path, int fd, int64_t needed_bytes);

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_DISK_ROOM_H_
