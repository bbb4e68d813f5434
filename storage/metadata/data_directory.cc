#include "storage/metadata/data_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/file_error.h"

namespace muster {

absl::Status PrepareDataDirectory(const std::string& path) {
  const std::string shown = absl::StrCat("data directory \"", absl::CHexEscape(path), "\"");
  if (path.empty() || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(shown, " is not a path"));
  }
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd directory,
                          MakeDirectories(path, shown, {.mode = 0700, .parent_mode = 0755}));
  if (faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
    return PathError(errno, "read and write it", shown);
  }
  return absl::OkStatus();
}

}  // namespace muster
