#include <limits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/agent/agent.h"
#include "client/agent/cache_fetcher.h"
#include "client/agent/expected_shards.h"
#include "client/agent/model_warmer.h"
#include "client/agent/node_folder.h"
#include "client/agent/ready_actions.h"
#include "client/cache/cache_scrub.h"
#include "client/cache/shard_cache.h"
#include "client/cli/agent_config.h"
#include "client/cli/agent_enrolment.h"
#include "client/cli/agent_log.h"
#include "client/cli/agent_offline.h"
#include "client/cli/agent_screen.h"
#include "client/cli/assembly_flags.h"
#include "client/cli/cache_flags.h"
#include "client/cli/commands.h"
#include "client/cli/pull_flags.h"
#include "client/cli/ready_flags.h"
#include "client/cli/room_output.h"
#include "client/cli/values.h"
#include "client/view/view_builder.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::Duration kFirstContactTimeout = absl::Seconds(60);

struct AgentArguments {
  std::string config_path;
  // Of the file as it was at the start.
  AgentConfig config;
  std::string node;
  std::vector<std::string> assemblies;
  CacheFlags cache;
  std::string claim = "any";
  std::string capacity;
  std::string address;
  std::vector<std::string> labels;
  std::string lease_ttl;
  std::string on_stop = "stay";
  std::string log_level = "info";
  bool log = false;
  int parallel_shards = 2;
  std::string scrub_rate = "16MiB";
  std::string scrub_interval = "24h";
  std::string watch_interval = "10s";
  bool warm = false;
  std::string warm_reserve = "2GiB";
  bool dry_run = false;
  bool take_over = false;
  EnrolmentFlags enrolment;
  AssemblyFlags create;
  ReadyFlags ready;
  PullFlags pull = {.zone = "", .connections = 8, .memory_budget = "1GiB"};
};

absl::StatusOr<v1::Node> ToNode(const AgentArguments& options) {
  v1::Node node;
  MUSTER_ASSIGN_OR_RETURN(*node.mutable_name(), FullNodeName(options.node));
  node.set_address(options.address);
  node.set_zone(options.pull.zone);
  MUSTER_ASSIGN_OR_RETURN(const auto labels, ParseLabels(options.labels));
  node.mutable_labels()->insert(labels.begin(), labels.end());
  if (!options.capacity.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const int64_t capacity, ParseSize(options.capacity));
    // 0 would mean that there is no bound.
    if (capacity == 0) return UsageError("--capacity 0 leaves no room for any shard");
    node.set_capacity_bytes(static_cast<uint64_t>(capacity));
  }
  return node;
}

// What the node is to be a member of, and where the views go.
struct Wanted {
  std::vector<Membership> memberships;
  // By assembly, full name.
  std::map<std::string, std::string> views;
};

// The assemblies of the command line, or those of `config` where it names some.
absl::StatusOr<std::vector<AgentConfig::Assembly>> AssembliesOf(const AgentArguments& options,
                                                                const AgentConfig& config) {
  if (!config.assemblies.empty()) {
    if (options.assemblies.empty() && options.ready.views.empty()) return config.assemblies;
    return UsageError(
        "--config names the assemblies and their views; leave --assembly and --view out");
  }
  if (options.assemblies.empty())
    return UsageError("--assembly is required, or a --config that names some");
  if (!options.ready.views.empty() && options.ready.views.size() != options.assemblies.size()) {
    return UsageError("name one --view for each --assembly, in the same order, or none");
  }
  std::vector<AgentConfig::Assembly> assemblies;
  for (size_t i = 0; i < options.assemblies.size(); ++i) {
    assemblies.push_back({.name = options.assemblies[i],
                          .claim = "",
                          .view = options.ready.views.empty() ? "" : options.ready.views[i]});
  }
  return assemblies;
}

