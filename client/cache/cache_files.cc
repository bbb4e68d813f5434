#include "client/cache/cache_files.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "client/cache/part_lock.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Of the names of entries; see CheckedShard::ContentKey.
constexpr char kRootPrefix[] = "root-";
constexpr char kMd5Prefix[] = "md5-";

}  // namespace

std::string PartStem(const std::string& key, int writer) {
  return writer == 1 ? key : absl::StrCat(key, ".", writer);
}

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
  MUSTER_RETURN_IF_ERROR(AwaitLock(*this, fd.get(), path, stop));
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

bool CacheDomain::HasPart(const std::string& key) const {
  for (int writer = 1; writer <= kMaxWriters; ++writer) {
    if (Has(PartStem(key, writer) + kPartSuffix)) return true;
  }
  return false;
}

// Claims go first, as they vouch; the part, which others wait for, last but for what is nobody's then.
void CacheDomain::RemovePart(const std::string& key, const std::string& stem) const {
  bool others = Has(key);
  for (int writer = 1; writer <= kMaxWriters; ++writer) {
    const std::string other = PartStem(key, writer);
    others = others || (other != stem && Has(other + kPartSuffix));
  }
  Remove(stem + kClaimsSuffix);
  if (!others) {
    Remove(key + kPiecesSuffix);
    Remove(key + kNamesSuffix);
  }
  Remove(stem + kPartSuffix);
}

void CacheDomain::Remove(const std::string& name) const { unlinkat(dir.get(), name.c_str(), 0); }

}  // namespace muster
