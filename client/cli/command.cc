#include "client/cli/command.h"

#include <errno.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/colour.h"
#include "client/cli/commands.h"
#include "client/cli/completion.h"
#include "client/cli/contexts.h"
#include "client/cli/exit_code.h"
#include "client/cli/habits.h"
#include "client/cli/json_output.h"
#include "client/cli/man_pages.h"
#include "client/cli/mistakes.h"
#include "client/cli/server_notice.h"
#include "client/cli/terms.h"
#include "client/cli/values.h"
#include "client/sdk/grpc_channel.h"
#include "client/sdk/retrying_channel.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"
#include "storage/version/build_version.h"

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
    "  muster export llama@v1 --out /srv/llama\n"
    "\n";

constexpr char kGlobalsNote[] =
    "--server, --tls-*, --token-file, --json and --timeout work with every command; see `muster "
    "--help`.";

void AddTlsOptions(CLI::App& app, ChannelSecurity& security) {
  app.add_flag("--tls", security.tls,
               "Encrypt calls, and check the server's certificate by the system's authorities; "
               "implied by the others")
      ->envname("MUSTER_TLS");
  app.add_option("--tls-ca", security.files.authority,
                 "PEM file of the authorities that the server's certificate has to lead to")
      ->envname("MUSTER_TLS_CA");
  app.add_option("--tls-cert", security.files.certificate,
                 "PEM file of the certificate to show the server; with --tls-key")
      ->envname("MUSTER_TLS_CERT");
  app.add_option("--tls-key", security.files.key, "PEM file of its private key")
      ->envname("MUSTER_TLS_KEY");
  app.add_option("--tls-server-name", security.server_name,
                 "What the server's certificate has to name (default: the host of --server)")
      ->envname("MUSTER_TLS_SERVER_NAME");
  app.add_option("--token-file", security.token_file,
                 "File with the token to show the server, over TLS only (or the token itself in "
                 "MUSTER_TOKEN)")
      ->envname("MUSTER_TOKEN_FILE");
}

// Each command under one name; habits.h has the others.
class HelpFormatter final : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(34); }

  std::string make_subcommand(const CLI::App* command) const override {
    std::ostringstream line;
    CLI::detail::format_help(line, command->get_name(), command->get_description(),
                             get_column_width());
    return line.str();
  }
};

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_option("--server", options.servers,
                 "host:port of musterd; several of one cluster as a comma list or by repeating it")
      ->envname("MUSTER_SERVER")
      ->delimiter(',')
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str();
  AddTlsOptions(app, options.security);
  app.add_flag(
      "--json", options.json,
      "Print JSON for programs; errors too, as {code, reason, message, metadata} on stderr");
  app.add_option(
      "--timeout", options.timeout,
      "How long to try, such as 10s, 5m or 1h30m; a plain number is in seconds. `wait` waits "
      "that long (default: for ever), other commands try to reach the server (default: 10s, longer "
      "for commands that run long)");
  app.add_option("-o,--output", options.output,
                 "table, wide, json (as --json), yaml, or name: only names, one a line")
      ->check(CLI::IsMember({"table", "wide", "json", "yaml", "name"}))
      ->capture_default_str();
  // WithContext has put its flags where it stands for them.
  app.add_option("--context", "Use the flags of this one of `muster context list`")
      ->envname("MUSTER_CONTEXT");
  app.set_version_flag("-v,-V,--version", absl::StrCat("muster ", BuildVersion()));
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
  AddTokensCommand(app, chosen);
  AddAgentCommand(app, chosen);
  AddWaitCommand(app, chosen);
  AddStatusCommand(app, chosen);
  AddTopCommand(app, chosen);
  AddExplainCommand(app, chosen);
  AddEventsCommand(app, chosen);
  AddKeysCommand(app, chosen);
  AddAssembleCommand(app, chosen);
  AddPullCommand(app, chosen);
  AddPrefetchCommand(app, chosen);
  AddCacheCommand(app, chosen);
  AddViewCommand(app, chosen);
  AddVerifyCommand(app, chosen);
  AddTuneCommand(app, chosen);
  AddLoginCommand(app, chosen);
  AddContextCommand(app, chosen);
  AddAccessCommands(app, chosen);
  AddVersionCommand(app, chosen);
  AddCertsCommand(app, chosen);
  AddCompletionCommand(app, chosen);
}

