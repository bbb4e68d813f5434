#include "storage/object/local_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::string_view KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISBLK(mode) || S_ISCHR(mode)) return "a device";
  return "not a regular file";
}

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::StatusCode::kResourceExhausted;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case ENAMETOOLONG:
      return absl::StatusCode::kInvalidArgument;
    case EISDIR:
    case ELOOP:
    case ENXIO:
      return absl::StatusCode::kFailedPrecondition;
    // What a network file system says while its server is away, a disk that may read at the second
    // try, and a process that has too many files open.
    case EAGAIN:
    case EBUSY:
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ESTALE:
    case ETIMEDOUT:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::StatusOr<LocalFile> OpenDirectory(const std::string& path, absl::string_view uri) {
  LocalFile directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.is_open()) {
    return FileError(errno, uri, absl::StrCat("open directory ", path));
  }
  return directory;
}

}  // namespace

void LocalFile::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

absl::Status FileError(int error, absl::string_view uri, absl::string_view action) {
  return absl::Status(CodeOf(error), absl::StrCat(uri, ": can't ", action, ": ",
                                                  std::generic_category().message(error)));
}

absl::Status CheckRegularFile(const struct stat& info, absl::string_view uri) {
  if (S_ISREG(info.st_mode)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(uri, ": is ", KindOf(info.st_mode), ", not an object; name a regular file"));
}

ObjectInfo InfoOf(const struct stat& info) {
  return {info.st_size,
          absl::StrCat(absl::Hex(info.st_ino), "-", info.st_mtim.tv_sec, ".",
                       absl::Dec(info.st_mtim.tv_nsec, absl::kZeroPad9), "-", info.st_size)};
}

absl::StatusOr<OpenedFile> OpenRegularFile(const std::string& path, absl::string_view uri) {
  OpenedFile opened;
  // O_NONBLOCK keeps the open of a FIFO from waiting for a writer; a regular file ignores it.
  opened.file = LocalFile(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!opened.file.is_open()) {
    const int error = errno;
    // A socket can't be opened at all, so this is where it is told apart.
    if (error == ENXIO && stat(path.c_str(), &opened.info) == 0) {
      MUSTER_RETURN_IF_ERROR(CheckRegularFile(opened.info, uri));
    }
    return FileError(error, uri, "open it");
  }
  if (fstat(opened.file.fd(), &opened.info) != 0) return FileError(errno, uri, "look at it");
  MUSTER_RETURN_IF_ERROR(CheckRegularFile(opened.info, uri));
  return opened;
}

absl::Status ReadFully(int fd, int64_t offset, absl::Span<char> out, absl::string_view uri) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        pread(fd, out.data() + done, out.size() - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, uri, "read it");
    if (got == 0) {
      return absl::OutOfRangeError(absl::StrCat(uri, ": expected ", out.size(), " bytes at offset ",
                                                offset, ", found ", done,
                                                "; it was shortened while it was read"));
    }
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status WriteFully(int fd, int64_t offset, absl::string_view bytes, absl::string_view uri) {
  while (!bytes.empty()) {
    const ssize_t put = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FileError(errno, uri, "write it");
    if (put == 0) return FileError(EIO, uri, "write it");
    bytes.remove_prefix(static_cast<size_t>(put));
    offset += put;
  }
  return absl::OkStatus();
}

absl::Status SyncFile(int fd, absl::string_view uri) {
  while (fsync(fd) != 0) {
    if (errno != EINTR) return FileError(errno, uri, "sync it");
  }
  return absl::OkStatus();
}

absl::StatusOr<LocalFile> MakeDirectories(const std::string& path, absl::string_view uri) {
  LocalFile found(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (found.is_open()) return found;
  if (errno == ENOTDIR) {
    return absl::FailedPreconditionError(
        absl::StrCat(uri, ": a parent is not a directory; use another path"));
  }
  if (errno != ENOENT) return FileError(errno, uri, absl::StrCat("open directory ", path));
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string ancestor = path.substr(0, slash);
    if (mkdir(ancestor.c_str(), 0777) == 0) {
      const size_t parent_end = ancestor.rfind('/');
      const std::string parent = parent_end == 0 ? "/" : ancestor.substr(0, parent_end);
      MUSTER_ASSIGN_OR_RETURN(const LocalFile directory, OpenDirectory(parent, uri));
      MUSTER_RETURN_IF_ERROR(SyncFile(directory.fd(), uri));
    } else {
      const int error = errno;
      struct stat info = {};
      // Some file systems answer EACCES or EROFS for a directory that is there.
      if (stat(ancestor.c_str(), &info) != 0) {
        return FileError(error, uri, absl::StrCat("make directory ", ancestor));
      }
      if (!S_ISDIR(info.st_mode)) {
        return absl::FailedPreconditionError(
            absl::StrCat(uri, ": ", ancestor, " is not a directory; use another path"));
      }
    }
    if (slash == std::string::npos) break;
  }
  return OpenDirectory(path, uri);
}

}  // namespace muster
