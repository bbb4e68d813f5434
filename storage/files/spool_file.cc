#include "storage/files/spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace muster {

absl::StatusOr<SpoolFile> SpoolFile::Create(const std::string& directory, int64_t size_bytes) {
  UniqueFd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  // A file system that has no files without a name gets one that loses its name at once.
  if (!fd.valid() && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    std::string path = absl::StrCat(directory, "/.muster-spool-XXXXXX");
    fd = UniqueFd(mkostemp(path.data(), O_CLOEXEC));
    if (fd.valid()) unlink(path.c_str());
  }
  if (!fd.valid()) return PathError(errno, "make a temporary file in it", directory);
  MUSTER_RETURN_IF_ERROR(ReserveSpace(fd.get(), directory, size_bytes, /*keep_size=*/true));
  return SpoolFile(std::move(fd), absl::StrCat("temporary file in ", directory));
}

}  // namespace muster
