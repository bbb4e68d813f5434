#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/event_lines.h"
#include "client/cli/json_output.h"
#include "client/cli/reason_advice.h"
#include "client/cli/values.h"
#include "client/sdk/pages.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr size_t kEventsShown = 12;
// Of the nodes that the reasons name, whose own events are shown, too.
constexpr size_t kNodesAsked = 3;

struct ExplainArguments {
  std::string assembly;
  uint32_t shard = 0;
  bool has_shard = false;
  std::string node;
};

// The last events of the assembly and of the nodes that its reasons name, oldest first.
absl::StatusOr<std::vector<v1::Event>> LastEvents(const Invocation& invocation, Client& client,
                                                  const v1::Assembly& assembly) {
  std::map<std::pair<uint64_t, uint32_t>, v1::Event> events;
  const auto collect = [&](const v1::EventFilter& filter) -> absl::Status {
    v1::ListEventsRequest request;
    *request.mutable_filter() = filter;
    request.set_tail(kEventsShown);
    const auto keep = [&](const v1::Event& event) {
      events.emplace(std::make_pair(event.revision(), event.sequence()), event);
      return absl::OkStatus();
    };
    return ForEachEvent(client, request, keep, invocation.Call()).status();
  };
  v1::EventFilter of_assembly;
  of_assembly.set_assembly(assembly.name());
  MUSTER_RETURN_IF_ERROR(collect(of_assembly));
  std::set<std::string> nodes;
  for (const v1::AssemblyReason& reason : assembly.reasons()) {
    if (reason.node().empty() || nodes.size() == kNodesAsked) continue;
    if (!nodes.insert(reason.node()).second) continue;
    // Its other assemblies are not asked about.
    v1::EventFilter of_node;
    of_node.set_node(reason.node());
    for (const auto kind :
         {v1::Event::NODE_REGISTERED, v1::Event::NODE_LOST, v1::Event::NODE_RELEASED,
          v1::Event::NODE_REVIVED, v1::Event::NODE_DRAIN, v1::Event::NODE_REMOVED}) {
      of_node.add_kinds(kind);
    }
    MUSTER_RETURN_IF_ERROR(collect(of_node));
  }
  std::vector<v1::Event> last;
  for (auto& [position, event] : events) last.push_back(std::move(event));
  if (last.size() > kEventsShown) last.erase(last.begin(), last.end() - kEventsShown);
  return last;
}

std::string ReasonsText(const v1::Assembly& assembly) {
  std::string out;
  for (const v1::AssemblyReason& reason : assembly.reasons()) {
    const std::string code = reason.code() == v1::AssemblyReason::CODE_UNSPECIFIED
                                 ? ""
                                 : v1::AssemblyReason::Code_Name(reason.code()) + ": ";
    absl::StrAppend(&out, "  - ", code, Printable(reason.message()), "\n");
    const std::string advice = AdviceFor(reason, assembly);
    if (!advice.empty()) absl::StrAppend(&out, "    do: ", Printable(advice), "\n");
  }
  return out;
}

std::string AssemblyText(const v1::Assembly& assembly, const std::vector<v1::Event>& events) {
  const std::string name = ShortName(assembly.name());
  std::string out = absl::StrCat(
      name, " of ", ShortModelVersionName(assembly.model_version()), " is ",
      v1::Assembly::State_Name(assembly.state()), ": ", assembly.shards_ready(), " of ",
      CountOf(assembly.shard_count(), "shard"), " and ", assembly.replicas_ready(), " of ",
      CountOf(assembly.replicas_required(), "replica"), " ready; ", assembly.nodes_live(), " of ",
      CountOf(assembly.nodes_joined(), "node"), " live\n");
  absl::StrAppend(&out, ReasonsText(assembly));
  if (assembly.moves_in_progress() > 0) {
    absl::StrAppend(&out, "  - ", CountOf(assembly.moves_in_progress(), "move"),
                    " in progress, which take nothing from READY\n");
  }
  if (!events.empty()) {
    absl::StrAppend(&out, "\nThe last events:\n", EventsTable(events, absl::LocalTimeZone()));
  }
  absl::StrAppend(&out, "\nMore: `muster status ", name, "` (every node), `muster explain ", name,
                  " SHARD` (who holds a shard, and why),\n`muster events --assembly ", name,
                  " --follow`\n");
  return out;
}

std::string AssemblyJson(const v1::Assembly& assembly, const std::vector<v1::Event>& events) {
  std::vector<std::string> advice, event_json;
  for (const v1::AssemblyReason& reason : assembly.reasons()) {
    advice.push_back(JsonString(AdviceFor(reason, assembly)));
  }
  for (const v1::Event& event : events) event_json.push_back(MessageToJson(event));
  JsonObject json;
  json.AddRaw("assembly", MessageToJson(assembly));
  json.AddRaw("advice", JsonArray(advice));
  json.AddRaw("events", JsonArray(event_json));
  return json.ToString();
}

