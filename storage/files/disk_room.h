// Whether files fit on the file system that they go to.
#ifndef MUSTER_STORAGE_FILES_DISK_ROOM_H_
#define MUSTER_STORAGE_FILES_DISK_ROOM_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace muster {

struct DiskRoom {
  int64_t needed_bytes = 0;
  int64_t free_bytes = 0;
};

// What may be written at `path`, which need not be there yet; the greatest number where the system
// does not say.
int64_t FreeBytesAt(const std::string& path);

// kResourceExhausted NO_SPACE, with metadata needed_bytes and free_bytes, unless it fits; `path` is
// for the message.
absl::Status CheckDiskRoom(const DiskRoom& room, const std::string& path);

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_DISK_ROOM_H_
