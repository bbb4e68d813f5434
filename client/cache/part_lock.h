// Waits for other processes that use the cache, but not for ever and not without a word.
#ifndef MUSTER_CLIENT_CACHE_PART_LOCK_H_
#define MUSTER_CLIENT_CACHE_PART_LOCK_H_

#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cache/cache_files.h"
#include "storage/files/posix_file.h"

namespace muster {

// Takes the exclusive flock of `fd`, and tells the domain's `warn` who holds it when that takes long.
// kCancelled.
absl::Status AwaitLock(const CacheDomain& domain, int fd, const std::string& path,
                       const std::stop_token& stop);

// The right to write a shard.
struct LockedPart {
  // Locked; invalid where there is an entry by now.
  UniqueFd fd;
  // See PartStem.
  std::string stem;

  // Others hold the parts before it, and stand still.
  bool IsBeside(const std::string& key) const { return stem != key; }
};

struct PartWait {
  // Of the present holder of a part, after the last byte that it wrote. A holder in this process is
  // waited for without limit.
  absl::Duration patience;
  // Where this entry comes meanwhile, that ends the wait; "": none does.
  std::string entry;
};

// The part file of `key`, made where it is missing. While another process writes it, this waits, and
// says for whom. One that writes nothing for too long keeps its part, and the caller gets another.
// kCancelled; kUnavailable: all writers that a shard may have stand still.
absl::StatusOr<LockedPart> LockPart(const CacheDomain& domain, const std::string& key,
                                    const PartWait& wait, const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_PART_LOCK_H_
