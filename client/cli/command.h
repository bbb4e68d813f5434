// What every command has at hand, and how the command line becomes one of them.
#ifndef MUSTER_CLIENT_CLI_COMMAND_H_
#define MUSTER_CLIENT_CLI_COMMAND_H_

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/hangup.h"
#include "client/cli/live_screen.h"
#include "client/cli/progress_bar.h"
#include "client/cli/terminal.h"
#include "client/sdk/client.h"
#include "client/sdk/grpc_channel.h"
#include "google/protobuf/message.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/environment.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Options that every command takes.
struct GlobalOptions {
  std::vector<std::string> servers = {"127.0.0.1:7070"};
  // TLS is on with any of its options.
  ChannelSecurity security;
  bool json = false;
  // "table", "wide", "json", "yaml" or "name"; what a command has no such form for is a table.
  std::string output = "table";
  // As typed; "" means the command's own default.
  std::string timeout;
};

// The world as main made it. Used by one thread, except `stop` and what is thread-safe itself.
struct Environment {
  Clock& clock;
  Random& random;
  // Those of everything; for URIs that the user names himself.
  const ObjectStoreRegistry& stores;
  // The same stores under rules. May be called by several threads.
  std::function<absl::StatusOr<std::unique_ptr<const ObjectStoreRegistry>>(const LocationRules&)>
      open_stores;
  EnvironmentLookup variables;
  // Requested by SIGINT and SIGTERM.
  std::stop_token stop;
  Hangup& hangup;
  // Called by a command that does something else at a second SIGINT or SIGTERM than to end at once: gives the token that
  // it requests from now on; a third one ends the process. Empty: the second one does.
  std::function<std::stop_token()> second_stop = {};
  std::string working_directory;
  // Whether people watch stderr.
  bool is_terminal = false;
  // stdout and stderr.
  Terminal output = {};
  Terminal errors = {};
  // Puts a question to the person who started the command: whether the answer was yes. Empty where
  // there is nobody: stdin or stderr is no terminal. kCancelled: `stop`.
  std::function<absl::StatusOr<bool>(const std::string& question)> ask = {};
};

// For commands that run long: a restart of the server does not end them.
inline constexpr absl::Duration kLongCallTimeout = absl::Seconds(30);

class Invocation {
 public:
  Invocation(const Environment& environment, GlobalOptions options)
      : environment_(environment),
        options_(std::move(options)),
        live_(std::make_unique<LiveScreen>(options_.json ? Terminal() : environment.errors)) {}

  Clock& clock() const { return environment_.clock; }
  Random& random() const { return environment_.random; }
  const ObjectStoreRegistry& stores() const { return environment_.stores; }
  absl::StatusOr<std::unique_ptr<const ObjectStoreRegistry>> OpenStores(
      const LocationRules& rules) const {
    return environment_.open_stores(rules);
  }
  const std::stop_token& stop() const { return environment_.stop; }
  Hangup& hangup() const { return environment_.hangup; }
  // See Environment; a token that nobody requests where there is none.
  std::stop_token SecondStop() const {
    return environment_.second_stop ? environment_.second_stop() : std::stop_token();
  }
  // Of the process's environment; "" if it is not set.
  std::string Variable(const char* name) const { return environment_.variables(name); }
  const std::string& working_directory() const { return environment_.working_directory; }
  bool is_terminal() const { return environment_.is_terminal; }
  // That of stdout.
  const Terminal& terminal() const { return environment_.output; }
  // What stdout has room for now without scrolling.
  size_t columns() const { return environment_.output.size().columns; }
  size_t rows() const { return environment_.output.size().rows; }
  // Whether the output is for programs: JSON, or YAML.
  bool json() const { return options_.json; }
  // The form of a list: "table", "wide", "json", "yaml" or "name".
  const std::string& output() const { return options_.output; }
  // Unset where nobody can be asked, programs included.
  absl::StatusOr<std::optional<bool>> Ask(const std::string& question) const;
  bool has_timeout() const { return !options_.timeout.empty(); }

  // A client whose calls take as long as --timeout says, or else `call_timeout`. While a server has
  // not answered, `say` gets a line about it after a second; without one it is a note.
  absl::StatusOr<std::unique_ptr<Client>> Connect(
      absl::Duration call_timeout = absl::Seconds(10),
      std::function<void(const std::string&)> say = nullptr) const;
  // The same for other servers, or by other means than the options name.
  absl::StatusOr<std::unique_ptr<Client>> ConnectTo(
      const std::vector<std::string>& servers, const ChannelSecurity& security,
      absl::Duration call_timeout = absl::Seconds(10),
      std::function<void(const std::string&)> say = nullptr) const;
  const std::vector<std::string>& servers() const { return options_.servers; }
  // As the options say, with the token that MUSTER_TOKEN holds where they name no file with one.
  ChannelSecurity security() const;
  // --timeout, or else `fallback`.
  absl::StatusOr<absl::Duration> Timeout(absl::Duration fallback) const;
  // Stopped by signals.
  CallOptions Call() const { return {.timeout = std::nullopt, .stop = environment_.stop}; }

  // On stdout, below what `live` showed, which is wiped.
  void Print(absl::string_view text) const;
  void PrintLine(absl::string_view text) const;
  void PrintJson(const google::protobuf::Message& message) const;
  // A JSON value, in a line; as YAML with --output yaml.
  void PrintJson(absl::string_view json) const;
  // What PrintJson prints: a line of JSON, or YAML where that was asked for.
  std::string JsonText(absl::string_view json) const;
  // kResourceExhausted or kUnavailable when something could not be printed. A pipe that its reader
  // closed is not an error.
  absl::Status OutputStatus() const;
  // False once something could not be printed, so that more of it is in vain.
  bool IsRead() const { return output_error_ == 0; }
  // On stderr, unless --json.
  void Note(absl::string_view line) const;

  // What is going on, on stderr; nowhere with --json. There is one, so that nothing else that is printed runs into it.
  LiveScreen& live() const { return *live_; }
  std::unique_ptr<ProgressBar> NewProgressBar(const std::string& label) const;

 private:
  const Environment& environment_;
  const GlobalOptions options_;
  const std::unique_ptr<LiveScreen> live_;
  // Of the first write to stdout that failed.
  mutable int output_error_ = 0;
};

using Command = std::function<absl::Status(Invocation&)>;

struct ParsedCommandLine {
  GlobalOptions options;
  Command command;
};

// The command that was asked for; or text for stdout (--help, --version). Errors are
// kInvalidArgument USAGE.
absl::StatusOr<std::variant<ParsedCommandLine, std::string>> ParseCommandLine(
    const std::vector<std::string>& arguments);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_COMMAND_H_
