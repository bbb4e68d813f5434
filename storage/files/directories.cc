#include "storage/files/directories.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_error.h"

namespace muster {
namespace {

constexpr int kOpenFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
// Where a directory should be: a link that leads nowhere, or another kind of file.
constexpr ErrnoCode kNotADirectory[] = {{ENOENT, absl::StatusCode::kFailedPrecondition},
                                        {ENOTDIR, absl::StatusCode::kFailedPrecondition}};

// `what` is how the directory is called after "make" and "open".
absl::StatusOr<UniqueFd> MakeAndOpen(int parent_fd, const std::string& entry,
                                     absl::string_view name, absl::string_view what, mode_t mode,
                                     int flags) {
  // Without the sync of its parent, a power loss could take the directory and all that is in it.
  if (mkdirat(parent_fd, entry.c_str(), mode) == 0) {
    MUSTER_RETURN_IF_ERROR(SyncDirectory(parent_fd, name));
  } else if (errno != EEXIST) {
    return PathError(errno, absl::StrCat("make ", what), name);
  }
  UniqueFd fd(openat(parent_fd, entry.c_str(), kOpenFlags | flags));
  if (!fd.valid()) return PathError(errno, absl::StrCat("open ", what), name, kNotADirectory);
  return fd;
}

}  // namespace

std::string WithoutTrailingSlashes(absl::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path);
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : WithoutTrailingSlashes(path.substr(0, slash));
}

absl::StatusOr<UniqueFd> MakeDirectories(const std::string& path, absl::string_view name,
                                         const DirectoryModes& modes) {
  const std::string trimmed = WithoutTrailingSlashes(path);
  UniqueFd found(open(trimmed.c_str(), kOpenFlags));
  if (found.valid()) return found;
  const int error = errno;
  const std::string quoted = QuoteForMessage(trimmed);
  struct stat info = {};
  // A parent of another kind gives ENOTDIR, too, and is found further up.
  if (error == ENOTDIR && stat(trimmed.c_str(), &info) == 0 && !S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, ": ", quoted, " is not a directory; use another path"));
  }
  const std::string parent = ParentOf(trimmed);
  if ((error != ENOENT && error != ENOTDIR) || trimmed.empty() || parent == trimmed) {
    return PathError(error, absl::StrCat("open directory ", quoted), name);
  }
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd parent_fd,
                          MakeDirectories(parent, name, {modes.parent_mode, modes.parent_mode}));
  return MakeAndOpen(parent_fd.get(), trimmed.substr(trimmed.rfind('/') + 1), name,
                     absl::StrCat("directory ", quoted), modes.mode, 0);
}

absl::StatusOr<UniqueFd> MakeDirectoryAt(int parent_fd, const std::string& entry,
                                         absl::string_view name, mode_t mode) {
  return MakeAndOpen(parent_fd, entry, name, "it", mode, O_NOFOLLOW);
}

absl::Status SyncDirectory(int fd, absl::string_view path) {
  while (fsync(fd) != 0) {
    // Some file systems can't sync a directory.
    if (errno == EINVAL) return absl::OkStatus();
    if (errno != EINTR) return PathError(errno, "sync it", path);
  }
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), kOpenFlags));
  if (!fd.valid()) return PathError(errno, "open it", QuoteForMessage(path));
  return SyncDirectory(fd.get(), QuoteForMessage(path));
}

absl::Status ForEachName(int fd, absl::string_view path,
                         absl::FunctionRef<absl::Status(const std::string& name)> on_name) {
  // A descriptor of its own, since it has the place in the listing.
  UniqueFd own(openat(fd, ".", kOpenFlags));
  const std::unique_ptr<DIR, int (*)(DIR*)> list(own.valid() ? fdopendir(own.get()) : nullptr,
                                                 &closedir);
  if (list == nullptr) return PathError(errno, "list it", path);
  own.Release();
  while (true) {
    errno = 0;
    const dirent* const entry = readdir(list.get());
    if (entry == nullptr) return errno == 0 ? absl::OkStatus() : PathError(errno, "list it", path);
    const std::string name = entry->d_name;
    if (name != "." && name != "..") MUSTER_RETURN_IF_ERROR(on_name(name));
  }
}

}  // namespace muster
