#include "client/cli/cache_flags.h"

#include <CLI/CLI.hpp>

#include "client/cli/values.h"
#include "storage/base/status_macros.h"

namespace muster {

void AddCacheFlags(CLI::App& command, CacheFlags& flags) {
  command
      .add_option("--cache", flags.directory,
                  "Directory for shards, on a local disk; made if absent, may be shared")
      ->required();
  command.add_option("--cache-budget", flags.budget,
                     "Bytes that the cache may take, such as 500GiB, half-written shards included; "
                     "what was used least recently goes first, what a live assembly needs never "
                     "(default: what the disk has)");
  command.add_flag("--allow-network-cache", flags.allow_network,
                   "Take a --cache on a network file system, too");
}

absl::StatusOr<std::unique_ptr<ShardCache>> OpenCache(const CacheFlags& flags) {
  ShardCache::Options options;
  options.allow_network = flags.allow_network;
  if (!flags.budget.empty()) {
    MUSTER_ASSIGN_OR_RETURN(options.budget_bytes, ParseSize(flags.budget));
    if (*options.budget_bytes == 0)
      return UsageError("--cache-budget 0 leaves no room for a shard");
  }
  return ShardCache::Open(flags.directory, options);
}

}  // namespace muster
