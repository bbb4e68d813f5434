// What people type out of habits from other tools, as this command says it.
//
// Pure functions, but for AddOtherNames; thread-safe.
#ifndef MUSTER_CLIENT_CLI_HABITS_H_
#define MUSTER_CLIENT_CLI_HABITS_H_

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace muster {

// The arguments with words of habit replaced: `help nodes drain` becomes `nodes drain --help`,
// `version` becomes `--version`, and `get nodes`, with the verb first, `nodes list`.
std::vector<std::string> WithoutHabits(std::vector<std::string> arguments);

// The first argument that is neither an option nor the value of a global one: the command; "" where
// there is none.
std::string CommandWord(const std::vector<std::string>& arguments);

// Gives all commands below `app` their other names: "node" for "nodes", "rm" for "delete".
void AddOtherNames(CLI::App& app);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_HABITS_H_
