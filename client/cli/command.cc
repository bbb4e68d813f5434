#include "client/cli/command.h"

#include <errno.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr char kDescription[] =
    "muster brings large model weights onto a cluster, verified, and says when they are there.";

constexpr char kExamples[] =
    "Examples:\n"
    "  muster sample --out model.safetensors --size 256MiB\n"
    "  muster publish model.safetensors --model llama@v1 --to file:///srv/models --strategy layer "
    "--shards 12\n"
    "  muster assemblies create demo --model llama@v1 --policy balanced --min-nodes 3\n"
    "  muster agent --node n1 --assembly demo --cache /var/cache/muster      # on each node\n"
    "  muster wait demo --timeout 60s && muster status demo\n"
    "  muster explain demo                                                   # why it is not "
    "READY\n"
    "  muster assemble llama@v1 --out /srv/llama\n"
    "\n";

constexpr char kGlobalsNote[] =
    "--server, --json and --timeout work with every command; see `muster --help`.";

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_option("--server", options.servers,
                 "host:port of musterd; several of one cluster as a comma list or by repeating it")
      ->envname("MUSTER_SERVER")
      ->delimiter(',')
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str();
  app.add_flag(
      "--json", options.json,
      "Print JSON for programs; errors too, as {code, reason, message, metadata} on stderr");
  app.add_option("--timeout", options.timeout,
                 "How long to try to reach the server, such as 10s or 5m (default: 10s, longer for "
                 "commands that "
                 "run long)");
  app.set_version_flag("--version", "muster " MUSTER_VERSION);
}

// Everything after --help of a command that belongs to all of them.
void AddCommands(CLI::App& app, Command& chosen) {
  AddSampleCommand(app, chosen);
  AddPublishCommand(app, chosen);
  AddInspectCommand(app, chosen);
  AddModelsCommand(app, chosen);
  AddShardsCommand(app, chosen);
  AddAssembliesCommand(app, chosen);
  AddNodesCommand(app, chosen);
  AddAgentCommand(app, chosen);
  AddWaitCommand(app, chosen);
  AddStatusCommand(app, chosen);
  AddExplainCommand(app, chosen);
  AddEventsCommand(app, chosen);
  AddAssembleCommand(app, chosen);
  AddPullCommand(app, chosen);
  AddPrefetchCommand(app, chosen);
  AddCacheCommand(app, chosen);
  AddViewCommand(app, chosen);
  AddVerifyCommand(app, chosen);
  AddTuneCommand(app, chosen);
}

void LetGlobalsFollow(CLI::App& app) {
  for (CLI::App* const command : app.get_subcommands([](CLI::App*) { return true; })) {
    command->fallthrough();
    command->footer(absl::StrCat(command->get_footer(), command->get_footer().empty() ? "" : "\n\n",
                                 kGlobalsNote));
    LetGlobalsFollow(*command);
  }
}

}  // namespace

absl::StatusOr<std::variant<ParsedCommandLine, std::string>> ParseCommandLine(
    const std::vector<std::string>& arguments) {
  using Result = std::variant<ParsedCommandLine, std::string>;
  ParsedCommandLine parsed;
  CLI::App app{kDescription, "muster"};
  app.get_formatter()->column_width(34);
  app.require_subcommand(0, 1);
  AddGlobalOptions(app, parsed.options);
  AddCommands(app, parsed.command);
  LetGlobalsFollow(app);
  // Last, because commands take over the footer that is there when they are added.
  app.footer(std::string(kExamples) + kExitCodeHelp +
             "\n\nNames: a model version is MODEL@VERSION or its full name "
             "models/MODEL/versions/VERSION.");
  try {
    // CLI11 takes them from the back.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::Success& success) {
    std::ostringstream text;
    app.exit(success, text, text);
    return Result(text.str());
  } catch (const CLI::ExtrasError& error) {
    const std::vector<std::string> unknown = app.remaining();
    const bool no_command = app.get_subcommands().empty() && !unknown.empty() &&
                            !absl::StartsWith(unknown.front(), "-");
    if (!no_command) return UsageError(error.what());
    return UsageError(absl::StrCat("unknown command \"", Printable(unknown.front()), "\""));
  } catch (const CLI::ParseError& error) {
    return UsageError(error.what());
  }
  if (!parsed.command) return UsageError("a command is missing");
  return Result(std::move(parsed));
}

absl::StatusOr<absl::Duration> Invocation::Timeout(absl::Duration fallback) const {
  if (options_.timeout.empty()) return fallback;
  return ParseDuration(options_.timeout);
}

absl::StatusOr<std::unique_ptr<Client>> Invocation::Connect(absl::Duration call_timeout) const {
  ClientOptions options;
  options.servers = options_.servers;
  MUSTER_ASSIGN_OR_RETURN(options.retry.call_timeout, Timeout(call_timeout));
  options.retry.attempt_timeout =
      std::min(options.retry.attempt_timeout, options.retry.call_timeout);
  return Client::Connect(options, clock(), random());
}

void Invocation::Print(absl::string_view text) const {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written && output_error_ == 0) output_error_ = errno;
}

absl::Status Invocation::OutputStatus() const {
  if (output_error_ == 0 || output_error_ == EPIPE) return absl::OkStatus();
  const std::string message =
      absl::StrCat("the result can't be written to stdout: ", std::strerror(output_error_));
  return output_error_ == ENOSPC ? absl::ResourceExhaustedError(message)
                                 : absl::UnavailableError(message);
}

void Invocation::PrintLine(absl::string_view text) const { Print(absl::StrCat(text, "\n")); }

void Invocation::PrintJson(const google::protobuf::Message& message) const {
  PrintLine(MessageToJson(message));
}

void Invocation::Note(absl::string_view line) const {
  if (options_.json) return;
  std::fprintf(stderr, "%s\n", Printable(line).c_str());
}

std::unique_ptr<ProgressBar> Invocation::NewProgressBar(const std::string& label) const {
  return std::make_unique<ProgressBar>(clock(), stderr, environment_.is_terminal && !options_.json,
                                       label);
}

}  // namespace muster
