#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/repeated_view.h"
#include "client/cli/shard_matrix.h"
#include "client/hash/parallel.h"
#include "client/sdk/pages.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::StatusOr<v1::GetAssemblyResponse> GetAssemblyView(const Invocation& invocation,
                                                        Client& client, const std::string& name) {
  v1::GetAssemblyRequest request;
  request.set_name(name);
  return client.GetAssembly(request, invocation.Call());
}

// Asking for every shard of a bigger assembly would take seconds.
constexpr uint64_t kMaxReplicasToAsk = 20'000;
constexpr size_t kShardsAskedAtOnce = 16;
// Lines of the whole output that are not one per node: the assembly, titles, reasons, marks.
constexpr size_t kOtherLines = 12;
constexpr size_t kMinNodes = 4;
constexpr size_t kMaxFailures = 5;

struct StatusArguments {
  std::string assembly;
  bool all = false;
  bool watch = false;
};

// Of every shard; none where those are too many.
absl::StatusOr<std::vector<v1::GetShardStatusResponse>> AskShards(const Invocation& invocation,
                                                                  Client& client,
                                                                  const v1::Assembly& assembly) {
  std::vector<v1::GetShardStatusResponse> statuses;
  const uint64_t replicas =
      std::max<uint64_t>(assembly.replicas_required(), assembly.shard_count());
  if (replicas > kMaxReplicasToAsk) return statuses;
  statuses.resize(assembly.shard_count());
  MUSTER_RETURN_IF_ERROR(RunInParallel(
      statuses.size(), kShardsAskedAtOnce, invocation.stop(),
      [&](size_t shard, const std::stop_token& stop) -> absl::Status {
        v1::GetShardStatusRequest request;
        request.set_name(assembly.name());
        request.set_shard(static_cast<uint32_t>(shard));
        CallOptions call = invocation.Call();
        call.stop = stop;
        MUSTER_ASSIGN_OR_RETURN(statuses[shard], client.GetShardStatus(request, call));
        return absl::OkStatus();
      }));
  return statuses;
}

// A table of the nodes and a picture of their shards, both of as many nodes as fit the terminal.
absl::StatusOr<std::string> NodesAndShards(const Invocation& invocation, Client& client,
                                           const v1::GetAssemblyResponse& response, bool all) {
  const size_t room = invocation.rows() > kOtherLines ? (invocation.rows() - kOtherLines) / 2 : 0;
  const std::vector<v1::AssemblyMember> members(response.members().begin(),
                                                response.members().end());
  const std::vector<v1::AssemblyMember> shown =
      MembersToShow(members, all ? members.size() : std::max(room, kMinNodes));
  std::string out = MembersTable(shown);
  const std::string hidden = HiddenMembers(members, shown, response.assembly().nodes_joined());
  if (!hidden.empty()) absl::StrAppend(&out, hidden, "\n");
  if (response.assembly().replicas_required() == 0) return out;
  MUSTER_ASSIGN_OR_RETURN(const auto statuses, AskShards(invocation, client, response.assembly()));
  return absl::StrCat(out, "\n", ShardMatrix(shown, statuses, invocation.columns()),
                      FailedReplicas(statuses, all ? SIZE_MAX : kMaxFailures));
}

// For people, or JSON.
absl::StatusOr<View> ViewOfOne(const Invocation& invocation, Client& client,
                               const std::string& name, bool all) {
  MUSTER_ASSIGN_OR_RETURN(const auto response, GetAssemblyView(invocation, client, name));
  if (invocation.json()) return View{invocation.JsonText(MessageToJson(response))};
  std::string text = AssemblySummary(response);
  if (response.members_size() > 0) {
    MUSTER_ASSIGN_OR_RETURN(const std::string nodes,
                            NodesAndShards(invocation, client, response, all));
    absl::StrAppend(&text, nodes);
  }
  return View{text};
}

absl::StatusOr<View> ViewOfAll(const Invocation& invocation, Client& client) {
  const CallOptions call = invocation.Call();
  MUSTER_ASSIGN_OR_RETURN(const auto models, ListAllModelVersions(client, "", call));
  MUSTER_ASSIGN_OR_RETURN(const auto assemblies, ListAllAssemblies(client, "", call));
  MUSTER_ASSIGN_OR_RETURN(const auto nodes, ListAllNodes(client, call));
  if (invocation.json()) {
    const auto array = [](const auto& items) {
      std::vector<std::string> json;
      for (const auto& item : items) json.push_back(MessageToJson(item));
      return JsonArray(json);
    };
    JsonObject all;
    all.AddRaw("model_versions", array(models));
    all.AddRaw("assemblies", array(assemblies));
    all.AddRaw("nodes", array(nodes));
    return View{invocation.JsonText(all.ToString())};
  }
  if (models.empty() && nodes.empty()) {
    return View{"nothing here yet; `muster publish` stores a model\n"};
  }
  const auto text_at = [&](absl::Time now) {
    std::vector<std::string> sections;
    if (!models.empty()) sections.push_back(ModelVersionsTable(models, now));
    if (!assemblies.empty()) sections.push_back(AssembliesTable(assemblies));
    if (!nodes.empty()) sections.push_back(NodesTable(nodes, now));
    return absl::StrJoin(sections, "\n");
  };
  return View{text_at(invocation.clock().Now()), text_at(kNoAges)};
}

absl::Status RunStatus(Invocation& invocation, const StatusArguments& options) {
  std::string name;
  if (!options.assembly.empty()) {
    MUSTER_ASSIGN_OR_RETURN(name, FullAssemblyName(options.assembly));
  }
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  const auto make = [&] {
    return name.empty() ? ViewOfAll(invocation, *client)
                        : ViewOfOne(invocation, *client, name, options.all);
  };
  if (options.watch) return ShowRepeatedly(invocation, make, invocation.stop());
  MUSTER_ASSIGN_OR_RETURN(const View view, make());
  invocation.Print(view.text);
  return absl::OkStatus();
}

}  // namespace

void AddStatusCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command =
      app.add_subcommand("status", "Show an assembly with its nodes, or everything there is");
  auto options = std::make_shared<StatusArguments>();
  command->add_option("ASSEMBLY", options->assembly,
                      "The assembly; without it, all models, assemblies and nodes");
  command->add_flag(
      "--all", options->all,
      "Every node and every failure of the assembly, not just what fits the terminal");
  command->add_flag("-w,--watch", options->watch,
                    "Show it again every 2 s, in place on a terminal, until SIGINT; elsewhere "
                    "whenever it changes");
  command->footer(
      "Of an assembly: its nodes, and a picture with a line per node and a column per shard "
      "(or per\n"
      "several, or shares of bytes where there are more than 20,000 replicas). What needs a "
      "look comes first\n"
      "where not all nodes fit the terminal. Moves in progress, shards that wait for a place "
      "at a bounded location, shards that were given up and\n"
      "drains are shown if there are any; `muster explain ASSEMBLY` says what to do.\n"
      "With --json: of one assembly {assembly, members, revision}; of all {model_versions, "
      "assemblies, nodes}.\n\n"
      "Examples:\n"
      "  muster status\n"
      "  muster status demo\n"
      "  muster status demo --watch\n"
      "  muster status demo --json");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunStatus(invocation, *options); };
  });
}

}  // namespace muster
