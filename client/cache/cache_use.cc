// A user holds a shared flock of KEY.use, a process that evicts the exclusive one; the file's mtime
// is the last use.
#include "client/cache/cache_use.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"

namespace muster {
namespace {

// The exclusive lock is held for a few system calls only.
constexpr int kMaxLooks = 1000;

UniqueFd OpenUse(const CacheDomain& domain, const std::string& name) {
  return domain.Open(name, O_RDWR | O_CREAT);
}

}  // namespace

absl::StatusOr<UniqueFd> BeginUse(const CacheDomain& domain, const std::string& key) {
  const std::string name = key + kUseSuffix;
  for (int look = 0; look < kMaxLooks; ++look) {
    UniqueFd fd = OpenUse(domain, name);
    if (!fd.valid()) return PathError(errno, "record the use in it", domain.PathOf(name));
    if (flock(fd.get(), LOCK_SH | LOCK_NB) != 0) {
      PauseBetweenLooks();
      continue;
    }
    if (!IsSameFile(domain.dir.get(), name, fd.get())) continue;
    if (futimens(fd.get(), nullptr) != 0) {
      return PathError(errno, "record the use in it", domain.PathOf(name));
    }
    return fd;
  }
  return absl::UnavailableError(
      absl::StrCat(domain.PathOf(name), ": another program keeps it locked"));
}

UniqueFd TryToKeepUnused(const CacheDomain& domain, const std::string& key) {
  const std::string name = key + kUseSuffix;
  UniqueFd fd = domain.Open(name, O_RDWR);
  if (!fd.valid() && errno == ENOENT) {
    fd = OpenUse(domain, name);
    // Nobody used the entry now.
    const timespec long_ago[2] = {};
    if (fd.valid() && futimens(fd.get(), long_ago) != 0) return UniqueFd();
  }
  if (!fd.valid() || !TryLockExclusive(fd.get())) return UniqueFd();
  if (!IsSameFile(domain.dir.get(), name, fd.get())) return UniqueFd();
  return fd;
}

absl::Time LastUse(const CacheDomain& domain, const std::string& key) {
  struct stat state {};
  const std::string name = key + kUseSuffix;
  if (fstatat(domain.dir.get(), name.c_str(), &state, AT_SYMLINK_NOFOLLOW) != 0) {
    return absl::InfinitePast();
  }
  return absl::TimeFromTimespec(state.st_mtim);
}

}  // namespace muster
