// What an agent does once its model is READY, as typed.
#ifndef MUSTER_CLIENT_CLI_READY_FLAGS_H_
#define MUSTER_CLIENT_CLI_READY_FLAGS_H_

#include <cstdint>
#include <map>
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
  bool allow_code = false;
  std::string when;
  std::string command;
  int command_retries = 0;
};

// `links` outlives the parsing.
void AddViewLinksFlag(CLI::App& command, const std::string& name, std::string& links);
// Unset for "", and so for what fits.
std::optional<ViewLinks> ToViewLinks(const std::string& links);

// `flags` outlives the parsing.
void AddReadyFlags(CLI::App& command, ReadyFlags& flags);

// The views of assemblies (full names) in these directories, as `flags` say besides; `file_mode` is
// the cache's. Says what is wrong with a place before anything is fetched: the errors of ViewPlace.
absl::StatusOr<ReadyOptions::Views> ToViews(const ReadyFlags& flags,
                                            const std::map<std::string, std::string>& directories,
                                            std::optional<uint32_t> file_mode);

// Unset where nothing was asked for.
absl::StatusOr<std::optional<ReadyOptions>> ToReadyOptions(const ReadyFlags& flags,
                                                           ReadyOptions::Views views);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_READY_FLAGS_H_
