// Writes a file beside its final name and shows it only when it is whole and durable.
#ifndef MUSTER_STORAGE_FILES_STAGED_FILE_H_
#define MUSTER_STORAGE_FILES_STAGED_FILE_H_

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/files/unique_fd.h"

namespace muster {

// Where a staged file goes.
struct FileDestination {
  // Open for reading; none where `name` is a path.
  UniqueFd directory;
  std::string name;
  // For messages.
  std::string shown;
  // Subject to the umask.
  mode_t mode = 0666;
};

// A file without its name yet. Destroying it uncommitted removes what was written. Write may run in
// several threads at once, the rest in one. kResourceExhausted: the disk, a quota or a limit on
// file sizes is full; kNotFound: the directory is missing; kPermissionDenied; kFailedPrecondition:
// a directory has the final name.
class StagedFile {
 public:
  // For `path`, whose directory exists. An existing file stays as it is until Commit replaces it. The file is locked
  // for as long as this lives, see RemoveAbandoned.
  static absl::StatusOr<StagedFile> Create(absl::string_view path, mode_t mode = 0666);

  // The same under a name of `temporary_name`, which is asked again while names are taken.
  static absl::StatusOr<StagedFile> Create(FileDestination destination,
                                           absl::FunctionRef<std::string()> temporary_name);

  StagedFile(StagedFile&& other) noexcept = default;
  StagedFile& operator=(StagedFile&&) = delete;
  ~StagedFile();

  absl::Status Write(int64_t offset, absl::string_view bytes);

  // See ReserveSpace.
  absl::Status Reserve(int64_t size_bytes);

  // 1. Syncs the file.
  // 2. Gives it its name: by rename, or, where nothing may be replaced, by a rename that fails if
  //    the name is taken (a hard link where the file system doesn't know that).
  // 3. Syncs the directory; without it a power loss could take the name back.
  absl::Status Commit() { return Commit(/*may_replace=*/true).status(); }
  // Returns what the file was before 2. kAlreadyExists where the name is taken and may not be.
  absl::StatusOr<struct stat> Commit(bool may_replace);

 private:
  StagedFile(FileDestination destination, std::string temporary_name, UniqueFd fd)
      : destination_(std::move(destination)),
        temporary_name_(std::move(temporary_name)),
        fd_(std::move(fd)) {}

  // For calls that take a directory's descriptor and a name.
  int directory() const;

  FileDestination destination_;
  std::string temporary_name_;
  // Closed once nothing has the temporary name any more.
  UniqueFd fd_;
};

// Stores `bytes` as a whole file at once.
absl::Status WriteWholeFile(absl::string_view path, absl::string_view bytes);

// The same with the mode 0600 from its first moment on. kAlreadyExists where there is such a file and `may_replace`
// is not set.
absl::Status WriteSecretFile(absl::string_view path, absl::string_view bytes, bool may_replace);

// The same for `name` in an open directory, with the mode 0644, under `part_name` first. Such a file
// of a process that died is overwritten, so callers for one name exclude each other. `shown` is
// for messages.
absl::Status WriteWholeFileAt(int directory_fd, const std::string& name, absl::string_view bytes,
                              const std::string& part_name, absl::string_view shown);

// A directory that is filled beside its final name. The same rules as for StagedFile;
// kAlreadyExists from both functions when something other than an empty directory has the final
// name.
class StagedDirectory {
 public:
  // Locked for as long as this lives, see RemoveAbandoned.
  static absl::StatusOr<StagedDirectory> Create(absl::string_view path);

  StagedDirectory(StagedDirectory&& other) noexcept;
  StagedDirectory& operator=(StagedDirectory&&) = delete;
  ~StagedDirectory();

  // Where to put the files until Commit.
  const std::string& staging_path() const { return temporary_path_; }

  absl::Status Commit();

 private:
  StagedDirectory(std::string path, std::string temporary_path, UniqueFd lock);

  std::string path_;
  std::string temporary_path_;
  UniqueFd lock_;
};

// Removes what processes that died left in `directory` of files and directories that were staged there by their paths,
// with final names that `is_ours` takes. What is being staged is locked, and stays; so does everything where the file
// system has no locks. What can't be removed is left.
void RemoveAbandoned(const std::string& directory,
                     absl::FunctionRef<bool(absl::string_view final_name)> is_ours);

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_STAGED_FILE_H_
