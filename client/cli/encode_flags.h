// The flags that say how shards are stored.
#ifndef MUSTER_CLIENT_CLI_ENCODE_FLAGS_H_
#define MUSTER_CLIENT_CLI_ENCODE_FLAGS_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/command.h"
#include "client/cli/key_flags.h"
#include "client/publish/shard_encoding.h"

namespace CLI {
class App;
}

namespace muster {

// As typed.
struct EncodeFlags {
  std::string compression = "none";
  KeyFlags keys;
  bool server_key = false;
  std::string key_id;
  std::string spool;
};

// `flags` outlives the parsing.
void AddEncodeFlags(CLI::App& command, EncodeFlags& flags);

absl::StatusOr<EncodeOptions> ToEncodeOptions(const Invocation& invocation,
                                              const EncodeFlags& flags);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_ENCODE_FLAGS_H_
