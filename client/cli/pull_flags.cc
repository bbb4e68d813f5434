#include "client/cli/pull_flags.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "client/cli/values.h"
#include "storage/base/status_macros.h"

namespace muster {

void AddPullFlags(CLI::App& command, PullFlags& flags) {
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
