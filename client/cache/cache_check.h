// Hashes an entry as it is on the disk, whatever its record says.
#ifndef MUSTER_CLIENT_CACHE_CACHE_CHECK_H_
#define MUSTER_CLIENT_CACHE_CACHE_CHECK_H_

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "client/cache/cache_files.h"

namespace muster {

// Gets the bytes that are about to be read, and may wait; may be empty.
using ReadPace = std::function<void(int64_t bytes)>;

// Reads the entry past the page cache, against the piece list beside it, and removes it when it is
// bad, or is on a sector that can't be read twice: kDataLoss CACHE_ENTRY_CORRUPT. kNotFound: no entry,
// or no piece list to check it against; kCancelled; any other error says nothing about it. Readers are not held up meanwhile.
absl::Status CheckEntry(const CacheDomain& domain, const std::string& key, const ReadPace& pace,
                        const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_CHECK_H_
