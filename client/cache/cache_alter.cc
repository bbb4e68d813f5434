// Others that look the entry up between the change and the new record wait for the lock and find
// the record then (step 2 of shard_cache.cc). A process that dies in between leaves an entry that
// is hashed again.
#include "client/cache/cache_alter.h"

#include <sys/stat.h>

#include <tuple>

#include "absl/strings/str_cat.h"
#include "client/cache/cache_record.h"
#include "client/cache/part_lock.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_guard.h"

namespace muster {
namespace {

// What a change of names or mode leaves as it is, and a write does not.
bool SameBytes(const struct stat& a, const struct stat& b) {
  const auto content = [](const struct stat& s) {
    return std::make_tuple(s.st_size, s.st_ino, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  };
  return content(a) == content(b);
}

// `before` and `after` are its states right before and right after the change. What moves the file's
// ctime later was not that change. An entry that can't be recorded is only slower to find: it is hashed
// again.
void RecordAnew(const CacheRecord& record, int fd, const struct stat& before,
                const struct stat& after) {
  if (SameState(before, after)) return;
  if (!SameBytes(before, after)) return;
  const absl::StatusOr<struct stat> settled = record.Settle(fd);
  if (!settled.ok() || !SameState(after, *settled) || FindOpenWriters(fd) == OpenWriters::kSome ||
      !record.Write(*settled).ok()) {
    record.Remove();
  }
}

}  // namespace

absl::Status AlterEntry(const CacheDomain& domain, const std::string& key,
                        absl::FunctionRef<absl::Status(const LockedEntry& entry)> alter,
                        const std::stop_token& stop) {
  const std::string path = domain.PathOf(key);
  const CacheRecord record(domain.dir.get(), key);
  for (int start = 0; start < kMaxStartsOver; ++start) {
    MUSTER_ASSIGN_OR_RETURN(const UniqueFd fd, domain.OpenToRead(key));
    MUSTER_RETURN_IF_ERROR(AwaitLock(domain, fd.get(), path, stop));
    if (!IsSameFile(domain.dir.get(), key, fd.get())) continue;
    MUSTER_ASSIGN_OR_RETURN(const struct stat before, StatOf(fd.get(), path));
    const bool verified = S_ISREG(before.st_mode) && record.Vouches(before);
    const absl::Status status = alter({fd.get(), path, verified});
    struct stat after {};
    if (verified && fstat(fd.get(), &after) == 0) RecordAnew(record, fd.get(), before, after);
    return status;
  }
  return absl::AbortedError(absl::StrCat(path, ": the cache entry keeps being replaced"));
}

}  // namespace muster