absl::StatusOr<Wanted> ToWanted(const AgentArguments& options, const AgentConfig& config) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<AgentConfig::Assembly> assemblies,
                          AssembliesOf(options, config));
  Wanted wanted;
  std::set<std::string> named;
  for (const AgentConfig::Assembly& assembly : assemblies) {
    Membership& membership = wanted.memberships.emplace_back();
    MUSTER_ASSIGN_OR_RETURN(membership.assembly, FullAssemblyName(assembly.name));
    if (!named.insert(membership.assembly).second) {
      return UsageError(absl::StrCat("assembly ", assembly.name, " appears twice"));
    }
    MUSTER_ASSIGN_OR_RETURN(membership.claim,
                            ParseClaim(assembly.claim.empty() ? options.claim : assembly.claim));
    if (!assembly.view.empty()) wanted.views[membership.assembly] = assembly.view;
    if (!options.create.any()) continue;
    MUSTER_ASSIGN_OR_RETURN(membership.create, ToAssembly(membership.assembly, options.create));
  }
  if (options.create.any() && assemblies.size() > 1) {
    return UsageError(
        "--model, --policy and the like describe one assembly; create several with `muster "
        "assemblies create`");
  }
  return wanted;
}

absl::StatusOr<AgentOptions> ToAgentOptions(const AgentArguments& options,
                                            std::vector<Membership> memberships) {
  AgentOptions agent;
  if (options.node.empty()) return UsageError("--node is required");
  MUSTER_ASSIGN_OR_RETURN(agent.node, ToNode(options));
  if (!options.lease_ttl.empty()) {
    MUSTER_ASSIGN_OR_RETURN(agent.lease_ttl, ParseDuration(options.lease_ttl));
  }
  agent.take_over = options.take_over;
  agent.memberships = std::move(memberships);
  agent.parallel_shards = options.parallel_shards;
  if (options.on_stop == "leave") agent.on_stop = AgentOptions::OnStop::kLeave;
  if (options.on_stop == "deregister") agent.on_stop = AgentOptions::OnStop::kDeregister;
  return agent;
}

// Unset where the user wants none.
absl::StatusOr<std::optional<ScrubOptions>> ToScrubOptions(const AgentArguments& options) {
  ScrubOptions scrub;
  MUSTER_ASSIGN_OR_RETURN(scrub.bytes_per_second, ParseSize(options.scrub_rate));
  MUSTER_ASSIGN_OR_RETURN(scrub.interval, ParseDuration(options.scrub_interval));
  scrub.warn = LogWarning;
  if (scrub.bytes_per_second == 0) return std::nullopt;
  return scrub;
}

absl::StatusOr<absl::Duration> ToWatchInterval(const AgentArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const absl::Duration interval, ParseDuration(options.watch_interval));
  if (interval > absl::ZeroDuration()) return interval;
  return UsageError("--watch-interval 0 leaves no time between two looks; say 10s, for instance");
}

// Unset without --warm.
absl::StatusOr<std::optional<WarmOptions>> ToWarmOptions(const AgentArguments& options) {
  WarmOptions warm;
  MUSTER_ASSIGN_OR_RETURN(warm.reserve_bytes, ParseSize(options.warm_reserve));
  if (!options.warm) return std::nullopt;
  return warm;
}

// What becomes of shards whose entries are found to be bad, or gone.
OnGone FetchAgain(Agent& agent) {
  return [&agent](const std::string& key, const absl::Status& why) {
    const int shards = agent.Recheck(key);
    if (absl::IsDataLoss(why)) {
      LogWarning(std::string(why.message()));
    } else if (shards > 0) {
      LogWarning(absl::StrCat("cache entry ", key, " is gone; fetching it again"));
    }
  };
}

// What the server knows the node's machine by. Where it can't be kept, the next life of this agent
// waits for the lease of this one.
std::string IdentityOf(const NodeFolder& folder, Random& random) {
  absl::StatusOr<std::string> identity = folder.Identity(random);
  if (identity.ok()) return *std::move(identity);
  LogWarning(absl::StrCat(identity.status().message(),
                          "; without this file the agent, started again, waits for its own lease "
                          "to end"));
  return random.NextId();
}

// The node is no longer in the assembly, so that no later life serves it without a server.
void Forget(const AssemblyNotes& notes, const std::string& assembly) {
  const absl::Status status = notes.Remove(assembly);
  if (!status.ok()) LogWarning(std::string(status.message()));
}

