// The flags that say which key encrypted shards have.
#ifndef MUSTER_CLIENT_CLI_KEY_FLAGS_H_
#define MUSTER_CLIENT_CLI_KEY_FLAGS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command.h"
#include "client/encoding/key_source.h"

namespace CLI {
class App;
}

namespace muster {

// As typed; at most one is.
struct KeyFlags {
  std::string file;
  std::string variable;
  std::string command;
};

// `what_for` begins the help. `flags` outlives the parsing.
void AddKeyFlags(CLI::App& command, const std::string& what_for, KeyFlags& flags);

// The environment variables that commands of the user's don't get: the key's, and storage's.
std::vector<std::string> SecretVariables(const KeyFlags& flags);

// What reads encrypted shards goes by: keys that the server made come from the server, over a connection that is made
// when one is needed, and all others from what was given. Never null.
absl::StatusOr<std::shared_ptr<KeySource>> ToReadingKeys(const Invocation& invocation,
                                                         const KeyFlags& flags);

// Null where no key was given. Reads the file or the variable now, and runs the command when a key is
// needed.
absl::StatusOr<std::shared_ptr<KeySource>> ToKeySource(const Invocation& invocation,
                                                       const KeyFlags& flags);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_KEY_FLAGS_H_
