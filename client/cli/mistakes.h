// What a person who typed something that no command knows has probably meant.
//
// Pure functions; thread-safe.
#ifndef MUSTER_CLIENT_CLI_MISTAKES_H_
#define MUSTER_CLIENT_CLI_MISTAKES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace CLI {
class App;
}

namespace muster {

// The candidate that `word` was probably meant to be, by how few letters differ; "" where none is
// near.
std::string NearestWord(absl::string_view word, const std::vector<std::string>& candidates);

// The words that lead to the command that was found last, such as "nodes drain"; "" where none was.
std::string CommandPath(const CLI::App& app);

// After `app` has parsed: USAGE for what no command knows, with the nearest name there is; OK where
// all was known.
absl::Status UnknownWords(const CLI::App& app);

// A mistake in the use of a command, with that command ("nodes drain") as metadata, so that the hint
// names its help. Other errors stay as they are.
absl::Status WithCommand(const absl::Status& status, absl::string_view command);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_MISTAKES_H_
