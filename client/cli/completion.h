// What a shell offers when a person presses Tab.
#ifndef MUSTER_CLIENT_CLI_COMPLETION_H_
#define MUSTER_CLIENT_CLI_COMPLETION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command.h"

namespace CLI {
class App;
}

namespace muster {

// What the scripts of `muster completion` call the command with, before the words so far.
inline constexpr char kCompleteWord[] = "__complete";

struct Completion {
  // Things whose names the server knows.
  enum class Names { kNone, kModelVersions, kAssemblies, kNodes };

  // Commands and options, those that begin as the last word does.
  std::vector<std::string> words;
  Names names = Names::kNone;
};

// `words` stand after `muster`; the last one, which may be empty, is not finished.
Completion Complete(const CLI::App& app, const std::vector<std::string>& words);

// Prints what Complete found, one candidate a line, with names of the server where it answers within
// a second. Never fails: a shell has nobody to tell.
absl::Status PrintCompletion(Invocation& invocation, const Completion& completion,
                             const std::string& beginning);

// `muster completion`.
void AddCompletionCommand(CLI::App& app, Command& chosen);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_COMPLETION_H_