absl::Status PrintCacheRoom(const Invocation& invocation, Client& client, ShardCache& cache,
                            const AgentOptions& agent) {
  MUSTER_ASSIGN_OR_RETURN(const ExpectedShards expected,
                          ExpectShards(client, agent, invocation.Call()));
  const std::vector<WantedShard> wanted = WantedOf(expected.shards);
  MUSTER_ASSIGN_OR_RETURN(const CacheRoom room, cache.Room(wanted));
  const RoomReport report{room, wanted.size(), expected.at_most};
  invocation.Print(invocation.json() ? RoomJson(report) : RoomText(report));
  return expected.at_most ? absl::OkStatus() : cache.CheckRoom(wanted);
}

// What SIGHUP does: the file's assemblies and views take the place of those that are there.
absl::Status Reload(const AgentArguments& options, std::optional<uint32_t> file_mode, Agent& agent,
                    ReadyActions& actions) {
  MUSTER_ASSIGN_OR_RETURN(const AgentConfig config, ReadAgentConfig(options.config_path));
  MUSTER_ASSIGN_OR_RETURN(const Wanted wanted, ToWanted(options, config));
  MUSTER_ASSIGN_OR_RETURN(ReadyOptions::Views views,
                          ToViews(options.ready, wanted.views, file_mode));
  if (config.flags != options.config.flags) {
    LogWarning(
        "only \"assemblies\" takes effect at once; other changes of the file wait for a restart");
  }
  actions.SetViews(views);
  agent.SetMemberships(wanted.memberships);
  LogReloaded(wanted.memberships.size());
  return absl::OkStatus();
}

// All but the hangup itself outlive the run.
void HandleHangup(Invocation& invocation, const AgentArguments& options,
                  std::optional<uint32_t> file_mode, Agent& agent, ReadyActions& actions) {
  // A terminal that is closed takes its agent along; to a service SIGHUP means "reload".
  if (options.config_path.empty() && !invocation.is_terminal()) {
    invocation.hangup().Handle(
        [] { LogWarning("SIGHUP: nothing to reload, as there is no --config; carrying on"); });
  } else if (!options.config_path.empty()) {
    invocation.hangup().Handle([&options, file_mode, &agent, &actions] {
      const absl::Status status = Reload(options, file_mode, agent, actions);
      if (!status.ok()) LogWarning(absl::StrCat("nothing is changed: ", status.message()));
    });
  }
}

// Sentences for a person who watches a terminal, lines for all else.
std::unique_ptr<AgentReporter> MakeReporter(const Invocation& invocation,
                                            const AgentArguments& options,
                                            AgentReporter::Followers followers) {
  if (!invocation.is_terminal() || options.log || invocation.json()) {
    return std::make_unique<AgentLog>(invocation.clock(), std::move(followers));
  }
  return std::make_unique<AgentScreen>(
      invocation.clock(),
      [&invocation](const std::string& label) { return invocation.NewProgressBar(label); },
      std::move(followers));
}

// What was typed, understood.
struct AgentPlan {
  std::optional<ScrubOptions> scrub;
  absl::Duration watch_interval;
  std::optional<WarmOptions> warm;
  AgentOptions agent;
  std::optional<uint32_t> file_mode;
  ReadyOptions ready;
};

absl::StatusOr<AgentPlan> ToPlan(const AgentArguments& options) {
  AgentPlan plan;
  MUSTER_ASSIGN_OR_RETURN(plan.scrub, ToScrubOptions(options));
  MUSTER_ASSIGN_OR_RETURN(plan.watch_interval, ToWatchInterval(options));
  MUSTER_ASSIGN_OR_RETURN(plan.warm, ToWarmOptions(options));
  MUSTER_ASSIGN_OR_RETURN(const Wanted wanted, ToWanted(options, options.config));
  MUSTER_ASSIGN_OR_RETURN(plan.agent, ToAgentOptions(options, wanted.memberships));
  MUSTER_ASSIGN_OR_RETURN(plan.file_mode, FileModeOf(options.cache));
  MUSTER_ASSIGN_OR_RETURN(ReadyOptions::Views views,
                          ToViews(options.ready, wanted.views, plan.file_mode));
  MUSTER_ASSIGN_OR_RETURN(std::optional<ReadyOptions> ready,
                          ToReadyOptions(options.ready, std::move(views)));
  // Also without a view and a command: what is READY is noted, and a view may come with a later reading
  // of the file.
  if (ready.has_value()) plan.ready = *std::move(ready);
  plan.ready.withheld_variables = SecretVariables(options.cache.keys);
  return plan;
}

