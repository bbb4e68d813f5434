#include "storage/files/staged_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

absl::Status WriteError(int error, absl::string_view path, absl::string_view action) {
  const std::string message =
      absl::StrCat(QuoteForMessage(path), ": can't ", action, ": ", std::strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(
          absl::StrCat(message, "; free some space or choose another place"));
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(
          absl::StrCat(message, "; raise the limit of open files (ulimit -n)"));
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EISDIR:
    case EEXIST:
    case ENOTEMPTY:
      return absl::AlreadyExistsError(message);
    case ENAMETOOLONG:
    case EINVAL:
      return absl::InvalidArgumentError(message);
    default:
      return absl::UnavailableError(message);
  }
}

// A hidden name in the same directory, so that the rename is atomic and the directory's readers
// pass it by.
std::string TemporaryPath(const std::string& path, int attempt) {
  const fs::path whole(path);
  const std::string name =
      absl::StrCat(".", whole.filename().string(), ".tmp-", ::getpid(), "-", attempt);
  return (whole.parent_path() / name).string();
}

// Calls `make` with one name after another until it no longer says that the name is taken. Returns
// its result and leaves the name in `temporary_path`. Unlike mkstemp, this leaves the mode to the
// umask.
template <typename Make>
int MakeUnderFreeName(const std::string& path, const Make& make, std::string& temporary_path) {
  constexpr int kAttempts = 10'000;
  int result = -1;
  for (int attempt = 0; attempt < kAttempts && result < 0; ++attempt) {
    temporary_path = TemporaryPath(path, attempt);
    result = make(temporary_path.c_str());
    if (result < 0 && errno != EEXIST) break;
  }
  return result;
}

std::string WithoutTrailingSlashes(absl::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path);
}

absl::Status SyncDirectoryOf(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return SyncDirectory(parent.empty() ? "." : parent.string());
}

}  // namespace

absl::Status SyncDirectory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return WriteError(errno, path, "open");
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  // Some file systems can't sync a directory and say EINVAL.
  if (result != 0 && error != EINVAL) return WriteError(error, path, "sync");
  return absl::OkStatus();
}

StagedFile::StagedFile(std::string path, std::string temporary_path, int fd)
    : path_(std::move(path)), temporary_path_(std::move(temporary_path)), fd_(fd) {}

StagedFile::StagedFile(StagedFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_path_(std::move(other.temporary_path_)),
      fd_(std::exchange(other.fd_, -1)) {}

StagedFile::~StagedFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_path_.c_str());
}

absl::StatusOr<StagedFile> StagedFile::Create(absl::string_view path) {
  std::string temporary_path;
  const int fd = MakeUnderFreeName(
      std::string(path),
      [](const char* name) { return ::open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); },
      temporary_path);
  if (fd < 0) return WriteError(errno, path, "create a file beside it");
  return StagedFile(std::string(path), std::move(temporary_path), fd);
}

absl::Status StagedFile::Write(int64_t offset, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return WriteError(errno, path_, "write");
    offset += written;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status StagedFile::Commit() {
  if (::fsync(fd_) != 0) return WriteError(errno, path_, "sync");
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0)
    return WriteError(errno, path_, "rename to it");
  ::close(std::exchange(fd_, -1));
  return SyncDirectoryOf(path_);
}

absl::Status WriteWholeFile(absl::string_view path, absl::string_view bytes) {
  MUSTER_ASSIGN_OR_RETURN(StagedFile file, StagedFile::Create(path));
  MUSTER_RETURN_IF_ERROR(file.Write(0, bytes));
  return file.Commit();
}

StagedDirectory::StagedDirectory(std::string path, std::string temporary_path)
    : path_(std::move(path)), temporary_path_(std::move(temporary_path)) {}

StagedDirectory::StagedDirectory(StagedDirectory&& other) noexcept
    : path_(std::move(other.path_)), temporary_path_(std::exchange(other.temporary_path_, "")) {}

StagedDirectory::~StagedDirectory() {
  if (temporary_path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(temporary_path_, ignored);
}

absl::StatusOr<StagedDirectory> StagedDirectory::Create(absl::string_view path) {
  std::string final_path = WithoutTrailingSlashes(path);
  std::error_code error;
  const fs::file_status status = fs::symlink_status(final_path, error);
  if (fs::exists(status) && !(fs::is_directory(status) && fs::is_empty(final_path, error))) {
    return absl::AlreadyExistsError(absl::StrCat(
        QuoteForMessage(path), ": is there already; remove it or choose another name"));
  }
  std::string temporary_path;
  const auto make = [](const char* name) { return ::mkdir(name, 0777); };
  if (MakeUnderFreeName(final_path, make, temporary_path) < 0) {
    return WriteError(errno, path, "create a directory beside it");
  }
  return StagedDirectory(std::move(final_path), std::move(temporary_path));
}

absl::Status StagedDirectory::Commit() {
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0)
    return WriteError(errno, path_, "rename to it");
  temporary_path_.clear();
  return SyncDirectoryOf(path_);
}

}  // namespace muster
