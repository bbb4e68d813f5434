#include "storage/metadata/data_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

std::string ShownPath(const std::string& path) {
  return absl::StrCat("data directory \"", absl::CHexEscape(path), "\"");
}

absl::Status SystemError(int error, const std::string& path, absl::string_view action) {
  const std::string message =
      absl::StrCat(ShownPath(path), ": can't ", action, ": ", std::generic_category().message(error));
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOTDIR:
    case ELOOP:
      return absl::FailedPreconditionError(message);
    case ENAMETOOLONG:
      return absl::InvalidArgumentError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError(errno, path, "open it");
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return error == 0 ? absl::OkStatus() : SystemError(error, path, "sync it");
}

// Without the sync of its parent, a power loss could take the whole directory and every row in it.
absl::Status MakeDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0) return SyncDirectory(ParentOf(path));
  if (errno == EEXIST) return absl::OkStatus();
  if (errno != ENOENT) return SystemError(errno, path, "make it");
  MUSTER_RETURN_IF_ERROR(MakeDirectory(ParentOf(path), 0755));
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return SystemError(errno, path, "make it");
  return SyncDirectory(ParentOf(path));
}

}  // namespace

absl::Status PrepareDataDirectory(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(ShownPath(path), " is no path"));
  }
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  MUSTER_RETURN_IF_ERROR(MakeDirectory(trimmed, 0700));
  struct stat info = {};
  if (stat(trimmed.c_str(), &info) != 0) return SystemError(errno, path, "look at it");
  if (!S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(ShownPath(path), " is not a directory; use another path"));
  }
  if (faccessat(AT_FDCWD, trimmed.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
    return SystemError(errno, path, "read and write it");
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> FreeBytesOf(const std::string& path) {
  struct statvfs info = {};
  if (statvfs(path.c_str(), &info) != 0) return SystemError(errno, path, "ask for its free space");
  const uint64_t block = std::max<uint64_t>(info.f_frsize, 1);
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(std::min<uint64_t>(info.f_bavail, kMax / block) * block);
}

}  // namespace muster
