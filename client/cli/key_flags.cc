#include "client/cli/key_flags.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/cli/values.h"
#include "client/keys/server_keys.h"
#include "storage/base/error_info.h"
#include "storage/base/secret_key.h"
#include "storage/base/status_macros.h"
#include "storage/object/environment.h"

namespace muster {

void AddKeyFlags(CLI::App& command, const std::string& what_for, KeyFlags& flags) {
  CLI::Option* const file = command.add_option(
      "--key-file", flags.file,
      absl::StrCat(what_for,
                   ": a file that only its owner may open, with 32 bytes or 64 hex "
                   "digits, as `openssl rand -hex 32` makes them"));
  CLI::Option* const variable = command.add_option(
      "--key-env", flags.variable,
      absl::StrCat(what_for, ": the name of an environment variable with 64 hex digits"));
  CLI::Option* const key_command =
      command.add_option("--key-command", flags.command,
                         absl::StrCat(what_for,
                                      ": a shell command that prints it; it gets the key "
                                      "id in MUSTER_KEY_ID, and one minute"));
  file->excludes(variable)->excludes(key_command);
  variable->excludes(key_command);
}

std::vector<std::string> SecretVariables(const KeyFlags& flags) {
  std::vector<std::string> names(kStorageSecretVariables.begin(), kStorageSecretVariables.end());
  names.insert(names.end(), {"MUSTER_TOKEN", "MUSTER_JOIN"});
  if (!flags.variable.empty()) names.push_back(flags.variable);
  return names;
}

absl::StatusOr<std::shared_ptr<KeySource>> ToReadingKeys(const Invocation& invocation,
                                                         const KeyFlags& flags) {
  MUSTER_ASSIGN_OR_RETURN(auto own, ToKeySource(invocation, flags));
  MUSTER_ASSIGN_OR_RETURN(std::shared_ptr<Client> client, invocation.Connect(kLongCallTimeout));
  return NewServerKeys(std::move(client), std::move(own));
}

absl::StatusOr<std::shared_ptr<KeySource>> ToKeySource(const Invocation& invocation,
                                                       const KeyFlags& flags) {
  if (!flags.file.empty()) return ReadKeyFile(flags.file);
  if (!flags.command.empty()) {
    // Those of AWS stay: it is AWS's key management that many commands ask.
    return NewKeyCommand({.command = flags.command, .without = {"MUSTER_WEBHDFS_TOKEN"}},
                         invocation.clock());
  }
  if (flags.variable.empty()) return std::shared_ptr<KeySource>();
  std::string text = invocation.Variable(flags.variable.c_str());
  if (text.empty()) {
    return UsageError(absl::StrCat("--key-env ", flags.variable, ": the variable is not set"));
  }
  const absl::StatusOr<SecretKey> key = SecretKey::Parse(text);
  Wipe(absl::MakeSpan(text));
  if (!key.ok()) return Annotate(key.status(), absl::StrCat("--key-env ", flags.variable));
  return NewFixedKey(*key);
}

}  // namespace muster
