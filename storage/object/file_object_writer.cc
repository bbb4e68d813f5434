// How an object appears:
//
// 1. Its bytes go to a temporary name in the same directory, so that the rename stays inside one
// file system.
// 2. Commit syncs the file, then gives it its name: by rename, or, where nothing may be replaced,
// by a rename
//    that fails if the name is taken (a hard link where the file system doesn't know that).
// 3. The directory is synced; without it a power loss could take the name back.
// 4. A writer that ends before 2 removes the temporary name.
#include "storage/object/file_object_writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/object/object_rules.h"

namespace muster {
namespace {

// Random names of 128 bits don't meet; a few tries bound the loop all the same.
constexpr int kNameAttemptsMax = 4;

class FileObjectWriter final : public ObjectWriter {
 public:
  FileObjectWriter(FileDestination destination, std::string temporary_name, LocalFile file,
                   const ObjectStore::WriteOptions& options)
      : destination_(std::move(destination)),
        temporary_name_(std::move(temporary_name)),
        file_(std::move(file)),
        must_not_exist_(options.must_not_exist),
        tracker_(destination_.uri, options) {}

  ~FileObjectWriter() override { RemoveTemporary(); }

  absl::Status Write(int64_t offset, absl::string_view bytes) override {
    MUSTER_RETURN_IF_ERROR(tracker_.Begin(offset, bytes.size()));
    const absl::Status written = WriteFully(file_.fd(), offset, bytes, destination_.uri);
    tracker_.Finish(offset, bytes.size(), written.ok());
    return written;
  }

  absl::StatusOr<ObjectInfo> Commit() override {
    MUSTER_RETURN_IF_ERROR(tracker_.Close());
    absl::StatusOr<ObjectInfo> info = Publish();
    if (!info.ok()) RemoveTemporary();
    return info;
  }

 private:
  absl::StatusOr<ObjectInfo> Publish() {
    MUSTER_RETURN_IF_ERROR(SyncFile(file_.fd(), destination_.uri));
    struct stat info = {};
    if (fstat(file_.fd(), &info) != 0) return FileError(errno, destination_.uri, "look at it");
    const int error = must_not_exist_ ? RenameToUnused() : RenameOver();
    if (error == EEXIST) {
      return absl::AlreadyExistsError(absl::StrCat(destination_.uri, ": the object exists"));
    }
    if (error != 0) return FileError(error, destination_.uri, "give it its name");
    temporary_name_.clear();
    MUSTER_RETURN_IF_ERROR(SyncFile(destination_.directory.fd(), destination_.uri));
    return InfoOf(info);
  }

  // Both return an errno value, 0 for success.
  int RenameOver() const {
    const int directory = destination_.directory.fd();
    const bool renamed =
        renameat(directory, temporary_name_.c_str(), directory, destination_.name.c_str()) == 0;
    return renamed ? 0 : errno;
  }

  int RenameToUnused() const {
    const int directory = destination_.directory.fd();
    const char* const from = temporary_name_.c_str();
    const char* const to = destination_.name.c_str();
    if (renameat2(directory, from, directory, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    if (linkat(directory, from, directory, to, 0) != 0) return errno;
    unlinkat(directory, from, 0);
    return 0;
  }

  void RemoveTemporary() {
    if (temporary_name_.empty()) return;
    unlinkat(destination_.directory.fd(), temporary_name_.c_str(), 0);
    temporary_name_.clear();
  }

  const FileDestination destination_;
  // "" once nothing is under it any more.
  std::string temporary_name_;
  const LocalFile file_;
  const bool must_not_exist_;
  WriteTracker tracker_;
};

// Reserves the space, so that a full disk is told before the first byte was sent. Where the file
// system can't, a write will tell.
absl::Status ReserveSpace(const LocalFile& file, int64_t bytes, const std::string& uri) {
  if (bytes == 0) return absl::OkStatus();
  while (fallocate(file.fd(), 0, 0, bytes) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
      return FileError(errno, uri, absl::StrCat("reserve ", bytes, " bytes"));
    }
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ObjectWriter>> NewFileObjectWriter(
    Random& random, FileDestination destination, const ObjectStore::WriteOptions& options) {
  std::string name;
  LocalFile file;
  for (int attempt = 0; attempt < kNameAttemptsMax && !file.is_open(); ++attempt) {
    name = absl::StrCat(kTemporaryPrefix, random.NextId());
    file = LocalFile(openat(destination.directory.fd(), name.c_str(),
                            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!file.is_open() && errno != EEXIST) return FileError(errno, destination.uri, "create it");
  }
  if (!file.is_open()) return FileError(EEXIST, destination.uri, "create it");
  const absl::Status reserved = ReserveSpace(file, options.size_bytes, destination.uri);
  if (!reserved.ok()) {
    unlinkat(destination.directory.fd(), name.c_str(), 0);
    return reserved;
  }
  return std::make_unique<FileObjectWriter>(std::move(destination), std::move(name),
                                            std::move(file), options);
}

}  // namespace muster
