#include "client/cache/cache_warm.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/object/io_buffer.h"

namespace muster {
namespace {

// Between two questions and looks at the stop token.
constexpr int64_t kPartBytes = int64_t{8} << 20;

}  // namespace

bool IsInMemory(const CacheDomain& domain) {
  struct statfs info {};
  if (fstatfs(domain.dir.get(), &info) != 0) return false;
  return info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC;
}

// By plain reads: what readahead is asked for may be left out without a word.
absl::StatusOr<int64_t> WarmEntry(const CacheDomain& domain, const std::string& key,
                                  absl::FunctionRef<bool(int64_t bytes)> may_read,
                                  const std::stop_token& stop) {
  const std::string path = domain.PathOf(key);
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd fd, domain.OpenToRead(key));
  MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd.get(), path));
  posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  MUSTER_ASSIGN_OR_RETURN(const IoBuffer buffer, MakeIoBuffer(kPartBytes));
  int64_t offset = 0;
  while (offset < state.st_size) {
    if (stop.stop_requested()) return absl::CancelledError(absl::StrCat(path, ": stopped"));
    const int64_t length = std::min<int64_t>(kPartBytes, state.st_size - offset);
    if (!may_read(length)) break;
    MUSTER_RETURN_IF_ERROR(
        ReadAt(fd.get(), path, offset, absl::MakeSpan(buffer.get(), static_cast<size_t>(length))));
    offset += length;
  }
  return offset;
}

}  // namespace muster