// What an agent does while no server answers; empty where nothing is noted. Both outlive it.
std::function<void(const absl::Status&)> ServeNoted(const NotedAssemblies& noted,
                                                    const std::unique_ptr<ReadyActions>& actions) {
  if (noted.empty()) return {};
  return [&actions, &noted](const absl::Status& /*away*/) {
    for (const auto& one : noted) actions->ReadyOffline(one);
  };
}

absl::Status RunAgent(Invocation& invocation, const AgentArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(AgentPlan plan, ToPlan(options));
  MUSTER_ASSIGN_OR_RETURN(PullerOptions puller_options, ToPullerOptions(options.pull));
  MUSTER_ASSIGN_OR_RETURN(const auto stores,
                          OpenLocations(invocation, options.pull, UnnamedLocations::kRemote));
  MUSTER_ASSIGN_OR_RETURN(const auto cache,
                          OpenCache(invocation, options.cache, puller_options.memory, LogWarning));
  const NodeFolder folder(cache->place().path, plan.agent.node.name());
  MUSTER_ASSIGN_OR_RETURN(
      const AgentConnection connection,
      ConnectAgent(invocation, options.enrolment, folder, plan.agent.node.name(),
                   kFirstContactTimeout, options.dry_run, LogWarning));
  Client* const client = connection.client.get();
  if (options.dry_run) return PrintCacheRoom(invocation, *client, *cache, plan.agent);
  SetUpLog(options.log_level);
  const AssemblyNotes notes(folder);
  plan.agent.identity = IdentityOf(folder, invocation.random());
  puller_options.warn = [](absl::string_view warning) { LogWarning(std::string(warning)); };
  Puller puller(*stores, invocation.clock(), invocation.random(), puller_options);
  const std::unique_ptr<ShardFetcher> fetcher =
      NewCacheFetcher(*client, puller, *cache, plan.agent.node.name());
  // Set before the agent runs, and so before anything is READY.
  std::unique_ptr<ModelWarmer> warmer;
  std::unique_ptr<ReadyActions> actions;
  const auto reporter =
      MakeReporter(invocation, options,
                   {.ready =
                        [&warmer, &actions](const std::string& assembly) {
                          if (warmer != nullptr) warmer->Warm(assembly);
                          actions->Ready(assembly);
                        },
                    .gone = [&notes](const std::string& assembly) { Forget(notes, assembly); }});
  const NotedAssemblies noted =
      ReadNoted(notes, plan.agent.memberships, invocation.random(), LogWarning);
  plan.agent.serve_offline = ServeNoted(noted, actions);
  Agent agent(*client, *fetcher, *reporter, invocation.clock(), invocation.random(), plan.agent);
  const CacheWatcher watcher(*cache, invocation.clock(), plan.watch_interval, FetchAgain(agent));
  std::optional<CacheScrubber> scrubber;
  if (plan.scrub.has_value()) {
    scrubber.emplace(*cache, invocation.clock(), *plan.scrub, FetchAgain(agent));
  }
  const auto shards_of = [&agent](const std::string& assembly) { return agent.ShardsOf(assembly); };
  if (plan.warm.has_value()) {
    warmer = std::make_unique<ModelWarmer>(
        *cache, *plan.warm, shards_of,
        [&reporter](const std::string& assembly, const WarmReport& report) {
          reporter->OnWarmed(assembly, report);
        });
  }
  NoteReady(*client, *cache, puller, notes, shards_of, plan.ready);
  actions = std::make_unique<ReadyActions>(
      *client, invocation.clock(), invocation.random(), *reporter,
      [&](Client& says, ViewOptions view) {
        view.warn = LogWarning;
        view.kept_companions = {CompanionsOf(notes)};
        return BuildView(says, puller, *cache, view);
      },
      shards_of, plan.ready);
  HandleHangup(invocation, options, plan.file_mode, agent, *actions);
  const auto renewer = StartRenewal(invocation, connection);
  const absl::Status status = agent.Run(invocation.stop());
  invocation.hangup().Handle({});
  // They ask the agent for shards.
  actions.reset();
  warmer.reset();
  // Whoever stops an agent wants it to end well, also when it had not got far.
  return invocation.stop().stop_requested() ? absl::OkStatus() : status;
}

