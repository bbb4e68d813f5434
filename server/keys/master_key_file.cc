#include "server/keys/master_key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/keys/secret_text.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/file_error.h"
#include "storage/files/posix_file.h"

namespace muster {
namespace {

std::string Quoted(const std::string& path) { return absl::StrCat("\"", path, "\""); }

// Beside `path`, or beside what it leads to; then by its name in one step. Nobody else may read it at any moment.
absl::Status WriteKeys(const std::string& path, const MasterKeys& keys, bool may_replace) {
  SecretText text(MasterKeys::kMaxTextBytes);
  keys.Print(text);
  std::string target = path;
  if (char* const real = realpath(path.c_str(), nullptr); real != nullptr) {
    target = real;
    free(real);
  }
  const std::string beside = absl::StrCat(target, ".new");
  const UniqueFd fd(
      open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return PathError(errno, "write the file beside it", Quoted(beside));
  absl::Status written = WriteAt(fd.get(), Quoted(beside), 0, text.text());
  if (written.ok()) written = SyncFile(fd.get(), Quoted(beside));
  if (written.ok()) {
    const int renamed = may_replace ? rename(beside.c_str(), target.c_str())
                                    : renameat2(AT_FDCWD, beside.c_str(), AT_FDCWD, target.c_str(),
                                                RENAME_NOREPLACE);
    if (renamed != 0) written = PathError(errno, "give it its name", Quoted(path));
  }
  if (!written.ok()) {
    unlink(beside.c_str());
    return written;
  }
  const size_t slash = target.rfind('/');
  return SyncDirectory(slash == std::string::npos ? "." : target.substr(0, slash + 1));
}

// The day for people, and what keeps two of a day apart.
std::string NewId(absl::Time now) {
  const SecretKey random = DrawKey();
  return absl::StrCat("mk-", absl::FormatTime("%Y-%m-%d", now, absl::UTCTimeZone()), "-",
                      absl::BytesToHexString({reinterpret_cast<const char*>(random.data()), 4}));
}

class FileWrapper final : public KeyWrapper {
 public:
  FileWrapper(std::string path, MasterKeys keys, std::string state)
      : path_(std::move(path)), seen_(state), read_(std::move(state)), keys_(std::move(keys)) {}

  static std::string StateOf(const std::string& path) {
    struct stat info = {};
    if (stat(path.c_str(), &info) != 0) info = {};
    return absl::StrCat(info.st_dev, ":", info.st_ino, ":", info.st_size, ":", info.st_mode, ":",
                        info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, ":", info.st_ctim.tv_sec,
                        ".", info.st_ctim.tv_nsec);
  }

  absl::StatusOr<WrappedKey> Wrap(const SecretKey& key, absl::string_view context) override {
    MutexLock lock(mutex_);
    return keys_.Wrap(key, context);
  }
  absl::StatusOr<SecretKey> Unwrap(const WrappedKey& wrapped, absl::string_view context) override {
    MutexLock lock(mutex_);
    return keys_.Unwrap(wrapped, context);
  }
  std::string current_id() override {
    MutexLock lock(mutex_);
    return keys_.current_id();
  }
  std::vector<std::string> ids() override {
    MutexLock lock(mutex_);
    return keys_.ids();
  }

  absl::StatusOr<bool> Refresh(const std::map<std::string, uint64_t>& needed) override {
    const std::string state = StateOf(path_);
    const bool settled = std::exchange(seen_, state) == state;
    if (!settled || state == read_) return false;
    read_ = state;
    MUSTER_ASSIGN_OR_RETURN(MasterKeys keys, ReadMasterKeyFile(path_));
    MutexLock lock(mutex_);
    std::vector<std::string> lost;
    for (const auto& [id, count] : needed) {
      // One that is not here either is told of in another place.
      if (keys_.Has(id) && !keys.Has(id)) lost.push_back(absl::StrCat(id, " (", count, ")"));
    }
    if (!lost.empty()) {
      return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kMasterKeyInUse,
                       absl::StrCat(Quoted(path_),
                                    ": lacks master keys that content keys are "
                                    "wrapped by: ",
                                    absl::StrJoin(lost, ", "),
                                    "; put them back, until `muster keys status` says 0"));
    }
    keys_ = std::move(keys);
    return true;
  }

 private:
  const std::string path_;
  // Of the file that was looked at last, and of that which was read last.
  std::string seen_;
  std::string read_;
  Mutex mutex_;
  MasterKeys keys_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<MasterKeys> ReadMasterKeyFile(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(const OpenedFile file,
                          OpenRegularFile(path, Quoted(path), absl::StatusCode::kInvalidArgument));
  if ((file.info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kKeyFileExposed,
                     absl::StrCat(Quoted(path),
                                  ": not only its owner can open the file of master keys; `chmod "
                                  "600` it"),
                     {{"path", path}});
  }
  if (file.info.st_size > static_cast<int64_t>(MasterKeys::kMaxTextBytes)) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, reasons::kMasterKeyFile,
        absl::StrCat(Quoted(path), ": has ", file.info.st_size,
                     " bytes, and a file of master keys at most ", MasterKeys::kMaxTextBytes));
  }
  SecretText text(MasterKeys::kMaxTextBytes);
  MUSTER_RETURN_IF_ERROR(
      ReadAt(file.fd.get(), Quoted(path), 0, text.Extend(static_cast<size_t>(file.info.st_size))));
  absl::StatusOr<MasterKeys> keys = MasterKeys::Parse(text.text());
  if (!keys.ok()) return Annotate(keys.status(), Quoted(path));
  return keys;
}

absl::StatusOr<std::string> NewMasterKeyFile(const std::string& path, absl::Time now) {
  const std::string id = NewId(now);
  MUSTER_RETURN_IF_ERROR(WriteKeys(path, MasterKeys::Of(id, DrawKey()), /*may_replace=*/false));
  return id;
}

absl::StatusOr<std::string> RotateMasterKeyFile(const std::string& path, absl::Time now) {
  MUSTER_ASSIGN_OR_RETURN(const MasterKeys keys, ReadMasterKeyFile(path));
  const std::string id = NewId(now);
  MUSTER_ASSIGN_OR_RETURN(const MasterKeys more, keys.With(id, DrawKey()));
  MUSTER_RETURN_IF_ERROR(WriteKeys(path, more, /*may_replace=*/true));
  return id;
}

absl::Status RetireMasterKey(const std::string& path, const std::string& id) {
  MUSTER_ASSIGN_OR_RETURN(const MasterKeys keys, ReadMasterKeyFile(path));
  absl::StatusOr<MasterKeys> fewer = keys.Without(id);
  if (!fewer.ok()) return Annotate(fewer.status(), Quoted(path));
  return WriteKeys(path, *fewer, /*may_replace=*/true);
}

absl::StatusOr<std::unique_ptr<KeyWrapper>> OpenMasterKeyFile(const std::string& path) {
  // Before it is read, so that a change in between is noticed.
  std::string state = FileWrapper::StateOf(path);
  MUSTER_ASSIGN_OR_RETURN(MasterKeys keys, ReadMasterKeyFile(path));
  return std::make_unique<FileWrapper>(path, std::move(keys), std::move(state));
}

}  // namespace muster
