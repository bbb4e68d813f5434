#include "client/cache/cache_files.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

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
  return muster::ForEachName(dir.get(), path, [&on_name](const std::string& name) {
    if (absl::StartsWith(name, kRootPrefix) || absl::StartsWith(name, kMd5Prefix)) on_name(name);
    return absl::OkStatus();
  });
}

absl::StatusOr<UniqueFd> CacheDomain::Lock(const std::stop_token& stop) const {
  UniqueFd fd(openat(dir.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return PathError(errno, "open it", path);
  MUSTER_RETURN_IF_ERROR(LockExclusive(fd.get(), path, stop));
  return fd;
}

UniqueFd CacheDomain::Open(const std::string& name, int flags, mode_t mode) const {
  return UniqueFd(
      openat(dir.get(), name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode));
}

absl::StatusOr<UniqueFd> CacheDomain::OpenToRead(const std::string& name) const {
  UniqueFd fd = Open(name, O_RDONLY);
  if (!fd.valid()) return PathError(errno, "open it", PathOf(name));
  return fd;
}

bool CacheDomain::Has(const std::string& name) const {
  return faccessat(dir.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void CacheDomain::Remove(const std::string& name) const { unlinkat(dir.get(), name.c_str(), 0); }

}  // namespace muster
