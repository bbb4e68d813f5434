#include "client/cli/encode_flags.h"

#include <CLI/CLI.hpp>

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
  if (!flags.key_id.empty() && options.keys == nullptr) {
    return UsageError("--key-id names a key, and none was given");
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
