#include "storage/files/spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// A file system that has no files without a name gets one that loses its name at once.
absl::StatusOr<UniqueFd> OpenNameless(const std::string& directory) {
  UniqueFd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid()) return fd;
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
    return PathError(errno, "make a temporary file in", directory);
  }
  std::string path = absl::StrCat(directory, "/.muster-spool-XXXXXX");
  fd = UniqueFd(mkostemp(path.data(), O_CLOEXEC));
  if (!fd.valid()) return PathError(errno, "make a temporary file in", directory);
  unlink(path.c_str());
  return fd;
}

}  // namespace

absl::StatusOr<SpoolFile> SpoolFile::Create(const std::string& directory, int64_t size_bytes) {
  MUSTER_ASSIGN_OR_RETURN(UniqueFd fd, OpenNameless(directory));
  int result = 0;
  do {
    result = fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, size_bytes);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
    return NoSpaceError(directory, fd.get(), size_bytes);
  }
  return SpoolFile(std::move(fd), absl::StrCat("temporary file in ", directory));
}

}  // namespace muster
