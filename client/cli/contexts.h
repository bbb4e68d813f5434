// The clusters that a user works with, each under a name, in a file of the user's.
#ifndef MUSTER_CLIENT_CLI_CONTEXTS_H_
#define MUSTER_CLIENT_CLI_CONTEXTS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/command.h"
#include "storage/object/environment.h"

namespace CLI {
class App;
}

namespace muster {

// As written, in YAML:
//
//   current: prod
//   contexts:
//     prod:
//       server: muster.prod:7070     # flags of all commands, without their dashes
//       output: wide
struct Contexts {
  std::string current;
  // Flags by context; an empty file has none.
  std::map<std::string, std::map<std::string, std::string>> contexts;
};

// The flags that a context may have.
std::vector<std::string> ContextFlagNames();
// Whether the flag's value is the path of a file.
bool NamesAFile(absl::string_view context_flag);

// MUSTER_CONFIG, else muster/config.yaml in XDG_CONFIG_HOME or ~/.config; "" without a home.
std::string ContextsPath(const EnvironmentLookup& variables);

// None where there is no such file. kInvalidArgument USAGE, with the line, where it is not one.
absl::StatusOr<Contexts> ReadContexts(const std::string& path);

// Replaces the file in one step, and makes its folder.
absl::Status WriteContexts(const std::string& path, const Contexts& contexts);

// `arguments` with the flags of the context that --context, MUSTER_CONTEXT or the file names, as far
// as neither the arguments nor a variable has them. kInvalidArgument USAGE: there is no such
// context, or the file can't be read. `muster context` gets its arguments as they are.
absl::StatusOr<std::vector<std::string>> WithContext(std::vector<std::string> arguments,
                                                     const EnvironmentLookup& variables);

// `muster context`.
void AddContextCommand(CLI::App& app, Command& chosen);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_CONTEXTS_H_