absl::Status ExplainAssembly(Invocation& invocation, Client& client, const std::string& name) {
  v1::GetAssemblyRequest request;
  request.set_name(name);
  MUSTER_ASSIGN_OR_RETURN(const auto response, client.GetAssembly(request, invocation.Call()));
  const v1::Assembly& assembly = response.assembly();
  MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Event> events,
                          LastEvents(invocation, client, assembly));
  if (invocation.json()) {
    invocation.PrintLine(AssemblyJson(assembly, events));
  } else {
    invocation.Print(AssemblyText(assembly, events));
  }
  return absl::OkStatus();
}

std::string ReplicaState(const v1::AssignmentVerdict& verdict) {
  if (!verdict.has_replica()) return "-";
  return absl::StrCat(v1::ShardReport::State_Name(verdict.replica().state()),
                      verdict.replica().node_live() ? "" : ", lost");
}

std::string ShardText(const std::string& assembly, const v1::ExplainAssignmentResponse& response) {
  std::string out = absl::StrCat("shard ", response.shard(), " of ", ShortName(assembly), ": ",
                                 FormatSize(static_cast<int64_t>(response.size_bytes())),
                                 ", wanted on ", CountOf(response.replicas_wanted(), "node"), "\n");
  if (response.nodes_size() == 0) return absl::StrCat(out, "no node has joined\n");
  Table table({{"NODE"},
               {"OUTCOME"},
               {"RULE"},
               {"STATE"},
               {"ZONE"},
               {"ASSIGNED", Table::Align::kRight},
               {"CAPACITY", Table::Align::kRight},
               {"WHY"}});
  for (const v1::AssignmentVerdict& verdict : response.nodes()) {
    table.Add({ShortName(verdict.node()), v1::AssignmentVerdict::Outcome_Name(verdict.outcome()),
               v1::AssignmentVerdict::Rule_Name(verdict.rule()), ReplicaState(verdict),
               verdict.zone().empty() ? "-" : verdict.zone(),
               FormatSize(static_cast<int64_t>(verdict.assigned_bytes())),
               verdict.capacity_bytes() == 0
                   ? "no bound"
                   : FormatSize(static_cast<int64_t>(verdict.capacity_bytes())),
               verdict.message()});
  }
  absl::StrAppend(&out, table.ToString());
  return out;
}

absl::Status ExplainShard(Invocation& invocation, Client& client, const std::string& assembly,
                          const ExplainArguments& options) {
  v1::ExplainAssignmentRequest request;
  request.set_name(assembly);
  request.set_shard(options.shard);
  if (!options.node.empty()) {
    MUSTER_ASSIGN_OR_RETURN(*request.mutable_node(), FullNodeName(options.node));
  }
  MUSTER_ASSIGN_OR_RETURN(const auto response,
                          client.ExplainAssignment(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else {
    invocation.Print(ShardText(assembly, response));
  }
  return absl::OkStatus();
}

absl::Status RunExplain(Invocation& invocation, const ExplainArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string assembly, FullAssemblyName(options.assembly));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  return options.has_shard ? ExplainShard(invocation, *client, assembly, options)
                           : ExplainAssembly(invocation, *client, assembly);
}

}  // namespace

void AddExplainCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "explain", "Say why an assembly is not READY, or why a shard is on its nodes");
  auto options = std::make_shared<ExplainArguments>();
  command->add_option("ASSEMBLY", options->assembly, "The assembly")->required();
  CLI::Option* const shard = command->add_option("SHARD", options->shard, "A shard's index, from 0")
                                 ->check(CLI::Range(0u, uint32_t{kMaxShardsPerVersion - 1}));
  command->add_option("--node", options->node, "With SHARD: only this node")->needs(shard);
  command->footer(
      "Without SHARD: the assembly's state, what to do about each reason, and its last events. "
      "With "
      "SHARD:\n"
      "for every node the outcome (HOLDS, INCOMING, LEAVING, POSSIBLE, REFUSED), the rule that "
      "decided and a\n"
      "sentence with the numbers.\n"
      "With --json: {assembly, advice, events}, the advice in the order of the reasons; with SHARD "
      "the\n"
      "ExplainAssignmentResponse.\n\n"
      "Examples:\n"
      "  muster explain demo\n"
      "  muster explain demo 3\n"
      "  muster explain demo 3 --node n2");
  command->callback([options, shard, &chosen] {
    options->has_shard = !shard->empty();
    chosen = [options](Invocation& invocation) { return RunExplain(invocation, *options); };
  });
}

}  // namespace muster
