// muster: signals, clock, chance and stores -> one command.

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <variant>
#include <vector>

#include "absl/strings/numbers.h"
#include "client/cli/command.h"
#include "client/cli/consent.h"
#include "client/cli/contexts.h"
#include "client/cli/exit_code.h"
#include "storage/base/clock.h"
#include "storage/base/lock_checks.h"
#include "storage/base/random.h"
#include "storage/base/status_macros.h"
#include "storage/object/file_object_store.h"
#include "storage/object/hdfs_object_store.h"
#include "storage/object/http_object_store.h"
#include "storage/object/location_rules.h"
#include "storage/object/object_store_registry.h"
#include "storage/object/s3_object_store.h"

namespace muster {
namespace {

// Thread-safe.
class SecondStop {
 public:
  std::stop_token Token() {
    wanted_ = true;
    return source_.get_token();
  }

  // False where no command waits for it, or it came already.
  bool Request() { return wanted_ && source_.request_stop(); }

 private:
  std::atomic<bool> wanted_ = false;
  std::stop_source source_;
};

// The first SIGINT or SIGTERM asks for a stop, the second ends the process at once unless the command has a use for it;
// then the third does. So does SIGHUP where nobody handles it (and nohup did not say otherwise). Called before the first
// thread is started, so that none of them takes the signals. A full disk or a limit on file sizes is an error of the
// write, and a closed pipe is nobody's. The arguments live as long as the process.
std::stop_token WatchSignals(Hangup& hangup, SecondStop& second) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto source = std::make_shared<std::stop_source>();
  struct sigaction hangup_action {};
  sigaction(SIGHUP, nullptr, &hangup_action);
  const bool ignores_hangup = hangup_action.sa_handler == SIG_IGN;
  std::thread([signals, source, ignores_hangup, &hangup, &second] {
    for (;;) {
      int number = 0;
      sigwait(&signals, &number);
      if (number == SIGHUP && (hangup.Raise() || ignores_hangup)) continue;
      if (number == SIGHUP) _exit(kExitInterrupted);
      if (source->request_stop()) continue;
      if (!second.Request()) _exit(kExitInterrupted);
    }
  }).detach();
  return source->get_token();
}

int Report(const absl::Status& status, bool json) {
  if (!status.ok()) {
    std::fputs((json ? ErrorJson(status) : ErrorText(status)).c_str(), stderr);
  }
  return ExitCodeOf(status);
}

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The soft limit is 1,024 nearly everywhere, and each connection, each shard under way and each entry in use is a file.
// Programs that an agent starts inherit the limit, and some try to close all descriptors up to it.
void AllowManyFiles() {
  constexpr rlim_t kEnough = 65'536;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kEnough) return;
  limit.rlim_cur = std::min(limit.rlim_max, kEnough);
  setrlimit(RLIMIT_NOFILE, &limit);
}

// std::thread throws where the system has no thread left. Nobody can go on without, so it is said and that is the end.
void SayWhyThereIsNoThread() {
  try {
    if (const std::exception_ptr thrown = std::current_exception()) std::rethrow_exception(thrown);
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) {
      std::fputs(
          "muster: no thread is to be had, and this can't go on without; raise the limit of "
          "processes (ulimit -u, "
          "pids.max of the cgroup) or of memory (ulimit -v)\n",
          stderr);
      _exit(kExitFailed);
    }
  } catch (...) {
  }
  std::abort();
}

// The variables that curl and OpenSSL users set; the proxies' are read by libcurl itself.
HttpStoreOptions HttpOptions() {
  HttpStoreOptions options;
  options.connection.ca_file = FromEnvironment("CURL_CA_BUNDLE");
  if (options.connection.ca_file.empty()) {
    options.connection.ca_file = FromEnvironment("SSL_CERT_FILE");
  }
  options.connection.ca_directory = FromEnvironment("SSL_CERT_DIR");
  return options;
}

