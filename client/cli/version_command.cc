#include <CLI/CLI.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "client/cli/version_skew.h"
#include "storage/base/status_macros.h"
#include "storage/version/build_version.h"

namespace muster {
namespace {

// Long enough for a server that is there; nobody wants to wait for one that isn't.
constexpr absl::Duration kPatience = absl::Seconds(1);

std::string Joined(const Build& build) {
  return build.commit.empty() ? build.version : absl::StrCat(build.version, "+", build.commit);
}

std::string JsonOf(const Build& build, const std::string& cluster_id) {
  JsonObject json;
  json.Add("version", build.version);
  json.Add("commit", build.commit);
  if (!cluster_id.empty()) json.Add("cluster_id", cluster_id);
  return json.ToString();
}

absl::StatusOr<v1::GetServerInfoResponse> AskServer(const Invocation& invocation) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect(kPatience));
  return client->GetServerInfo({}, invocation.Call());
}

absl::Status RunVersion(Invocation& invocation) {
  const Build own{BuildNumber(), BuildCommit()};
  // Before the server is asked: it is known whatever comes of that.
  if (!invocation.json()) invocation.PrintLine(absl::StrCat("muster ", Joined(own)));
  const auto info = AskServer(invocation);
  // What is wrong with the command line is no server's fault.
  if (absl::IsInvalidArgument(info.status()) || absl::IsCancelled(info.status())) {
    return info.status();
  }
  std::optional<Build> server;
  std::string trouble;
  std::string sentence;
  Skew skew = Skew::kUnknown;
  if (info.ok()) {
    server = Build{info->version(), info->commit()};
    skew = CompareBuilds(own, *server);
    sentence = SkewSentence(skew);
  } else if (absl::IsUnimplemented(info.status()) &&
             ExitCodeOf(info.status()) != kExitUnreachable) {
    skew = Skew::kServerOlder;
    trouble = "it is too old to say which version it is";
    sentence = SkewSentence(skew);
  } else {
    trouble = std::string(info.status().message());
    sentence = "the server's version is not known; this command's is above";
  }
  if (invocation.json()) {
    JsonObject json;
    json.AddRaw("client", JsonOf(own, ""));
    json.AddRaw("server", server.has_value() ? JsonOf(*server, info->cluster_id()) : "null");
    json.Add("skew", SkewName(skew));
    json.Add("message", trouble.empty() ? sentence : trouble);
    invocation.PrintJson(json.ToString());
    return absl::OkStatus();
  }
  if (server.has_value()) {
    invocation.PrintLine(absl::StrCat("musterd ", Printable(Joined(*server)), ", cluster ",
                                      Printable(info->cluster_id())));
    invocation.PrintLine(sentence);
  } else {
    invocation.Note(absl::StrCat("musterd: ", trouble));
    invocation.Note(sentence);
  }
  return absl::OkStatus();
}

}  // namespace

void AddVersionCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "version", "Show the version and commit of this command and of the server");
  command->footer(
      "The server is given a second, or --timeout. Where it does not answer that is said on "
      "stderr, "
      "and the command\n"
      "ends with 0: `muster --version` asks nobody.\n"
      "With --json: {client: {version, commit}, server: {version, commit, cluster_id} or null, "
      "skew, "
      "message}, with a\n"
      "skew of same, server_older, server_newer, other_commit or unknown.\n\n"
      "Examples:\n"
      "  muster version\n"
      "  muster version --json | jq -e '.skew == \"same\"'");
  command->callback([&chosen] { chosen = RunVersion; });
}

}  // namespace muster
