// Finds an entry whose bytes were verified.
#ifndef MUSTER_CLIENT_CACHE_CACHE_ENTRY_H_
#define MUSTER_CLIENT_CACHE_CACHE_ENTRY_H_

#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cache/cache_files.h"
#include "client/cache/checked_shard.h"
#include "client/cache/shard_cache.h"

namespace muster {

// Steps 1 and 2 of shard_cache.cc: the entry of `shard`, which is not encoded. One whose record does not
// vouch for it is hashed first, and removed if it is bad; so is one that anybody has open for writing.
// kNotFound: no entry; kDataLoss CACHE_ENTRY_CORRUPT, CACHE_ENTRY_WRITABLE: there was such a one;
// kCancelled.
absl::StatusOr<CachedShard> FindEntry(const CacheDomain& domain, const CheckedShard& shard,
                                      const std::stop_token& stop);

// The same of an entry that nobody is about to use: its last use stays as it was. Reads only one that was
// changed. kNotFound: no entry, or one that was changed and has no piece list.
absl::Status ConfirmEntry(const CacheDomain& domain, const std::string& key,
                          const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_ENTRY_H_
