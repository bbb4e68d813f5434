#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <stop_token>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/repeated_view.h"
#include "client/cli/values.h"
#include "client/cli/wait_progress.h"
#include "client/sdk/wait.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct WaitArguments {
  std::string assembly;
  std::string node;
  uint32_t nodes = 0;
};

constexpr absl::Duration kShowInterval = absl::Seconds(1);
constexpr absl::Duration kWaitFirstContactTimeout = absl::Seconds(60);

std::string ReadyLine(const v1::WatchAssemblyResponse& state, const WaitOptions& wait,
                      const std::string& nodes) {
  const v1::Assembly& assembly = state.assembly();
  if (!wait.node.empty()) {
    return absl::StrCat(ShortName(wait.node), " is READY in ", ShortName(wait.assembly), ": ",
                        CountOf(state.member().shards_ready(), "shard"), ", ",
                        FormatSize(static_cast<int64_t>(state.member().ready_bytes())));
  }
  if (wait.nodes > 0) {
    return absl::StrCat(ShortName(wait.assembly), " has ", nodes, ", and is ",
                        v1::Assembly::State_Name(assembly.state()));
  }
  const std::string where = assembly.nodes_joining() > 0
                                ? absl::StrCat("; ", nodes)
                                : absl::StrCat(" on ", CountOf(assembly.nodes_ready(), "node"));
  return absl::StrCat(ShortName(wait.assembly), " is READY: ", assembly.shards_ready(), " of ",
                      CountOf(assembly.shard_count(), "shard"), where);
}

// Who is joining is not on the watch.
std::string NodesNow(const Invocation& invocation, Client& client, const v1::Assembly& assembly) {
  if (assembly.nodes_joining() == 0) return NodesReadyText(assembly, {});
  v1::GetAssemblyRequest request;
  request.set_name(assembly.name());
  const absl::StatusOr<v1::GetAssemblyResponse> now =
      client.GetAssembly(request, invocation.Call());
  if (!now.ok()) return NodesReadyText(assembly, {});
  return NodesReadyText(now->assembly(), {now->members().begin(), now->members().end()});
}

// The watch tells of shards, but not of the bytes on their way: those are asked for, where somebody looks on.
std::jthread KeepShowing(const Invocation& invocation, Client& client, const std::string& assembly,
                         WaitProgress& progress) {
  return std::jthread([&invocation, &client, assembly, &progress](const std::stop_token& stop) {
    v1::GetAssemblyRequest request;
    request.set_name(assembly);
    do {
      progress.OnTime();
      if (!invocation.live().can_redraw()) continue;
      CallOptions call;
      call.stop = stop;
      call.timeout = kShowInterval;
      const auto response = client.GetAssembly(request, call);
      if (response.ok()) progress.OnMembers(*response);
    } while (!PauseUnless(stop, kShowInterval));
  });
}

absl::Status RunWait(Invocation& invocation, const WaitArguments& options) {
  WaitOptions wait;
  MUSTER_ASSIGN_OR_RETURN(wait.assembly, FullAssemblyName(options.assembly));
  if (!options.node.empty()) {
    MUSTER_ASSIGN_OR_RETURN(wait.node, FullNodeName(options.node));
  }
  wait.nodes = options.nodes;
  MUSTER_ASSIGN_OR_RETURN(wait.retry.timeout, invocation.Timeout(absl::InfiniteDuration()));
  wait.retry.first_contact_timeout = std::min(kWaitFirstContactTimeout, wait.retry.timeout);
  wait.retry.stop = invocation.stop();
  WaitProgress progress(invocation.clock(), invocation.live(), wait.assembly, wait.node,
                        [&](const std::string& line) { invocation.Note(line); });
  wait.on_state = [&](const v1::WatchAssemblyResponse& state) {
    progress.OnState(state.assembly());
  };
  wait.retry.on_disconnect = [&](const absl::Status& status) { progress.OnDisconnect(status); };
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  WaitResult result;
  {
    const std::jthread keeping = KeepShowing(invocation, *client, wait.assembly, progress);
    result = WaitUntilReady(*client, invocation.clock(), invocation.random(), wait);
  }
  if (invocation.json()) {
    if (result.last.has_assembly()) invocation.PrintJson(result.last);
  } else if (result.status.ok()) {
    invocation.PrintLine(
        ReadyLine(result.last, wait, NodesNow(invocation, *client, result.last.assembly())));
  }
  return result.status;
}

}  // namespace

void AddWaitCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command =
      app.add_subcommand("wait", "Wait until an assembly, or one node in it, is READY");
  auto options = std::make_shared<WaitArguments>();
  command->add_option("ASSEMBLY", options->assembly, "The assembly")->required();
  CLI::Option* const node =
      command->add_option("--node", options->node, "Wait for this node's readiness instead");
  command
      ->add_option("--nodes", options->nodes,
                   "Wait until so many nodes hold what is theirs, whatever the assembly's state")
      ->check(CLI::Range(1, kMaxMinNodes))
      ->excludes(node);
  command->footer(
      "Watches the assembly, which must be there; a server that restarts meanwhile is waited for. "
      "On a terminal one line shows bytes, rate, time left and the slowest node; elsewhere each "
      "change of the state is a line, and other news one in 10 s at most. --timeout says how long "
      "to wait, such as 60s or 10m (default: for ever).\n"
      "A job of N ranks waits for the assembly, with --min-nodes N; one replica of a service for "
      "its own node, with --node; a rollout for the nodes that it has started, with --nodes.\n"
      "Exit codes: 0 READY; 3 timed out, with the reasons on stderr; 4 the server was never "
      "reached;\n"
      "1 there is no such assembly.\n\n"
      "Examples:\n"
      "  muster wait demo --timeout 60s\n"
      "  muster wait demo --nodes 8\n"
      "  muster wait demo --node n1 --timeout 5m && start-serving");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunWait(invocation, *options); };
  });
}

}  // namespace muster
