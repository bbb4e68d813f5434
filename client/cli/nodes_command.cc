#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/consent.h"
#include "client/cli/display.h"
#include "client/cli/list_output.h"
#include "client/cli/plan_preview.h"
#include "client/cli/values.h"
#include "client/sdk/drain_wait.h"
#include "client/sdk/pages.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct NodesArguments {
  ListFlags list;
  std::string name;
  std::string zone;
  bool has_zone = false;
  bool dry_run = false;
  bool force = false;
  // Of a listing.
  std::string state;
  std::vector<std::string> labels;
};

absl::Status ListNodes(Invocation& invocation, const NodesArguments& options) {
  v1::ListNodesRequest filter;
  if (!options.state.empty()) {
    v1::Node::State state = v1::Node::STATE_UNSPECIFIED;
    if (!v1::Node::State_Parse(absl::AsciiStrToUpper(options.state), &state) ||
        state == v1::Node::STATE_UNSPECIFIED) {
      return UsageError(absl::StrCat("--state ", options.state, ": expected LIVE or LOST"));
    }
    filter.set_state(state);
  }
  if (options.has_zone) filter.set_zone(options.zone);
  MUSTER_ASSIGN_OR_RETURN(const auto labels, ParseLabels(options.labels));
  filter.mutable_labels()->insert(labels.begin(), labels.end());
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  return ShowList(invocation, options.list, [&]() -> absl::StatusOr<List> {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Node> nodes,
                            ListAllNodes(*client, filter, invocation.Call()));
    List list = ListOfMessages(
        nodes, [](const auto& node) { return ShortName(node.name()); },
        [](const auto& shown, bool wide, absl::Time now) { return NodesTable(shown, now, wide); });
    list.none = filter.ByteSizeLong() > 0 ? "no such nodes; `muster nodes` lists all"
                                          : "no nodes; `muster agent` registers one";
    return list;
  });
}

absl::Status ShowNode(Invocation& invocation, const NodesArguments& options) {
  v1::GetNodeRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_name(), FullNodeName(options.name));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->GetNode(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
    return absl::OkStatus();
  }
  const v1::Node& node = response.node();
  invocation.Print(NodesTable({node}, invocation.clock().Now()));
  std::vector<std::pair<std::string, std::string>> lines = {
      {"uid", node.uid()},
      {"instance", node.instance_id()},
      {"lease", absl::StrCat(node.lease_ttl().seconds(), " s")}};
  // The map has no order of its own.
  for (const auto& [key, value] :
       std::map<std::string, std::string>(node.labels().begin(), node.labels().end())) {
    lines.emplace_back("label", absl::StrCat(key, "=", value));
  }
  if (node.has_drain() && node.drain().state() != v1::Drain::DRAINED) {
    lines.emplace_back("drain", DescribeDrain(node.drain()));
  }
  invocation.Print(absl::StrCat("\n", KeyValues(lines)));
  return absl::OkStatus();
}

// The assemblies that a removal of the node would change, "demo (llama@v1, READY), …": the first few
// of those that the server's previews name.
absl::StatusOr<std::string> UsesOf(const Invocation& invocation, Client& client,
                                   v1::DeregisterNodeRequest request) {
  constexpr int kMaxUses = 3;
  request.set_validate_only(true);
  MUSTER_ASSIGN_OR_RETURN(const auto preview, client.DeregisterNode(request, invocation.Call()));
  std::vector<std::string> uses;
  for (const v1::PlanPreview& plan : preview.plans()) {
    if (uses.size() == kMaxUses) {
      uses.push_back(absl::StrCat(preview.plans_size() - kMaxUses, " more"));
      break;
    }
    v1::GetAssemblyRequest get;
    get.set_name(plan.assembly());
    const auto found = client.GetAssembly(get, invocation.Call());
    // Deleted since.
    if (absl::IsNotFound(found.status())) continue;
    MUSTER_RETURN_IF_ERROR(found.status());
    const v1::Assembly& assembly = found->assembly();
    uses.push_back(absl::StrCat(ShortName(assembly.name()), " (",
                                ShortModelVersionName(assembly.model_version()), ", ",
                                v1::Assembly::State_Name(assembly.state()), ")"));
  }
  return absl::StrJoin(uses, ", ");
}

absl::Status Deregister(Invocation& invocation, const NodesArguments& options) {
  v1::DeregisterNodeRequest request;
  request.set_validate_only(options.dry_run);
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_name(), FullNodeName(options.name));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  if (!options.force && !options.dry_run) {
    v1::GetNodeRequest get;
    get.set_name(request.name());
    MUSTER_ASSIGN_OR_RETURN(const auto found, client->GetNode(get, invocation.Call()));
    const v1::Node& node = found.node();
    // Of the one that was looked at, not of one that was made again under its name since.
    request.set_uid(node.uid());
    if (node.state() == v1::Node::LIVE) {
      MUSTER_ASSIGN_OR_RETURN(const std::string uses, UsesOf(invocation, *client, request));
      MUSTER_RETURN_IF_ERROR(
          AskWhetherToGoOn(invocation, CheckUnused(node, uses), "Remove it under its agent?"));
    }
  }
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->DeregisterNode(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else if (options.dry_run) {
    invocation.Print(PlanPreviewsText(response.plans()));
  } else {
    invocation.PrintLine(absl::StrCat("deregistered ", ShortName(request.name())));
  }
  return absl::OkStatus();
}

