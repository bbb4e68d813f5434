// Brings entries into the page cache.
#ifndef MUSTER_CLIENT_CACHE_CACHE_WARM_H_
#define MUSTER_CLIENT_CACHE_CACHE_WARM_H_

#include <cstdint>
#include <stop_token>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "client/cache/cache_files.h"

namespace muster {

// Whether the domain's files are memory already, as on tmpfs.
bool IsInMemory(const CacheDomain& domain);

// Reads the entry, so that it is in the page cache, as far as `may_read` lets it: that is asked
// before every part with its bytes, and false ends it. Returns the bytes that were read; what is
// warm already is read at the speed of memory. kNotFound: no entry; kCancelled.
absl::StatusOr<int64_t> WarmEntry(const CacheDomain& domain, const std::string& key,
                                  absl::FunctionRef<bool(int64_t bytes)> may_read,
                                  const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_WARM_H_