// Of the examples in `footer` those of `command`, such as "nodes show".
std::string ExamplesOf(const std::string& footer, const std::string& command) {
  std::string examples;
  for (const absl::string_view line : absl::StrSplit(footer, '\n')) {
    if (absl::StartsWith(absl::StrCat(line, " "), absl::StrCat("  muster ", command, " "))) {
      absl::StrAppend(&examples, line, "\n");
    }
  }
  if (!examples.empty()) examples.pop_back();
  return examples.empty() ? "" : absl::StrCat("Examples:\n", examples);
}

// Makes the options of all follow the commands below `app`, and says so in their help. A command
// without examples of its own gets those that `footer`, of the one above it, has of it.
void LetGlobalsFollow(CLI::App& app, const std::string& path, const std::string& footer) {
  for (CLI::App* const command : app.get_subcommands([](CLI::App*) { return true; })) {
    const std::string name = absl::StrCat(path, path.empty() ? "" : " ", command->get_name());
    const std::string own = command->get_footer();
    const std::string shown = own.empty() ? ExamplesOf(footer, name) : own;
    command->fallthrough();
    command->footer(absl::StrCat(shown, shown.empty() ? "" : "\n\n", kGlobalsNote));
    LetGlobalsFollow(*command, name, own);
  }
}

// Of what a shell asks for: what stands before the word of completion are options of all commands.
Command CompletionOf(CLI::App& app, const std::vector<std::string>& arguments) {
  const auto word = std::find(arguments.begin(), arguments.end(), kCompleteWord);
  const std::vector<std::string> words(word + 1, arguments.end());
  try {
    app.parse(std::vector<std::string>(std::make_reverse_iterator(word), arguments.rend()));
  } catch (const CLI::Error&) {
    // The names of commands are known all the same.
  }
  const std::string beginning = words.empty() ? "" : words.back();
  return [completion = Complete(app, words), beginning](Invocation& invocation) {
    return PrintCompletion(invocation, completion, beginning);
  };
}

}  // namespace

absl::StatusOr<std::variant<ParsedCommandLine, std::string>> ParseCommandLine(
    const std::vector<std::string>& arguments) {
  using Result = std::variant<ParsedCommandLine, std::string>;
  ParsedCommandLine parsed;
  CLI::App app{kDescription, "muster"};
  app.formatter(std::make_shared<HelpFormatter>());
  app.require_subcommand(0, 1);
  AddGlobalOptions(app, parsed.options);
  AddCommands(app, parsed.command);
  AddOtherNames(app);
  LetGlobalsFollow(app, "", "");
  // Last, because commands take over the footer that is there when they are added.
  app.footer(std::string(kExamples) + kExitCodeHelp +
             "\n\nNames: a model version is MODEL@VERSION or its full name "
             "models/MODEL/versions/VERSION.");
  if (CommandWord(arguments) == kCompleteWord) {
    parsed.command = CompletionOf(app, arguments);
    return Result(std::move(parsed));
  }
  if (CommandWord(arguments) == kManWord) {
    parsed.command = [pages = ManPages(app), directory = arguments.back()](Invocation&) {
      return WriteManPages(pages, directory);
    };
    return Result(std::move(parsed));
  }
  // What is unknown is named first: a typo in --model also leaves out --model.
  const auto explain = [&app](const CLI::ParseError& error) {
    const absl::Status unknown = UnknownWords(app);
    return unknown.ok() ? WithCommand(UsageError(error.what()), CommandPath(app)) : unknown;
  };
  const std::vector<std::string> words = WithoutHabits(arguments);
  try {
    // CLI11 takes them from the back.
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::Success& success) {
    // The help of what there is not would be that of something else.
    MUSTER_RETURN_IF_ERROR(UnknownWords(app));
    std::ostringstream text;
    app.exit(success, text, text);
    return Result(absl::StrCat(text.str(), ExplainTerms(text.str())));
  } catch (const CLI::ParseError& error) {
    return explain(error);
  }
  if (!parsed.command) return UsageError("a command is missing");
  GlobalOptions& options = parsed.options;
  options.json = options.json || options.output == "json" || options.output == "yaml";
  parsed.command = [run = std::move(parsed.command), path = CommandPath(app)](
                       Invocation& invocation) { return WithCommand(run(invocation), path); };
  return Result(std::move(parsed));
}

