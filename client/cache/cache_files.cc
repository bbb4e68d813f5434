#include "client/cache/cache_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/match.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Of the names of entries; see CheckedShard::ContentKey.
constexpr char kRootPrefix[] = "root-";
constexpr char kMd5Prefix[] = "md5-";

}  // namespace

absl::Status CacheDomain::ForEachName(
    absl::FunctionRef<void(const std::string& name)> on_name) const {
  const int list_fd = openat(dir.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (list_fd < 0) return PathError(errno, "list", path);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(fdopendir(list_fd), &closedir);
  if (list == nullptr) {
    close(list_fd);
    return PathError(errno, "list", path);
  }
  while (const dirent* entry = readdir(list.get())) {
    const absl::string_view name = entry->d_name;
    if (absl::StartsWith(name, kRootPrefix) || absl::StartsWith(name, kMd5Prefix)) {
      on_name(std::string(name));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> CacheDomain::Lock(const std::stop_token& stop) const {
  UniqueFd fd(openat(dir.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return PathError(errno, "open", path);
  MUSTER_RETURN_IF_ERROR(LockExclusive(fd.get(), path, stop));
  return fd;
}

bool CacheDomain::Has(const std::string& name) const {
  return faccessat(dir.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void CacheDomain::Remove(const std::string& name) const { unlinkat(dir.get(), name.c_str(), 0); }

}  // namespace muster
