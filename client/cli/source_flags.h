// The flags that say what of SRC is published, and how it is cut: of `publish` and `inspect`.
#ifndef MUSTER_CLIENT_CLI_SOURCE_FLAGS_H_
#define MUSTER_CLIENT_CLI_SOURCE_FLAGS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/publish/source_plan.h"

namespace CLI {
class App;
}

namespace muster {

// As typed.
struct SourceFlags {
  std::string path;
  // "" where it was not given: layer.
  std::string strategy;
  uint32_t shards = 0;
  std::string piece_size = "8MiB";
  bool strict = false;
  bool in_place = false;
  bool allow_code = false;
  bool untie = false;
  std::vector<std::string> include;
  std::vector<std::string> exclude;
};

// Adds SRC and the flags to `command`.
void AddSourceFlags(CLI::App& command, const std::shared_ptr<SourceFlags>& flags);

absl::StatusOr<SourceOptions> ToSourceOptions(const SourceFlags& flags);

// "left out: PATH: WHY" of what people may miss in a checkpoint, in at most `max_lines` lines.
std::vector<std::string> LeftOutLines(const Checkpoint& checkpoint, size_t max_lines);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_SOURCE_FLAGS_H_
