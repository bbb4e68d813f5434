// What an agent does once its model is READY, as typed.
#ifndef MUSTER_CLIENT_CLI_READY_FLAGS_H_
#define MUSTER_CLIENT_CLI_READY_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/agent/ready_actions.h"

namespace CLI {
class App;
}

namespace muster {

struct ReadyFlags {
  // None, or one per assembly in their order.
  std::vector<std::string> views;
  std::string links;
  bool partial = false;
  std::string when;
  std::string command;
  int command_retries = 0;
};

// `flags` outlives the parsing.
void AddReadyFlags(CLI::App& command, ReadyFlags& flags);

// Unset where nothing was asked for. `assemblies` are full names, `file_mode` is the cache's. Says what is wrong with the place of
// the view before anything is fetched: the errors of ViewPlace.
absl::StatusOr<std::optional<ReadyOptions>> ToReadyOptions(
    const ReadyFlags& flags, const std::vector<std::string>& assemblies, uint32_t file_mode);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_READY_FLAGS_H_