// The ports of this machine that its environment names as proxies, as libcurl reads it: [scheme://][user@]host:port.
std::set<int> LocalProxyPorts() {
  std::set<int> ports;
  for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}) {
    const std::string proxy = FromEnvironment(name);
    absl::string_view authority = proxy;
    const size_t scheme = authority.find("://");
    if (scheme != absl::string_view::npos) authority.remove_prefix(scheme + 3);
    authority = authority.substr(0, authority.find('/'));
    authority.remove_prefix(authority.rfind('@') + 1);
    const size_t colon = authority.rfind(':');
    int port = 0;
    if (colon == absl::string_view::npos || !IsLocalHost(authority.substr(0, colon))) continue;
    if (absl::SimpleAtoi(authority.substr(colon + 1), &port)) ports.insert(port);
  }
  return ports;
}

absl::StatusOr<std::unique_ptr<const ObjectStoreRegistry>> OpenStores(const LocationRules& rules,
                                                                      Random& random) {
  auto stores = std::make_unique<ObjectStoreRegistry>(rules);
  HttpStoreOptions named = HttpOptions();
  named.connection.may_be_local = [rules](absl::string_view url) { return rules.MayBeLocal(url); };
  named.connection.local_proxy_ports = LocalProxyPorts();
  MUSTER_RETURN_IF_ERROR(RegisterFileObjectStore(*stores));
  MUSTER_RETURN_IF_ERROR(RegisterHttpObjectStore(*stores, SystemClock(), random, named));
  // Where S3 is says this machine's configuration, not the location.
  MUSTER_RETURN_IF_ERROR(
      RegisterS3ObjectStore(*stores, FromEnvironment, SystemClock(), random, HttpOptions()));
  MUSTER_RETURN_IF_ERROR(
      RegisterHdfsObjectStore(*stores, FromEnvironment, SystemClock(), random, named));
  return stores;
}

int Main(const std::vector<std::string>& arguments) {
  std::set_terminate(SayWhyThereIsNoThread);
  AllowManyFiles();
  const bool json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
  const auto in_context = WithContext(arguments, FromEnvironment);
  if (!in_context.ok()) return Report(in_context.status(), json);
  auto parsed = ParseCommandLine(*in_context);
  if (!parsed.ok()) return Report(parsed.status(), json);
  if (const auto* text = std::get_if<std::string>(&*parsed)) {
    std::fputs(text->c_str(), stdout);
    return kExitOk;
  }
  const auto& command_line = std::get<ParsedCommandLine>(*parsed);
  // Its thread never ends.
  static Hangup hangup;
  static SecondStop second;
  const std::stop_token stop = WatchSignals(hangup, second);
  const std::unique_ptr<Random> random = NewSystemRandom();
  const auto open_stores = [&random](const LocationRules& rules) {
    return OpenStores(rules, *random);
  };
  const auto stores = open_stores({});
  if (!stores.ok()) return Report(stores.status(), command_line.options.json);
  std::error_code ignored;
  Environment environment{
      .clock = SystemClock(),
      .random = *random,
      .stores = **stores,
      .open_stores = open_stores,
      .variables = FromEnvironment,
      .stop = stop,
      .hangup = hangup,
      .second_stop = [] { return second.Token(); },
      .working_directory = std::filesystem::current_path(ignored).string(),
      .is_terminal = isatty(STDERR_FILENO) != 0,
      .output = TerminalOf(stdout, FromEnvironment),
      .errors = TerminalOf(stderr, FromEnvironment),
  };
  if (isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0) {
    environment.ask = [stop](const std::string& question) { return AskAtTerminal(question, stop); };
  }
  Invocation invocation(environment, command_line.options);
  absl::Status status = command_line.command(invocation);
  if (status.ok()) status = invocation.OutputStatus();
  return Report(status, command_line.options.json);
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  // gRPC's own lines, of each failed handshake for instance, are not of our form; what matters of them is in our errors.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  muster::SwitchLockCycleSearchOff();
  return muster::Main(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
}
