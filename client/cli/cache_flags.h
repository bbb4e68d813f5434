// The flags of everything that fills a cache.
#ifndef MUSTER_CLIENT_CLI_CACHE_FLAGS_H_
#define MUSTER_CLIENT_CLI_CACHE_FLAGS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cache/shard_cache.h"
#include "client/cli/command.h"
#include "client/cli/key_flags.h"

namespace CLI {
class App;
}

namespace muster {

// As typed.
struct CacheFlags {
  std::string directory;
  std::string budget;
  bool allow_network = false;
  std::string mode;
  std::string domain = "default";
  std::string form = "plain";
  std::string wait = "60s";
  KeyFlags keys = {};
};

// `flags` outlives the parsing.
void AddCacheFlags(CLI::App& command, CacheFlags& flags);

// Of commands that read or tend caches, too. `domain` outlives the parsing.
void AddCacheDomainFlag(CLI::App& command, std::string& domain);

// Where shards are kept when nobody says: /var/cache/muster where this user may write there, else
// muster below $XDG_CACHE_HOME or ~/.cache. "" where there is no such place.
std::string DefaultCacheDirectory(const Invocation& invocation);

// For options with a default of their own: a script whose variable is unset must not get it.
std::string RefuseEmpty(const std::string& value);

// Of --cache-mode: permission bits of files. Unset: those that fit each file.
absl::StatusOr<std::optional<uint32_t>> FileModeOf(const CacheFlags& flags);

// What decodes takes of `memory`; `warn` gets the cache's warnings: see ShardCache::Options.
absl::StatusOr<std::unique_ptr<ShardCache>> OpenCache(
    const Invocation& invocation, const CacheFlags& flags, std::shared_ptr<MemoryBudget> memory,
    std::function<void(const std::string& warning)> warn);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_CACHE_FLAGS_H_
