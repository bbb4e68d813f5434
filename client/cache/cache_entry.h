// Finds an entry whose bytes were verified.
#ifndef MUSTER_CLIENT_CACHE_CACHE_ENTRY_H_
#define MUSTER_CLIENT_CACHE_CACHE_ENTRY_H_

#include <stop_token>

#include "absl/status/statusor.h"
#include "client/cache/cache_files.h"
#include "client/cache/checked_shard.h"
#include "client/cache/shard_cache.h"

namespace muster {

// Steps 1 and 2 of shard_cache.cc: the entry of `shard`, which is not encoded. One whose record does not
// vouch for it is hashed first, and removed if it is bad. kNotFound: no entry; kDataLoss: there was a bad
// one; kCancelled.
absl::StatusOr<CachedShard> FindEntry(const CacheDomain& domain, const CheckedShard& shard,
                                      const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_ENTRY_H_
