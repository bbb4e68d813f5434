// musterd: flags -> stores -> registry -> services.

#include <poll.h>
#include <signal.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/commit/commit_thread.h"
#include "server/commit/committer.h"
#include "server/commit/tick_thread.h"
#include "server/guards.h"
#include "server/keys/key_keeper.h"
#include "server/keys/master_key_file.h"
#include "server/log_writer.h"
#include "server/planning/planner_thread.h"
#include "server/policy_file.h"
#include "server/process_limits.h"
#include "server/rpc/call_stats.h"
#include "server/rpc/rpc_server.h"
#include "server/rpc/server_tls.h"
#include "server/server_options.h"
#include "server/store_watch.h"
#include "server/upkeep/store_upkeep.h"
#include "storage/base/clock.h"
#include "storage/base/lock_checks.h"
#include "storage/base/random.h"
#include "storage/base/status_macros.h"
#include "storage/files/staged_file.h"
#include "storage/metadata/rocksdb_metadata_store.h"
#include "storage/metadata/store_marker.h"
#include "storage/version/build_version.h"

namespace muster {
namespace {

enum ExitCode {
  kOk = 0,
  kBadDataDir = 3,
  kBadListen = 4,
  kStoreFailed = 5,
  kStopTookTooLong = 6,
  kTooFewThreads = 7
};

constexpr absl::Duration kTickInterval = absl::Milliseconds(100);
constexpr absl::Duration kPlanInterval = absl::Milliseconds(100);
constexpr absl::Duration kStoreWatchInterval = absl::Milliseconds(250);
constexpr absl::Duration kCallGrace = absl::Seconds(2);
// A stop is promised within 5 s; what is acknowledged is durable already, so ending the hard way
// loses nothing.
constexpr absl::Duration kStopLimit = absl::Milliseconds(4'500);

// About 10,000 lines that wait for whoever reads stderr.
constexpr size_t kLogBytes = size_t{2} << 20;

// Makes lines, and hands them to a thread that writes them.
class LogSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  LogSink() : writer_(SystemClock(), STDERR_FILENO, kLogBytes) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    writer_.Add(std::string(line.data(), line.size()));
  }
  void flush_() override { writer_.Flush(); }

