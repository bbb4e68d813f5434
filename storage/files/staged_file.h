// Writes a file beside its final name and shows it only when it is whole and durable.
#ifndef MUSTER_STORAGE_FILES_STAGED_FILE_H_
#define MUSTER_STORAGE_FILES_STAGED_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// A file without a name yet. Destroying it uncommitted removes what was written. Write may run in
// several threads at once, the rest in one. kResourceExhausted: the disk, a quota or a limit on
// file sizes is full; kNotFound: the directory is missing; kPermissionDenied.
class StagedFile {
 public:
  // For `path`, whose directory exists. An existing file stays as it is until Commit replaces it.
  static absl::StatusOr<StagedFile> Create(absl::string_view path);

  StagedFile(StagedFile&& other) noexcept;
  StagedFile& operator=(StagedFile&&) = delete;
  ~StagedFile();

  absl::Status Write(int64_t offset, absl::string_view bytes);

  // Syncs, renames to the final name, and syncs the directory.
  absl::Status Commit();

 private:
  StagedFile(std::string path, std::string temporary_path, int fd);

  std::string path_;
  std::string temporary_path_;
  int fd_;
};

// Makes changes of names in the directory durable, where its file system can. The errors of StagedFile.
absl::Status SyncDirectory(const std::string& path);

// Stores `bytes` as a whole file at once.
absl::Status WriteWholeFile(absl::string_view path, absl::string_view bytes);

// A directory that is filled beside its final name. The same rules as for StagedFile;
// kAlreadyExists from both functions when something other than an empty directory has the final
// name.
class StagedDirectory {
 public:
  static absl::StatusOr<StagedDirectory> Create(absl::string_view path);

  StagedDirectory(StagedDirectory&& other) noexcept;
  StagedDirectory& operator=(StagedDirectory&&) = delete;
  ~StagedDirectory();

  // Where to put the files until Commit.
  const std::string& staging_path() const { return temporary_path_; }

  absl::Status Commit();

 private:
  StagedDirectory(std::string path, std::string temporary_path);

  std::string path_;
  std::string temporary_path_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_STAGED_FILE_H_
