#include "storage/files/staged_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/posix_file.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxNames = 10'000;
constexpr absl::string_view kTemporaryMark = ".tmp-";
// Names that the file system doesn't take.
constexpr ErrnoCode kBadName[] = {{EINVAL, absl::StatusCode::kInvalidArgument}};
// Something other than a directory has the name.
constexpr ErrnoCode kNameTaken[] = {{ENOTDIR, absl::StatusCode::kAlreadyExists}};

// A hidden name in the same directory, so that the rename is atomic and the directory's readers
// pass it by.
std::string TemporaryPath(const std::string& path, int attempt) {
  const fs::path whole(path);
  const std::string name =
      absl::StrCat(".", whole.filename().string(), kTemporaryMark, ::getpid(), "-", attempt);
  return (whole.parent_path() / name).string();
}

// Calls `make` with one name after another until it no longer says that the name is taken. Returns
// its result and leaves the name in `name`. Unlike mkstemp, this leaves the mode to the umask.
int MakeUnderFreeName(absl::FunctionRef<std::string()> next_name,
                      absl::FunctionRef<int(const char* name)> make, std::string& name) {
  int result = -1;
  for (int attempt = 0; attempt < kMaxNames && result < 0; ++attempt) {
    name = next_name();
    result = make(name.c_str());
    if (result < 0 && errno != EEXIST) break;
  }
  return result;
}

// The name that a file or directory with TemporaryPath's name is to get; nothing for other names.
std::optional<absl::string_view> FinalNameOf(absl::string_view name) {
  const size_t mark = name.rfind(kTemporaryMark);
  if (name[0] != '.' || mark == absl::string_view::npos || mark < 2) return std::nullopt;
  const std::vector<absl::string_view> numbers =
      absl::StrSplit(name.substr(mark + kTemporaryMark.size()), '-');
  const auto is_number = [](absl::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos;
  };
  if (numbers.size() != 2 || !is_number(numbers[0]) || !is_number(numbers[1])) return std::nullopt;
  return name.substr(1, mark - 1);
}

// Whether what was just made as `name` is ours: another process that took it for abandoned before it was locked may be
// about to remove it. A file system without locks has no such processes.
bool LockNew(int fd, int directory, const std::string& name) {
  if (!TryLockExclusive(fd) && errno == EWOULDBLOCK) return false;
  return IsSameFile(directory, name, fd);
}

// Both return an errno value, 0 for success.
int RenameOver(int directory, const char* from, const char* to) {
  return renameat(directory, from, directory, to) == 0 ? 0 : errno;
}

