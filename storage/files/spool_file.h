// A file without a name, for bytes that are on their way.
#ifndef MUSTER_STORAGE_FILES_SPOOL_FILE_H_
#define MUSTER_STORAGE_FILES_SPOOL_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/files/posix_file.h"

namespace muster {

// Nobody finds it by a name, and it goes with its object or its process, whatever ends that.
// Movable; Write and Read are thread-safe for ranges that don't overlap.
class SpoolFile {
 public:
  // In `directory`, which is there. `size_bytes` are reserved at once where the file system can:
  // kResourceExhausted where the disk has no room for them.
  static absl::StatusOr<SpoolFile> Create(const std::string& directory, int64_t size_bytes);

  absl::Status Write(int64_t offset, absl::string_view bytes) const {
    return WriteAt(fd_.get(), name_, offset, bytes);
  }
  absl::Status Read(int64_t offset, absl::Span<char> out) const {
    return ReadAt(fd_.get(), name_, offset, out);
  }

  int fd() const { return fd_.get(); }
  // For messages.
  const std::string& name() const { return name_; }

 private:
  SpoolFile(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  UniqueFd fd_;
  std::string name_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_SPOOL_FILE_H_