 private:
  LogWriter writer_;
};

struct LogEnd {
  ~LogEnd() { spdlog::shutdown(); }
};

void LogFatal(const char* what, const absl::Status& status) {
  spdlog::critical("fatal what=\"{}\" code={} message=\"{}\"", what,
                   absl::StatusCodeToString(status.code()), absl::CHexEscape(status.message()));
}

// Why the server does not start: a sentence as of `muster`, behind all that is logged. Who collects logs gets a line, too;
// a person at a terminal has no use for it.
void SayFatal(const char* what, const absl::Status& status) {
  if (isatty(STDERR_FILENO) == 0) LogFatal(what, status);
  spdlog::default_logger()->flush();
  std::string sentence(status.message());
  for (char& c : sentence) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  std::fprintf(stderr, "musterd: %s: %s\n", what, sentence.c_str());
}

// Nothing that the server decides goes by it; but people compare times in events and in other logs.
void LogTimeOfDaySet(absl::Duration by) {
  spdlog::warn(
      "time_of_day=set by={} message=\"the machine's clock was set; leases, ages and deadlines go "
      "by "
      "another one, so nothing expires by this, but times that are shown jump with it\"",
      absl::FormatDuration(by));
}

// Ends the process at once: whether the last write took place is unknown, so nothing more may be
// said.
[[noreturn]] void StopRatherThanLie(const absl::Status& status) {
  LogFatal("the store failed; restart the server once its data directory is in order", status);
  spdlog::default_logger()->flush();
  _exit(kStoreFailed);
}

// Blocks SIGTERM and SIGINT in this thread and those that it starts, and returns a descriptor that
// reads them.
int BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

// Ends the process if the stop hangs.
class StopWatchdog {
 public:
  StopWatchdog()
      : thread_([this] {
          absl::Duration left = kStopLimit;
          constexpr absl::Duration kStep = absl::Milliseconds(50);
          for (; left > absl::ZeroDuration() && !done_; left -= kStep)
            SystemClock().SleepFor(kStep);
          if (done_) return;
          spdlog::error("stop=forced reason=\"calls did not end in time\"");
          spdlog::default_logger()->flush();
          _exit(kStopTookTooLong);
        }) {}
  ~StopWatchdog() {
    done_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

bool WriteAddressFile(const std::string& path, const std::string& address) {
  if (path.empty()) return true;
  const absl::Status written = WriteWholeFile(path, absl::StrCat(address, "\n"));
  if (written.ok()) return true;
  SayFatal("can't write the address file", written);
  return false;
}

absl::StatusOr<std::unique_ptr<MetadataStore>> OpenStore(const ServerOptions& options,
                                                         Random& random) {
  RocksdbOpenOptions open;
  open.describe_end = EndOfRows;
  if (options.accept_loss) open.history_after_loss = random.NextId();
  MUSTER_ASSIGN_OR_RETURN(OpenedRocksdb opened, OpenRocksdbMetadataStore(options.data_dir, open));
  if (!opened.lost.empty()) {
    spdlog::warn("loss=accepted message=\"{}\" store_ends_at=\"{}\" history_id={}",
                 absl::CHexEscape(opened.lost), EndOfRows(*opened.store), open.history_after_loss);
  }
  return std::move(opened.store);
}

// On stdout, for whoever started it by hand; what reads logs finds none of it there.
void SayHowToGoOn(const SecureStart* secure, const std::string& address) {
  if (secure == nullptr) return;
  std::cout << secure->Instructions(address) << std::flush;
}

KeyKeeper::Observer KeyObserver() {
  KeyKeeper::Observer observer;
  observer.loaded = [](const std::string& current, size_t count) {
    spdlog::info("master_keys=loaded current={} count={}", current, count);
  };
  observer.refused = [](const absl::Status& status) {
    spdlog::error("master_keys=refused message=\"{}; the keys before stay in force\"",
                  absl::CHexEscape(status.message()));
  };
  observer.missing = [](const std::string& id, uint64_t count) {
    spdlog::error(
        "master_keys=missing master_key_id={} content_keys={} message=\"these content keys can't "
        "be "
        "opened: put the master key back into the file of --master-key\"",
        absl::CHexEscape(id), count);
  };
  observer.rewrapped = [](uint64_t done, uint64_t left, uint64_t failed) {
    spdlog::info("master_keys={} content_keys={} left={} failed={}",
                 left > 0 ? "rewrapping" : "rewrapped", done, left, failed);
  };
  return observer;
}

RpcOptions MakeRpcOptions(const ServerOptions& options, const StoreIdentity& identity,
                          const Guards& guards, size_t file_limit) {
  const ServerTls* const tls = guards.tls.get();
  RpcOptions rpc;
  rpc.identity = {BuildNumber(), BuildCommit(), identity.cluster_id};
  rpc.keys = guards.keys.get();
  rpc.issuer = guards.issuer.get();
  rpc.credentials = tls == nullptr ? PlaintextCredentials() : tls->credentials();
  rpc.listener.listen = options.listen;
  rpc.listener.loopback_only = tls == nullptr && !options.insecure;
  rpc.listener.descriptors_max = DescriptorsForConnections(file_limit, options.max_connections);
  // A client that speaks is never kept out by those that don't.
  rpc.listener.silent_max = rpc.listener.descriptors_max / 4 + 1;
  rpc.memory_bytes = options.connection_bytes;
  if (options.connection_age_s > 0) rpc.connection_age = absl::Seconds(options.connection_age_s);
  rpc.audit_reads = options.audit_reads;
  rpc.watches.progress_interval = absl::Seconds(options.progress_interval_s);
  return rpc;
}

StoreWatch::Options MakeStoreWatchOptions(const ServerOptions& options) {
  StoreWatch::Options watch;
  if (options.store_timeout_s > 0) watch.hopeless = absl::Seconds(options.store_timeout_s);
  return watch;
}

StoreWatch::Actions StoreActions(RpcServer& server) {
  StoreWatch::Actions actions;
  actions.slow = [](absl::Duration age) {
    spdlog::warn("store=slow so_far_ms={:.0f} message=\"a write to the data directory takes long\"",
                 absl::ToDoubleMilliseconds(age));
  };
  actions.serving = [&server](bool serving, absl::Duration age) {
    server.SetServing(serving);
    if (serving) {
      spdlog::warn("store=answers health=SERVING");
      return;
    }
    spdlog::error(
        "store=stuck so_far_ms={:.0f} health=NOT_SERVING message=\"a write to the data directory "
        "does not end; mutations wait, and so do reads that saw them: look at its device\"",
        absl::ToDoubleMilliseconds(age));
  };
  actions.hopeless = [](absl::Duration age) {
    StopRatherThanLie(absl::DeadlineExceededError(
        absl::StrCat("a write has taken ", absl::FormatDuration(absl::Trunc(age, absl::Seconds(1))),
                     ", longer than --store-timeout")));
  };
  return actions;
}

LiveTables::Options MakeLiveOptions(const ServerOptions& options) {
  LiveTables::Options live;
  live.leases.move_grace = absl::Seconds(options.move_grace_s);
  live.leases.guard = absl::Seconds(options.lease_ttl_s);
  live.read_places.guard = absl::Seconds(options.lease_ttl_s);
  return live;
}

Registry::Options MakeRegistryOptions(const ServerOptions& options, const StoreIdentity& identity) {
  Registry::Options registry;
  registry.cluster_id = identity.cluster_id;
  registry.history_id = identity.history_id;
  registry.default_lease_ttl_us = static_cast<int64_t>(options.lease_ttl_s * 1e6);
  registry.forget_nodes_us = static_cast<int64_t>(options.forget_nodes_s * 1e6);
  registry.event_log.max_age_us = static_cast<int64_t>(options.event_log_age_s * 1e6);
  registry.event_log.max_events = options.event_log_max;
  registry.min_free_bytes = static_cast<int64_t>(options.min_free_bytes);
  return registry;
}

void AwaitStopSignal(int signals) {
  pollfd wait{signals, POLLIN, 0};
  while (poll(&wait, 1, -1) < 0 && errno == EINTR) {
  }
}

int Serve(const ServerOptions& options, int signals, size_t file_limit, MetadataStore& untimed,
          const StoreIdentity& identity, Guards& guards) {
  Clock& clock = SystemClock();
  TimedStore store(untimed, clock);
  LiveTables live(MakeLiveOptions(options));
  Registry registry(MakeRegistryOptions(options, identity), live);
  Feed feed({});
  CallStats stats(clock);
  PlannerThread planner(clock, kPlanInterval);
  Committer committer(clock, store, registry, live, feed,
                      {options.queue_limit, options.queue_bytes},
                      [&planner](AssemblyUid assembly) { planner.Want(assembly); });
  const absl::Duration begin = clock.Monotonic();
  if (const absl::Status loaded = committer.Load(); !loaded.ok()) {
    SayFatal("the data directory can't be read", loaded);
    return kBadDataDir;
  }
  // The time before the first call.
  committer.SubmitInternal(TickThread::MakeTick(clock, live, store));
  auto commit_thread = std::make_unique<CommitThread>(committer, StopRatherThanLie);
  planner.Start(committer, [](const absl::Status& status) {
    spdlog::error("plan=failed message=\"{}\"", absl::CHexEscape(status.message()));
  });
  auto ticker =
      std::make_unique<TickThread>(clock, live, store, committer, kTickInterval, LogTimeOfDaySet);
  guards.Start();
  std::optional<KeyKeeper> keeper;
  if (guards.keys != nullptr) {
    keeper.emplace(KeyKeeper::Options(), clock, committer, *guards.keys, KeyObserver());
    keeper->Start();
  }
  auto server =
      StartRpcServer(MakeRpcOptions(options, identity, guards, file_limit), clock, committer, feed,
                     live, store, stats, *guards.gate, guards.audit.get());
  if (server.ok()) guards.server = server->get();
  std::optional<StoreWatch> store_watch;
  int exit_code = kOk;
  if (!server.ok()) {
    SayFatal("can't serve", server.status());
    exit_code = kBadListen;
  } else if (!WriteAddressFile(options.address_file, (*server)->address())) {
    exit_code = kBadListen;
  } else {
    store_watch.emplace(store, MakeStoreWatchOptions(options), StoreActions(**server));
    store_watch->Start(kStoreWatchInterval);
    spdlog::info(
        "serving address={} data_dir={} cluster_id={} history_id={} revision={} load_ms={:.0f}",
        (*server)->address(), options.data_dir, identity.cluster_id, identity.history_id,
        committer.durable().value, absl::ToDoubleMilliseconds(clock.Monotonic() - begin));
    StartIsOver();
    SayHowToGoOn(guards.secure.get(), (*server)->address());
    AwaitStopSignal(signals);
    spdlog::info("stop=begun");
  }
  const StopWatchdog watchdog;
  guards.StopCalling();
  if (server.ok()) (*server)->Stop(kCallGrace);
  ticker.reset();
  keeper.reset();
  planner.Stop();
  commit_thread.reset();
  store_watch.reset();
  if (server.ok()) server->reset();
  stats.LogSummary();
  // What did not start is not stopped; the sentence about it is the last word.
  if (exit_code == kOk) spdlog::info("stop=done revision={}", committer.durable().value);
  return exit_code;
}

int Serve(ServerOptions options) {
  EndWithASentence(kTooFewThreads);
  // Before the log has a thread.
  const int signals = BlockStopSignals();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("musterd", std::make_shared<LogSink>()));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  spdlog::flush_on(spdlog::level::critical);
  // With the lines that still wait, while everything that they need is there.
  const LogEnd log_end;
  if (const absl::Status enough = CheckThreads(ThreadsOfAServer()); !enough.ok()) {
    SayFatal("too few threads", enough);
    return kTooFewThreads;
  }
  // Each connection is a file, and the usual limit of 1,024 would refuse most of a big cluster.
  const size_t file_limit = RaiseFileLimit();

  const std::unique_ptr<Random> random = NewSystemRandom();
  auto store = OpenStore(options, *random);
  if (!store.ok()) {
    SayFatal("the data directory can't be opened", store.status());
    return kBadDataDir;
  }
  const auto identity = CheckStoreMarker(*random, **store, options.cluster_id);
  if (!identity.ok()) {
    SayFatal("the data directory can't be used", identity.status());
    return kBadDataDir;
  }
  RequireTls13();
  Guards guards;
  if (const GuardsError refused = OpenGuards(options, *identity, SystemClock(), guards);
      !refused.status.ok()) {
    SayFatal(refused.what, refused.status);
    return kBadListen;
  }
  return Serve(options, signals, file_limit, **store, *identity, guards);
}

// The commands beside serving: what was found on stdout, what went wrong on stderr.
int Tell(const absl::StatusOr<StoreReport>& report, const std::string& directory,
         const std::string& done) {
  if (!report.ok()) {
    std::cerr << "musterd: " << report.status().message() << "\n";
    return kBadDataDir;
  }
  for (const std::string& problem : report->problems) std::cout << problem << "\n";
  const uint64_t untold = report->problem_count - report->problems.size();
  if (untold > 0) std::cout << "and " << untold << " more\n";
  std::cout << directory << ": " << done << ": " << report->rows << " rows, " << report->bytes
            << " bytes, revision " << report->revision << ", cluster " << report->cluster_id
            << ", history " << report->history_id;
  if (report->ok()) {
    std::cout << "\n";
    return kOk;
  }
  std::cout << "; " << report->problem_count << " problems\n";
  return kBadDataDir;
}

// OK if no content key of the data directory is wrapped by the master key.
absl::Status CheckUnneeded(const MasterKeyOptions& options) {
  if (options.data_dir.empty()) return absl::OkStatus();
  MUSTER_ASSIGN_OR_RETURN(const uint64_t needed, CountContentKeys(options.data_dir, options.id));
  if (needed == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(needed, " content keys in ", options.data_dir, " are wrapped by ", options.id,
                   ": rotate, and let a server that runs on it wrap them anew"));
}

absl::StatusOr<std::string> ChangeMasterKeys(const MasterKeyOptions& options) {
  const absl::Time now = SystemClock().Now();
  switch (options.action) {
    case MasterKeyOptions::Action::kNew: {
      MUSTER_ASSIGN_OR_RETURN(const std::string id, NewMasterKeyFile(options.file, now));
      return absl::StrCat(options.file, ": made with the master key ", id,
                          "; keep a copy in a safe place, as without it nobody can read what is "
                          "encrypted by it");
    }
    case MasterKeyOptions::Action::kRotate: {
      MUSTER_ASSIGN_OR_RETURN(const std::string id, RotateMasterKeyFile(options.file, now));
      return absl::StrCat(options.file, ": the current master key is ", id,
                          "; the ones before stay until they are retired");
    }
    case MasterKeyOptions::Action::kRetire:
      MUSTER_RETURN_IF_ERROR(CheckUnneeded(options));
      MUSTER_RETURN_IF_ERROR(RetireMasterKey(options.file, options.id));
      return absl::StrCat(options.file, ": ", options.id, " is retired");
  }
  return absl::InternalError("no such action");
}

// One overload for each thing that the command line can ask for.
struct Runner {
  int operator()(int exit_code) const { return exit_code; }
  int operator()(const ServerOptions& options) const { return Serve(options); }
  int operator()(const CheckOptions& options) const {
    return Tell(CheckDataDirectory(options.directory), options.directory, "checked");
  }
  int operator()(const CheckPolicyOptions& options) const {
    const auto policy = ReadPolicyFile(options.file);
    if (!policy.ok()) {
      std::cerr << "musterd: " << policy.status().message() << "\n";
      return kBadListen;
    }
    std::cout << options.file << ": no mistakes; digest " << (*policy)->digest() << "\n";
    return kOk;
  }
  int operator()(const BackupOptions& options) const {
    return Tell(BackUp(options.directory, options.to), options.to, "backed up");
  }
  int operator()(const MasterKeyOptions& options) const {
    const absl::StatusOr<std::string> done = ChangeMasterKeys(options);
    if (done.ok()) {
      std::cout << *done << "\n";
      return kOk;
    }
    std::cerr << "musterd: " << done.status().message() << "\n";
    return kBadDataDir;
  }
  int operator()(const RestoreOptions& options) const {
    const std::unique_ptr<Random> random = NewSystemRandom();
    return Tell(Restore(*random, options.from, options.to), options.to, "restored");
  }
};

int Main(int argc, char** argv) { return std::visit(Runner{}, ParseServerOptions(argc, argv)); }

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  // gRPC's own lines, of each failed handshake for instance, are not of our form; what matters of them is in our errors.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  muster::SwitchLockCycleSearchOff();
  return muster::Main(argc, argv);
}
