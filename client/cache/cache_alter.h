// Gives an entry's file further names, or another mode, while it stays verified.
#ifndef MUSTER_CLIENT_CACHE_CACHE_ALTER_H_
#define MUSTER_CLIENT_CACHE_CACHE_ALTER_H_

#include <stop_token>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "client/cache/cache_files.h"

namespace muster {

// An entry's file, open read-only, while its lock is held.
struct LockedEntry {
  int fd = -1;
  std::string path;
  // Whether it counts as verified.
  bool verified = false;
};

// Runs `alter` on the entry: it may link and unlink further names of the file and set its mode, but
// touches neither its bytes nor its name in the cache. Such a change moves the file's ctime, so an
// entry that counted as verified before is recorded again, whatever `alter` returned. Returns what
// `alter` returned. kNotFound: no entry; kCancelled.
absl::Status AlterEntry(const CacheDomain& domain, const std::string& key,
                        absl::FunctionRef<absl::Status(const LockedEntry& entry)> alter,
                        const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_ALTER_H_
