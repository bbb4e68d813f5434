#include "client/cli/encode_flags.h"

#include <CLI/CLI.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/values.h"
#include "client/encoding/frame_table.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Not /tmp, which is memory on many machines.
constexpr char kDefaultSpool[] = "/var/tmp";

}  // namespace

void AddEncodeFlags(CLI::App& command, EncodeFlags& flags) {
  command
      .add_option("--encode", flags.compression,
                  "Store shards smaller: zstd; zstd-grouped: with the bytes of their elements "
                  "grouped; auto: what makes most of them, none where that saves less than 3 %")
      ->check(CLI::IsMember({"none", "auto", "zstd", "zstd-grouped"}))
      ->capture_default_str();
  AddKeyFlags(command, "Encrypt shards (AES-256-GCM); the key", flags.keys);
  CLI::Option* const from_server =
      command.add_flag("--key-from-server", flags.server_key,
                       "Encrypt shards (AES-256-GCM) with a key that the server makes, keeps, and "
                       "gives to those who may read the model version; needs a server with "
                       "--master-key");
  for (const char* other : {"--key-file", "--key-env", "--key-command"}) {
    from_server->excludes(command.get_option(other));
  }
  command.add_option("--key-id", flags.key_id,
                     "Name of that key, for people and key commands; everybody can read it");
  command.add_option("--spool", flags.spool,
                     "Directory for encoded shards until they are stored (default: $TMPDIR or "
                     "/var/tmp); room for --jobs shards");
}

absl::StatusOr<EncodeOptions> ToEncodeOptions(const Invocation& invocation,
                                              const EncodeFlags& flags) {
  EncodeOptions options;
  MUSTER_ASSIGN_OR_RETURN(options.compression, ParseCompression(flags.compression));
  MUSTER_ASSIGN_OR_RETURN(options.keys, ToKeySource(invocation, flags.keys));
  options.server_key = flags.server_key;
  if (!flags.key_id.empty() && options.keys == nullptr) {
    return UsageError(flags.server_key ? "--key-id names a key of yours: --key-from-server has one"
                                       : "--key-id names a key, and none was given");
  }
  if (absl::StartsWith(flags.key_id, kContentKeyIdPrefix)) {
    return UsageError(absl::StrCat("--key-id ", flags.key_id, ": \"", kContentKeyIdPrefix,
                                   "\" begins the ids of keys that the server makes"));
  }
  if (flags.key_id.size() > kMaxKeyIdBytes) {
    return UsageError(absl::StrCat("--key-id is longer than ", kMaxKeyIdBytes, " characters"));
  }
  options.key_id = flags.key_id;
  options.spool = flags.spool;
  if (options.spool.empty()) options.spool = invocation.Variable("TMPDIR");
  if (options.spool.empty()) options.spool = kDefaultSpool;
  return options;
}

}  // namespace muster
