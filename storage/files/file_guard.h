// Who may still change a file whose bytes were verified, root included.
#ifndef MUSTER_STORAGE_FILES_FILE_GUARD_H_
#define MUSTER_STORAGE_FILES_FILE_GUARD_H_

#include <string>

#include "absl/status/status.h"

namespace muster {

// Whether any process has the file that is open read-only as `fd` open for writing, or mapped so. A store
// through a mapping that was written to before moves no file time: only this shows that it may come.
enum class OpenWriters {
  kNone,
  kSome,
  // The file belongs to another user, or its file system can't say.
  kUnknown,
};
OpenWriters FindOpenWriters(int fd);

// Has the kernel refuse every write to the file for good, and check each block that is read from the disk
// (fs-verity). Reads the whole file; it may still be linked, renamed and removed. `fd` is open read-only.
// kUnimplemented: kernel or file system can't; kUnavailable: somebody has it open for writing.
absl::Status SealFile(int fd, const std::string& path);
bool IsSealed(int fd);

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_FILE_GUARD_H_