// What is done with the cache beside filling it.
void AddUpkeepFlags(CLI::App& command, AgentArguments& options) {
  command
      .add_option("--scrub-rate", options.scrub_rate,
                  "Bytes of the cache that are read and checked per second in the background; "
                  "corrupt shards are fetched again; 0: off")
      ->capture_default_str();
  command
      .add_option("--scrub-interval", options.scrub_interval,
                  "From one check of the whole cache to the next, at least")
      ->capture_default_str();
  command
      .add_option(
          "--watch-interval", options.watch_interval,
          "From one look at whether shards that are READY, or linked by views, were changed "
          "on the disk to the next")
      ->capture_default_str();
  command.add_flag("--warm", options.warm,
                   "Once a model is READY, read it into the page cache, in order of shards, as far "
                   "as memory is free; nothing to do for a --cache on /dev/shm");
  command
      .add_option("--warm-reserve", options.warm_reserve,
                  "With --warm: of the memory that the system calls available, leave this much")
      ->capture_default_str();
}

void AddNodeFlags(CLI::App& command, AgentArguments& options) {
  command.add_option(
      "--config", options.config_path,
      "YAML file with flags (long names without dashes) and \"assemblies\": names, or maps "
      "with name, claim and view. SIGHUP rereads the assemblies");
  command
      .add_option("--node", options.node,
                  "Name of this node, unique in the cluster (default: the host's name)")
      ->check(RefuseEmpty);
  command
      .add_option("--assembly", options.assemblies,
                  "The assembly to join; several by repeating it, each with the same claim; "
                  "required unless --config names some")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  AddCacheFlags(command, options.cache);
  command
      .add_option("--claim", options.claim,
                  "any: whatever the server gives; all; shards such as 0,3-5; or ranks such as "
                  "ranks:0-7")
      ->capture_default_str();
  command.add_option("--capacity", options.capacity,
                     "Bytes of shards to hold at most, such as 80GiB (default: no bound)");
  command.add_option("--address", options.address, "Where this node can be reached, for people");
  command.add_option("--label", options.labels, "key=value, may be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--lease-ttl", options.lease_ttl,
                     "The node counts as lost after this long without a heartbeat (default: the "
                     "server's, 10s)");
  command
      .add_option("--on-stop", options.on_stop,
                  "What becomes of the membership on SIGTERM: stay, leave or deregister")
      ->check(CLI::IsMember({"stay", "leave", "deregister"}))
      ->capture_default_str();
  command.add_option("--parallel-shards", options.parallel_shards, "Shards fetched at once")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  AddUpkeepFlags(command, options);
  AddEnrolmentFlags(command, options.enrolment);
  command.add_flag("--take-over", options.take_over,
                   "Take the node's name at once from another machine that has it; that one's "
                   "agent stops");
  command.add_flag("--dry-run", options.dry_run, kRoomDryRunHelp);
  command.add_flag("--log", options.log,
                   "key=value lines also on a terminal, where sentences and a line of progress "
                   "are the default");
  command.add_option("--log-level", options.log_level, "debug, info, warn or error")
      ->envname("MUSTER_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
}

// MUSTER_CACHE_BUDGET for --cache-budget, and so on.
void NameVariables(CLI::App& command) {
  for (CLI::Option* const option : command.get_options()) {
    if (option->get_lnames().empty() || !option->get_envname().empty()) continue;
    const std::string& flag = option->get_lnames().front();
    if (flag == "help" || flag == "dry-run") continue;
    // MUSTER_CONFIG is the file of the command line's own contexts.
    const std::string name = flag == "config" ? "agent-config" : flag;
    option->envname(
        absl::StrCat("MUSTER_", absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}}))));
  }
}

