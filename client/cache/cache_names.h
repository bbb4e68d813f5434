// What the shards of a cache are called: file KEY.names beside each, for people.
#ifndef MUSTER_CLIENT_CACHE_CACHE_NAMES_H_
#define MUSTER_CLIENT_CACHE_CACHE_NAMES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/cache/cache_files.h"
#include "client/cache/checked_shard.h"

namespace muster {

// Of one entry: the versions that share content are few.
inline constexpr size_t kMaxNamesOfEntry = 16;

// Writes down that the entry, or part, of `shard` is the shard of its name; of more than kMaxNamesOfEntry names the first
// ones go. Nothing to do for what is no shard's name, and where it is noted already. Writers that do so at once may lose a
// name.
absl::Status KeepName(const CacheDomain& domain, const CheckedShard& shard);

// Names of shards, "models/llama/versions/v1/shards/3", the one that was noted last at the end. They are well-formed, and
// nothing else is to be relied on: whoever can write to the cache can say anything. Empty where none is known.
std::vector<std::string> NamesOfEntry(const CacheDomain& domain, const std::string& key);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_NAMES_H_