absl::Status ResumeMoves(Invocation& invocation, const NodesArguments& options) {
  v1::ResumeMovesRequest request;
  request.set_validate_only(options.dry_run);
  if (options.has_zone) request.set_zone(options.zone);
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->ResumeMoves(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
    return absl::OkStatus();
  }
  if (response.nodes_size() == 0) {
    invocation.PrintLine("the brake holds no node's shards back");
    return absl::OkStatus();
  }
  std::vector<std::string> names;
  for (const std::string& node : response.nodes()) names.push_back(ShortName(node));
  invocation.PrintLine(absl::StrCat("other nodes ", options.dry_run ? "would get" : "get",
                                    " the shards of ", CountOf(names.size(), "node"), ": ",
                                    Printable(absl::StrJoin(names, ", "))));
  if (options.dry_run) invocation.Print(PlanPreviewsText(response.plans()));
  return absl::OkStatus();
}

// Returns the option of the zone, which may be "".
const CLI::Option* AddNodeFilters(CLI::App& command, NodesArguments& options) {
  AddWatchedListFlags(command, options.list);
  command.add_option("--state", options.state, "Only nodes in this state: live or lost");
  command
      .add_option("--label", options.labels,
                  "Only nodes with these labels: key=value, several as a comma list or by "
                  "repeating it")
      ->delimiter(',')
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return command.add_option("--zone", options.zone,
                            "Only nodes of this zone; \"\" is that of the nodes without one");
}

}  // namespace

void AddNodesCommand(CLI::App& app, Command& chosen) {
  CLI::App* const nodes =
      app.add_subcommand("nodes", "List, show, update, drain and deregister nodes");
  auto options = std::make_shared<NodesArguments>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  nodes->require_subcommand(0, 1);
  CLI::App* const list = nodes->add_subcommand("list", "List nodes (the default)");
  for (CLI::App* const command : {nodes, list}) {
    const CLI::Option* const zone = AddNodeFilters(*command, *options);
    command->callback([nodes, command, options, zone, choose] {
      if (command == nodes && !nodes->get_subcommands().empty()) return;
      options->has_zone = !zone->empty();
      choose(ListNodes)();
    });
  }
  CLI::App* const show = nodes->add_subcommand("show", "Show one node");
  CLI::App* const deregister = nodes->add_subcommand(
      "deregister", "Remove a node with its memberships and reports; asks first while it is live");
  for (CLI::App* const command : {show, deregister}) {
    command->add_option("NODE", options->name, "The node")->required();
  }
  CLI::App* const resume = nodes->add_subcommand(
      "resume-moves",
      "Give the shards of lost nodes to others although a whole zone looks cut off");
  CLI::Option* const zone = resume->add_option(
      "--zone", options->zone, "Only of this zone; \"\" is that of the nodes without one");
  for (CLI::App* const command : {deregister, resume}) {
    command->add_flag("--dry-run", options->dry_run, kDryRunHelp);
  }
  deregister->add_flag("--force", options->force, "Remove it even if it is live, and never ask");
  deregister->footer(
      "A live node has an agent, which registers it again: stop that first. While the node is live "
      "a "
      "person is asked; without a terminal, and with --json, the command fails then (NODE_IN_USE), "
      "unless --force is given.\n\n"
      "Examples:\n"
      "  muster nodes deregister n1\n"
      "  muster nodes deregister n1 --dry-run");
  show->callback(choose(ShowNode));
  deregister->callback(choose(Deregister));
  resume->callback([options, zone, choose] {
    options->has_zone = !zone->empty();
    choose(ResumeMoves)();
  });
  AddNodesDrainCommand(*nodes, chosen);
  AddNodesReleaseNameCommand(*nodes, chosen);
  AddNodesUpdateCommand(*nodes, chosen);
  nodes->footer(
      "States: live; lost (no heartbeat for a lease); released (lost for so long that other "
      "nodes get its\n"
      "shards); braked (it would be released, but most of its zone was lost at once: see "
      "resume-moves);\n"
      "draining, overdue, drained.\n"
      "A running agent registers its node again when it learns that the node was removed.\n\n"
      "Examples:\n"
      "  muster nodes\n"
      "  muster nodes --state LOST --zone z1\n"
      "  muster nodes list --sort -assigned_bytes -o wide\n"
      "  muster nodes list --filter state=LOST --watch\n"
      "  muster nodes show n1 --json\n"
      "  muster nodes drain n1 --wait\n"
      "  muster nodes resume-moves --zone rack7 --dry-run\n"
      "  muster nodes deregister n1");
}

}  // namespace muster
