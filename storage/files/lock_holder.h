// Who holds a file's lock, for messages and for a choice of patience.
#ifndef MUSTER_STORAGE_FILES_LOCK_HOLDER_H_
#define MUSTER_STORAGE_FILES_LOCK_HOLDER_H_

#include <sys/types.h>

#include <optional>
#include <string>

namespace muster {

// The process that took the exclusive flock of the file that is open as `fd`, by /proc/locks. Unset
// where nobody holds it, or where that can't be seen: from within a container, of a process outside of
// it, and on file systems whose device numbers differ (btrfs).
std::optional<pid_t> FlockHolder(int fd);

// "process 4711 (muster)", or "another process".
std::string DescribeProcess(std::optional<pid_t> pid);

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_LOCK_HOLDER_H_
