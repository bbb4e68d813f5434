// Directories: made durably, synced, listed.
#ifndef MUSTER_STORAGE_FILES_DIRECTORIES_H_
#define MUSTER_STORAGE_FILES_DIRECTORIES_H_

#include <sys/types.h>

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/files/unique_fd.h"

namespace muster {

// Subject to the umask.
struct DirectoryModes {
  mode_t mode = 0777;
  // Of parents that are missing.
  mode_t parent_mode = 0777;
};

// Makes the directory `path` and its missing parents, each durable before it returns, and opens it.
// `name` is for messages. kFailedPrecondition: the path or a parent is something else. Callers that
// may meet on the same directories serialise their calls: one that finds a directory takes it as
// durable.
absl::StatusOr<UniqueFd> MakeDirectories(const std::string& path, absl::string_view name,
                                         const DirectoryModes& modes = {});

// The same for `entry` of the open directory `parent_fd`. A link is not followed. `name` is its
// whole path.
absl::StatusOr<UniqueFd> MakeDirectoryAt(int parent_fd, const std::string& entry,
                                         absl::string_view name, mode_t mode);

// The directory that `path` is in: "." for a bare name.
std::string ParentOf(const std::string& path);
std::string WithoutTrailingSlashes(absl::string_view path);

// Makes changes of names in the directory durable, where its file system can.
absl::Status SyncDirectory(int fd, absl::string_view path);
absl::Status SyncDirectory(const std::string& path);

// Calls `on_name` for everything in the open directory but "." and "..", in no order. Ends with its
// first error.
absl::Status ForEachName(int fd, absl::string_view path,
                         absl::FunctionRef<absl::Status(const std::string& name)> on_name);

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_DIRECTORIES_H_
