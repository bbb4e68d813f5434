// Manual pages, made of the help texts: one file for each command.
#ifndef MUSTER_CLIENT_CLI_MAN_PAGES_H_
#define MUSTER_CLIENT_CLI_MAN_PAGES_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace muster {

// What the build calls the command with, before the folder that gets the pages.
inline constexpr char kManWord[] = "__man";

// File names, such as "muster-nodes-drain.1", with their texts in roff.
std::vector<std::pair<std::string, std::string>> ManPages(const CLI::App& app);

// Writes the pages into `directory`, which is made where it is absent.
absl::Status WriteManPages(const std::vector<std::pair<std::string, std::string>>& pages,
                           const std::string& directory);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_MAN_PAGES_H_
