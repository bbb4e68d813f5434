// The flags of everything that pulls shards.
#ifndef MUSTER_CLIENT_CLI_PULL_FLAGS_H_
#define MUSTER_CLIENT_CLI_PULL_FLAGS_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "client/transfer/puller.h"

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
};

// `flags` outlives the parsing.
void AddPullFlags(CLI::App& command, PullFlags& flags);

absl::StatusOr<PullerOptions> ToPullerOptions(const PullFlags& flags);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_PULL_FLAGS_H_