// "" where it has none.
std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  return gethostname(name, HOST_NAME_MAX) == 0 ? name : "";
}

}  // namespace

void AddAgentCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "agent", "Run a node: register, join, pull the assigned shards, verify and report");
  auto options = std::make_shared<AgentArguments>();
  AddNodeFlags(*command, *options);
  AddPullFlags(*command, options->pull, UnnamedLocations::kRemote);
  AddAssemblyFlags(*command, options->create, /*required=*/false);
  AddReadyFlags(*command, options->ready);
  // Not before: other commands would stumble over values that are meant for an agent.
  command->preparse_callback([command](size_t) { NameVariables(*command); });
  command->footer(
      "Each flag can also be given by an environment variable: --cache-budget by "
      "MUSTER_CACHE_BUDGET, --config by MUSTER_AGENT_CONFIG. A flag goes before a variable, and "
      "that "
      "before the file of --config.\n"
      "With --model the assembly is created if it is absent; an existing one that "
      "differs is refused. Shards that don't fit into the cache as a whole are refused before "
      "the first byte and reported as NO_SPACE, with what is needed and what there is room for.\n"
      "Logs key=value lines to stderr; on a terminal, without --log, it says in sentences what it "
      "does. Runs until SIGTERM or SIGINT, over restarts of the "
      "server.\n"
      "While no server answers it serves what it last knew: see docs/cache-and-views.md.\n"
      "Exit codes: 0 stopped by a signal; 4 no server was reached at the start, and there was "
      "nothing to serve without; 5 another "
      "process registered under the node's name; 7 another machine has the name and is alive; 1 "
      "otherwise, also when --dry-run finds no "
      "room.\n\n"
      "Examples:\n"
      "  muster agent --node n1 --assembly demo --cache /var/cache/muster\n"
      "  muster agent --node n2 --assembly demo --cache /var/cache/muster --claim 0,3-5 --zone "
      "rack7\n"
      "  muster agent --node n3 --assembly demo --cache /c --model llama@v1 --policy balanced "
      "--min-nodes 3\n"
      "  muster agent --node n1 --assembly demo --cache /var/cache/muster --warm "
      "--warm-reserve 64GiB\n"
      "  muster agent --node n1 --assembly demo --cache /srv/cache --view /srv/llama "
      "--on-ready 'systemctl start vllm'\n"
      "  muster agent --node n1 --assembly llama --assembly mixtral --cache /srv/cache --view "
      "/srv/llama --view /srv/mixtral\n"
      "  muster agent --config /etc/muster/agent.yaml --node n1\n"
      "  muster agent --server muster:7070 --node n1 --assembly demo --cache /srv/cache --join "
      "@/run/secrets/join --ca sha256:9f86…\n"
      "  MUSTER_ASSEMBLY=demo MUSTER_ZONE=rack7 muster agent       # as the host, into the default "
      "cache\n"
      "  muster agent --node n1 --assembly demo --cache /var/cache/muster --dry-run --json");
  command->callback([options, command, &chosen] {
    if (!options->config_path.empty()) {
      absl::StatusOr<AgentConfig> config = ReadAgentConfig(options->config_path);
      if (!config.ok()) throw CLI::ConfigError(std::string(config.status().message()));
      options->config = *std::move(config);
      TakeFlags(options->config, options->config_path, *command);
    }
    chosen = [options](Invocation& invocation) {
      if (options->node.empty()) options->node = HostName();
      if (options->cache.directory.empty()) {
        options->cache.directory = DefaultCacheDirectory(invocation);
      }
      return RunAgent(invocation, *options);
    };
  });
}

}  // namespace muster
