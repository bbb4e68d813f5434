// The users of an entry, and when it was used last: file KEY.use beside it.
#ifndef MUSTER_CLIENT_CACHE_CACHE_USE_H_
#define MUSTER_CLIENT_CACHE_CACHE_USE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cache/cache_files.h"

namespace muster {

// Marks the entry `key` as used now, and as in use until the descriptor is closed, also by the end
// of the process. A process that evicts at the same time may have removed the entry: look again
// afterwards.
absl::StatusOr<UniqueFd> BeginUse(const CacheDomain& domain, const std::string& key);

// Nobody begins to use the entry while the descriptor is open; invalid where somebody uses it.
// `key` needs no use file.
UniqueFd TryToKeepUnused(const CacheDomain& domain, const std::string& key);

// When the entry was used last; the infinite past where that is not known.
absl::Time LastUse(const CacheDomain& domain, const std::string& key);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_USE_H_
