// The flags of everything that pulls shards.
#ifndef MUSTER_CLIENT_CLI_PULL_FLAGS_H_
#define MUSTER_CLIENT_CLI_PULL_FLAGS_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command.h"
#include "client/transfer/puller.h"
#include "storage/object/object_store_registry.h"

namespace CLI {
class App;
}

namespace muster {

// As typed.
struct PullFlags {
  std::string zone;
  size_t connections = 8;
  std::string memory_budget = "256MiB";
  size_t connections_per_host = 0;
  std::string max_rate = {};
  std::string min_rate = "64KiB";
  std::vector<std::string> allowed_locations = {};
};

// Which locations are read without --allow-location.
enum class UnnamedLocations {
  // Those that need no rights of this machine: no files, and no addresses that only it can reach. For what fills a
  // cache, which others read.
  kRemote,
  // Whatever the user may read; for what he gets himself.
  kAll,
};

// `flags` outlives the parsing.
void AddPullFlags(CLI::App& command, PullFlags& flags, UnnamedLocations unnamed);

// The stores that locations of a catalogue are read from.
absl::StatusOr<std::unique_ptr<const ObjectStoreRegistry>> OpenLocations(
    const Invocation& invocation, const PullFlags& flags, UnnamedLocations unnamed);

absl::StatusOr<PullerOptions> ToPullerOptions(const PullFlags& flags);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_PULL_FLAGS_H_