absl::StatusOr<absl::Duration> Invocation::Timeout(absl::Duration fallback) const {
  if (options_.timeout.empty()) return fallback;
  return ParseDuration(options_.timeout);
}

ChannelSecurity Invocation::security() const {
  ChannelSecurity security = options_.security;
  security.tls |= !security.files.empty();
  if (security.token_file.empty()) security.token = Variable("MUSTER_TOKEN");
  return security;
}

absl::StatusOr<std::unique_ptr<Client>> Invocation::Connect(
    absl::Duration call_timeout, std::function<void(const std::string&)> say) const {
  return ConnectTo(options_.servers, security(), call_timeout, std::move(say));
}

absl::StatusOr<std::unique_ptr<Client>> Invocation::ConnectTo(
    const std::vector<std::string>& servers, const ChannelSecurity& security,
    absl::Duration call_timeout, std::function<void(const std::string&)> say) const {
  RetryOptions retry;
  MUSTER_ASSIGN_OR_RETURN(retry.call_timeout, Timeout(call_timeout));
  retry.attempt_timeout = std::min(retry.attempt_timeout, retry.call_timeout);
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<Channel> channel, NewGrpcChannel(servers, security));
  constexpr absl::Duration kNoticeAfter = absl::Seconds(1);
  ServerNoticeOptions notice{
      .servers = absl::StrJoin(servers, ", "), .after = kNoticeAfter, .say = std::move(say)};
  if (!notice.say) notice.say = [this](const std::string& line) { Note(line); };
  // Who wants an answer that soon gets the error instead.
  if (retry.call_timeout > 2 * kNoticeAfter) {
    channel = NewNoticingChannel(std::move(channel), std::move(notice));
  }
  return std::make_unique<Client>(NewRetryingChannel(std::move(channel), clock(), random(), retry),
                                  random());
}

absl::StatusOr<std::optional<bool>> Invocation::Ask(const std::string& question) const {
  if (options_.json || !environment_.ask) return std::optional<bool>();
  MUSTER_ASSIGN_OR_RETURN(const bool yes, environment_.ask(question));
  return std::optional<bool>(yes);
}

void Invocation::Print(absl::string_view text) const {
  live_->Wipe();
  const bool coloured = environment_.output.has_colour && !options_.json;
  const std::string shown = coloured ? WithColours(text) : std::string(text);
  const bool written = std::fwrite(shown.data(), 1, shown.size(), stdout) == shown.size() &&
                       std::fflush(stdout) == 0;
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
  PrintJson(MessageToJson(message));
}

void Invocation::PrintJson(absl::string_view json) const { Print(JsonText(json)); }

std::string Invocation::JsonText(absl::string_view json) const {
  return options_.output == "yaml" ? JsonToYaml(json) : absl::StrCat(json, "\n");
}

void Invocation::Note(absl::string_view line) const {
  if (options_.json) return;
  live_->Wipe();
  std::fprintf(stderr, "%s\n", Printable(line).c_str());
}

std::unique_ptr<ProgressBar> Invocation::NewProgressBar(const std::string& label) const {
  return std::make_unique<ProgressBar>(clock(), *live_, label);
}

}  // namespace muster
