// The system calls under the file backend: descriptors, error codes and durable directories.
#ifndef MUSTER_STORAGE_OBJECT_LOCAL_FILE_H_
#define MUSTER_STORAGE_OBJECT_LOCAL_FILE_H_

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/object/object_store.h"

namespace muster {

// Names of files that are being written begin with this; they are no objects.
inline constexpr absl::string_view kTemporaryPrefix = ".muster-tmp-";

// Owns a file descriptor. Not thread-safe, but the calls on its descriptor are.
class LocalFile {
 public:
  LocalFile() = default;
  explicit LocalFile(int fd) : fd_(fd) {}
  ~LocalFile() { Close(); }
  LocalFile(LocalFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  LocalFile& operator=(LocalFile&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  void Close();
  // Gives the descriptor away.
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// "`uri`: can't `action`: <what the system says>", with the code that ObjectStore's contract asks
// for.
absl::Status FileError(int error, absl::string_view uri, absl::string_view action);

// kFailedPrecondition, saying what it is, unless `info` is a regular file's.
absl::Status CheckRegularFile(const struct stat& info, absl::string_view uri);

// Differs once the content was replaced: the inode, the time of the last change and the size.
ObjectInfo InfoOf(const struct stat& info);

struct OpenedFile {
  LocalFile file;
  struct stat info = {};
};
// Opens a regular file for reading; never waits, whatever is there.
absl::StatusOr<OpenedFile> OpenRegularFile(const std::string& path, absl::string_view uri);

// Fills all of `out`. kOutOfRange when the file ends before that.
absl::Status ReadFully(int fd, int64_t offset, absl::Span<char> out, absl::string_view uri);

absl::Status WriteFully(int fd, int64_t offset, absl::string_view bytes, absl::string_view uri);

absl::Status SyncFile(int fd, absl::string_view uri);

// Makes the directory `path` and its missing parents, each durable before it returns, and opens it.
// Callers that may meet on the same directories serialise their calls: one that finds a directory
// takes it as durable.
absl::StatusOr<LocalFile> MakeDirectories(const std::string& path, absl::string_view uri);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_LOCAL_FILE_H_
