#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/sdk/pages.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct Options {
  std::string name;
};

absl::Status List(Invocation& invocation, const Options&) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Node> nodes,
                          ListAllNodes(*client, invocation.Call()));
  if (invocation.json()) {
    v1::ListNodesResponse all;
    all.mutable_nodes()->Add(nodes.begin(), nodes.end());
    invocation.PrintJson(all);
  } else if (nodes.empty()) {
    invocation.PrintLine("no nodes; `muster agent` registers one");
  } else {
    invocation.Print(NodesTable(nodes, invocation.clock().Now()));
  }
  return absl::OkStatus();
}

absl::Status Show(Invocation& invocation, const Options& options) {
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
  for (const auto& [key, value] : node.labels()) {
    lines.emplace_back("label", absl::StrCat(key, "=", value));
  }
  invocation.Print(absl::StrCat("\n", KeyValues(lines)));
  return absl::OkStatus();
}

absl::Status Deregister(Invocation& invocation, const Options& options) {
  v1::DeregisterNodeRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_name(), FullNodeName(options.name));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->DeregisterNode(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else {
    invocation.PrintLine(absl::StrCat("deregistered ", ShortName(request.name())));
  }
  return absl::OkStatus();
}

}  // namespace

void AddNodesCommand(CLI::App& app, Command& chosen) {
  CLI::App* const nodes = app.add_subcommand("nodes", "List, show and deregister nodes");
  auto options = std::make_shared<Options>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  nodes->require_subcommand(0, 1);
  nodes->callback([nodes, choose] {
    if (nodes->get_subcommands().empty()) choose(List)();
  });
  nodes->add_subcommand("list", "List nodes (the default)")->callback(choose(List));
  CLI::App* const show = nodes->add_subcommand("show", "Show one node");
  CLI::App* const deregister =
      nodes->add_subcommand("deregister", "Remove a node with its memberships and reports");
  for (CLI::App* const command : {show, deregister}) {
    command->add_option("NODE", options->name, "The node")->required();
  }
  show->callback(choose(Show));
  deregister->callback(choose(Deregister));
  nodes->footer(
      "An agent that runs registers its node again when it is told that it was removed.\n\n"
      "Examples:\n"
      "  muster nodes\n"
      "  muster nodes show n1 --json\n"
      "  muster nodes deregister n1");
}

}  // namespace muster
