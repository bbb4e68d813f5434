#include "client/cli/pull_flags.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cli/values.h"
#include "storage/base/status_macros.h"

namespace muster {

void AddPullFlags(CLI::App& command, PullFlags& flags, UnnamedLocations unnamed) {
  const bool remote_only = unnamed == UnnamedLocations::kRemote;
  command
      .add_option(
          "--allow-location", flags.allowed_locations,
          absl::StrCat(
              "Read only what is below this URI, such as file:///srv/models, "
              "s3://bucket or https://host/models; may be repeated (default: ",
              remote_only ? "all but files and addresses that only this machine reaches)" : "all)"))
      ->envname("MUSTER_ALLOW_LOCATION")
      ->delimiter(',')
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--zone", flags.zone, "Zone of this machine; locations there are read first");
  command.add_option("--connections", flags.connections, "Pieces fetched at once, over all shards")
      ->check(CLI::Range(size_t{1}, kMaxPullConnections))
      ->capture_default_str();
  command
      .add_option("--connections-per-host", flags.connections_per_host,
                  "Pieces fetched at once from one host (default: as many as --connections)")
      ->check(CLI::Range(size_t{1}, kMaxPullConnections));
  command.add_option("--max-rate", flags.max_rate,
                     "Bytes per second over all connections, such as 200MiB (default: no bound)");
  command
      .add_option(
          "--min-rate", flags.min_rate,
          "Bytes per second from one host below which a read is broken off and tried again, and "
          "its location reported as slow after three times; 0: none")
      ->capture_default_str();
  command
      .add_option(
          "--memory-budget", flags.memory_budget,
          "Bound on the buffers of pieces in flight and of what decodes them; at least one piece")
      ->capture_default_str();
}

absl::StatusOr<std::unique_ptr<const ObjectStoreRegistry>> OpenLocations(
    const Invocation& invocation, const PullFlags& flags, UnnamedLocations unnamed) {
  if (flags.allowed_locations.empty() && unnamed == UnnamedLocations::kAll) {
    return invocation.OpenStores({});
  }
  const absl::StatusOr<LocationRules> rules = LocationRules::Only(flags.allowed_locations);
  if (rules.ok()) return invocation.OpenStores(*rules);
  return UsageError(absl::StrCat("--allow-location: ", rules.status().message()));
}

absl::StatusOr<PullerOptions> ToPullerOptions(const PullFlags& flags) {
  PullerOptions options;
  options.zone = flags.zone;
  options.connections = flags.connections;
  MUSTER_ASSIGN_OR_RETURN(options.memory_budget_bytes, ParseSize(flags.memory_budget));
  options.memory = std::make_shared<MemoryBudget>(options.memory_budget_bytes);
  options.connections_per_host = flags.connections_per_host;
  MUSTER_ASSIGN_OR_RETURN(options.pace.min_bytes_per_second, ParseSize(flags.min_rate));
  if (!flags.max_rate.empty()) {
    MUSTER_ASSIGN_OR_RETURN(options.max_bytes_per_second, ParseSize(flags.max_rate));
    if (options.max_bytes_per_second == 0) {
      return UsageError("--max-rate 0 would never read anything; leave it out for no bound");
    }
  }
  return options;
}

}  // namespace muster