int RenameToUnused(int directory, const char* from, const char* to) {
  if (renameat2(directory, from, directory, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (linkat(directory, from, directory, to, 0) != 0) return errno;
  unlinkat(directory, from, 0);
  return 0;
}

}  // namespace

int StagedFile::directory() const {
  return destination_.directory.valid() ? destination_.directory.get() : AT_FDCWD;
}

StagedFile::~StagedFile() {
  if (!fd_.valid()) return;
  fd_.Reset();
  unlinkat(directory(), temporary_name_.c_str(), 0);
}

absl::StatusOr<StagedFile> StagedFile::Create(absl::string_view path, mode_t mode) {
  const std::string name(path);
  int attempt = 0;
  const auto next_name = [&] { return TemporaryPath(name, attempt++); };
  for (;;) {
    absl::StatusOr<StagedFile> file =
        Create({UniqueFd(), name, QuoteForMessage(path), mode}, next_name);
    if (!file.ok() || LockNew(file->fd_.get(), AT_FDCWD, file->temporary_name_)) return file;
    if (attempt >= kMaxNames)
      return PathError(EBUSY, "lock a file beside it", QuoteForMessage(path));
  }
}

absl::StatusOr<StagedFile> StagedFile::Create(FileDestination destination,
                                              absl::FunctionRef<std::string()> temporary_name) {
  StagedFile file(std::move(destination), "", UniqueFd());
  file.fd_ = UniqueFd(MakeUnderFreeName(
      temporary_name,
      [directory = file.directory(), mode = file.destination_.mode](const char* name) {
        return openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
      },
      file.temporary_name_));
  if (file.fd_.valid()) return file;
  return PathError(errno, "create a file beside it", file.destination_.shown, kBadName);
}

absl::Status StagedFile::Write(int64_t offset, absl::string_view bytes) {
  return WriteAt(fd_.get(), destination_.shown, offset, bytes);
}

absl::Status StagedFile::Reserve(int64_t size_bytes) {
  return ReserveSpace(fd_.get(), destination_.shown, size_bytes);
}

absl::StatusOr<struct stat> StagedFile::Commit(bool may_replace) {
  const std::string& shown = destination_.shown;
  MUSTER_RETURN_IF_ERROR(SyncFile(fd_.get(), shown));
  MUSTER_ASSIGN_OR_RETURN(const struct stat info, StatOf(fd_.get(), shown));
  const char* const name = destination_.name.c_str();
  const int error = may_replace ? RenameOver(directory(), temporary_name_.c_str(), name)
                                : RenameToUnused(directory(), temporary_name_.c_str(), name);
  if (error != 0) return PathError(error, "give it its name", shown);
  fd_.Reset();
  MUSTER_RETURN_IF_ERROR(destination_.directory.valid()
                             ? SyncDirectory(directory(), shown)
                             : SyncDirectory(ParentOf(destination_.name)));
  return info;
}

absl::Status WriteWholeFile(absl::string_view path, absl::string_view bytes) {
  MUSTER_ASSIGN_OR_RETURN(StagedFile file, StagedFile::Create(path));
  MUSTER_RETURN_IF_ERROR(file.Write(0, bytes));
  return file.Commit();
}

absl::Status WriteSecretFile(absl::string_view path, absl::string_view bytes, bool may_replace) {
  MUSTER_ASSIGN_OR_RETURN(StagedFile file, StagedFile::Create(path, 0600));
  MUSTER_RETURN_IF_ERROR(file.Write(0, bytes));
  return file.Commit(may_replace).status();
}

absl::Status WriteWholeFileAt(int directory_fd, const std::string& name, absl::string_view bytes,
                              const std::string& part_name, absl::string_view shown) {
  const UniqueFd fd(openat(directory_fd, part_name.c_str(),
                           O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid()) return PathError(errno, "write it", shown);
  MUSTER_RETURN_IF_ERROR(WriteAt(fd.get(), shown, 0, bytes));
  MUSTER_RETURN_IF_ERROR(SyncFile(fd.get(), shown));
  const int error = RenameOver(directory_fd, part_name.c_str(), name.c_str());
  if (error != 0) return PathError(error, "give it its name", shown);
  return SyncDirectory(directory_fd, shown);
}

StagedDirectory::StagedDirectory(std::string path, std::string temporary_path, UniqueFd lock)
    : path_(std::move(path)), temporary_path_(std::move(temporary_path)), lock_(std::move(lock)) {}

StagedDirectory::StagedDirectory(StagedDirectory&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_path_(std::exchange(other.temporary_path_, "")),
      lock_(std::move(other.lock_)) {}

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
    return absl::AlreadyExistsError(
        absl::StrCat(QuoteForMessage(path), ": already exists; remove it or choose another name"));
  }
  std::string temporary_path;
  int attempt = 0;
  const auto next_name = [&] { return TemporaryPath(final_path, attempt++); };
  const auto make = [](const char* name) { return ::mkdir(name, 0777); };
  do {
    if (MakeUnderFreeName(next_name, make, temporary_path) < 0) {
      return PathError(errno, "create a directory beside it", QuoteForMessage(path), kBadName);
    }
    UniqueFd fd(open(temporary_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    const int failed = fd.valid() ? 0 : errno;
    if (fd.valid() && LockNew(fd.get(), AT_FDCWD, temporary_path)) {
      return StagedDirectory(std::move(final_path), std::move(temporary_path), std::move(fd));
    }
    ::rmdir(temporary_path.c_str());
    // Else it was taken away from us.
    if (failed != 0 && failed != ENOENT) {
      return PathError(failed, "open a directory beside it", QuoteForMessage(path));
    }
  } while (attempt < kMaxNames);
  return PathError(EBUSY, "lock a directory beside it", QuoteForMessage(path));
}

absl::Status StagedDirectory::Commit() {
  const int error = RenameOver(AT_FDCWD, temporary_path_.c_str(), path_.c_str());
  if (error != 0) return PathError(error, "give it its name", QuoteForMessage(path_), kNameTaken);
  temporary_path_.clear();
  return SyncDirectory(ParentOf(path_));
}

void RemoveAbandoned(const std::string& directory,
                     absl::FunctionRef<bool(absl::string_view final_name)> is_ours) {
  const UniqueFd parent(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent.valid()) return;
  std::vector<std::string> found;
  const absl::Status listed = ForEachName(parent.get(), directory, [&](const std::string& name) {
    const std::optional<absl::string_view> final_name = FinalNameOf(name);
    if (final_name.has_value() && is_ours(*final_name)) found.push_back(name);
    return absl::OkStatus();
  });
  if (!listed.ok()) return;
  for (const std::string& name : found) {
    const UniqueFd fd(openat(parent.get(), name.c_str(),
                             O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    if (!fd.valid() || !TryLockExclusive(fd.get())) continue;
    if (!IsSameFile(parent.get(), name, fd.get())) continue;
    std::error_code ignored;
    fs::remove_all(absl::StrCat(directory, "/", name), ignored);
  }
}

}  // namespace muster
