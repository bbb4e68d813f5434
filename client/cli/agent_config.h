// The file of `muster agent --config`.
#ifndef MUSTER_CLIENT_CLI_AGENT_CONFIG_H_
#define MUSTER_CLIENT_CLI_AGENT_CONFIG_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace CLI {
class App;
}

namespace muster {

// As written, in YAML:
//
//   cache: /srv/cache          # any long flag, without its dashes; a list where it may be repeated
//   assemblies:
//     - demo                   # a name, or
//     - name: llama            # a map with the assembly's own claim and view
//       claim: ranks:0-7
//       view: /srv/llama
struct AgentConfig {
  struct Assembly {
    std::string name;
    // "" where the file doesn't say.
    std::string claim;
    std::string view;
  };

  // By name without dashes.
  std::map<std::string, std::vector<std::string>> flags;
  std::vector<Assembly> assemblies;
};

// A file has at most this many bytes.
inline constexpr size_t kMaxConfigBytes = size_t{1} << 20;

// kInvalidArgument USAGE, with the line, where it is not such a file; kNotFound and the like where
// it can't be read.
absl::StatusOr<AgentConfig> ReadAgentConfig(const std::string& path);

// Gives `command` and the program that it belongs to the flags that neither the command line nor
// the environment has set. Throws CLI::ParseError as parsing does.
void TakeFlags(const AgentConfig& config, const std::string& path, CLI::App& command);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_AGENT_CONFIG_H_
