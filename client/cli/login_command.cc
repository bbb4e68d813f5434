#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/cli/commands.h"
#include "client/cli/contexts.h"
#include "client/cli/secret_text.h"
#include "client/cli/values.h"
#include "client/sdk/server_address.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/staged_file.h"
#include "storage/tls/pinned_authority.h"

namespace muster {
namespace {

constexpr absl::Duration kHandshakeTimeout = absl::Seconds(10);

struct LoginArguments {
  std::string server;
  std::string pin;
  std::string certificate;
  std::string key;
  std::string token;
  std::string name;
};

std::string Absolute(const Invocation& invocation, const std::string& path) {
  return path.empty() || absl::StartsWith(path, "/")
             ? path
             : absl::StrCat(invocation.working_directory(), "/", path);
}

// Where the files of a context are: beside the file of contexts, in a folder of its own.
std::string FolderOf(const std::string& contexts_path, const std::string& name) {
  return absl::StrCat(ParentOf(contexts_path), "/clusters/", name);
}

// A name for a folder, and for people: "muster.prod-7070" of "muster.prod:7070".
std::string NameOf(const LoginArguments& options, const std::string& server) {
  if (!options.name.empty()) return options.name;
  return absl::StrReplaceAll(server, {{":", "-"}, {"[", ""}, {"]", ""}});
}

// One call that anybody who is somebody may make: whether the server believes this end. What it may do is not said.
absl::Status TryOut(const Invocation& invocation, const std::string& server,
                    const ChannelSecurity& security) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.ConnectTo({server}, security));
  v1::ListNodesRequest request;
  request.set_page_size(1);
  const absl::Status status = client->ListNodes(request, invocation.Call()).status();
  return absl::IsPermissionDenied(status) ? absl::OkStatus() : status;
}

absl::Status Login(Invocation& invocation, const LoginArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string server, ParseServerAddress(options.server));
  const std::string path =
      ContextsPath([&](const char* name) { return invocation.Variable(name); });
  if (path.empty()) return UsageError("there is no home directory; MUSTER_CONFIG names a file");
  MUSTER_ASSIGN_OR_RETURN(Contexts all, ReadContexts(path));
  MUSTER_ASSIGN_OR_RETURN(const std::string token, ReadSecretText("--token", options.token));
  const std::string name = NameOf(options, server);
  if (absl::StrContains(name, "/") || absl::StartsWith(name, ".")) {
    return UsageError(absl::StrCat("\"", Printable(name), "\" can't be the name of a context"));
  }
  MUSTER_ASSIGN_OR_RETURN(const std::string authority,
                          FetchPinnedAuthority(server, options.pin, kHandshakeTimeout));
  const std::string folder = FolderOf(path, name);
  MUSTER_RETURN_IF_ERROR(
      MakeDirectories(folder, folder, {.mode = 0700, .parent_mode = 0700}).status());
  std::map<std::string, std::string> flags = {{"server", server},
                                              {"tls-ca", absl::StrCat(folder, "/ca.crt")}};
  MUSTER_RETURN_IF_ERROR(WriteSecretFile(flags["tls-ca"], authority, /*may_replace=*/true));
  if (!options.certificate.empty()) {
    flags["tls-cert"] = Absolute(invocation, options.certificate);
    flags["tls-key"] = Absolute(invocation, options.key);
  }
  if (!token.empty()) {
    flags["token-file"] = absl::StrCat(folder, "/token");
    MUSTER_RETURN_IF_ERROR(
        WriteSecretFile(flags["token-file"], absl::StrCat(token, "\n"), /*may_replace=*/true));
  }
  ChannelSecurity security;
  security.tls = true;
  security.files = {flags["tls-cert"], flags["tls-key"], flags["tls-ca"]};
  security.token_file = flags["token-file"];
  std::erase_if(flags, [](const auto& flag) { return flag.second.empty(); });
  MUSTER_RETURN_IF_ERROR(TryOut(invocation, server, security));
  all.contexts[name] = std::move(flags);
  all.current = name;
  MUSTER_RETURN_IF_ERROR(WriteContexts(path, all));
  invocation.PrintLine(
      absl::StrCat("logged in to ", server, "; context ", Printable(name), " is in use"));
  return absl::OkStatus();
}

}  // namespace

void AddLoginCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command =
      app.add_subcommand("login", "Make a context of a secured cluster, and use it");
  auto options = std::make_shared<LoginArguments>();
  command->add_option("HOST:PORT", options->server, "Of musterd")->required();
  command
      ->add_option("--ca", options->pin,
                   "The pin of the server's authority, sha256:…, as musterd and `muster tokens "
                   "create` print it")
      ->required();
  CLI::Option* const certificate =
      command->add_option("--cert", options->certificate, "PEM file of your certificate");
  CLI::Option* const key =
      command->add_option("--key", options->key, "PEM file of its private key");
  CLI::Option* const token = command->add_option(
      "--token", options->token,
      "Your token instead, or @FILE that it is in; others on this machine can read the command "
      "line");
  certificate->needs(key)->excludes(token);
  key->needs(certificate)->excludes(token);
  command->add_option("--name", options->name, "Of the context (default: HOST-PORT)");
  command->footer(
      "The authority's certificate comes from the server, and is believed for its pin alone; it is "
      "stored beside the file of contexts, as is the token, for you alone. A certificate and its "
      "key stay where they are. Nothing is changed where the server does not believe you.\n\n"
      "Examples:\n"
      "  muster login muster.prod:7070 --ca sha256:9f86… --cert admin.crt --key admin.key\n"
      "  muster login muster.prod:7070 --ca sha256:9f86… --token @/run/secrets/muster --name prod");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return Login(invocation, *options); };
  });
}

}  // namespace muster
