#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/values.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct NodesUpdateArguments {
  std::string name;
  std::string capacity;
  std::vector<std::string> labels;
  bool no_labels = false;
  bool dry_run = false;
};

absl::Status RunNodesUpdate(Invocation& invocation, const NodesUpdateArguments& options) {
  v1::UpdateNodeRequest request;
  v1::Node& node = *request.mutable_node();
  MUSTER_ASSIGN_OR_RETURN(*node.mutable_name(), FullNodeName(options.name));
  request.set_validate_only(options.dry_run);
  if (!options.capacity.empty()) {
    request.mutable_update_mask()->add_paths("capacity_bytes");
    if (options.capacity != "none") {
      MUSTER_ASSIGN_OR_RETURN(const int64_t bytes, ParseSize(options.capacity));
      // To the server, 0 means no bound.
      if (bytes == 0) return UsageError("--capacity 0 leaves no room for any shard");
      node.set_capacity_bytes(static_cast<uint64_t>(bytes));
    }
  }
  if (!options.labels.empty() || options.no_labels) {
    request.mutable_update_mask()->add_paths("labels");
    MUSTER_ASSIGN_OR_RETURN(const auto labels, ParseLabels(options.labels));
    node.mutable_labels()->insert(labels.begin(), labels.end());
  }
  if (request.update_mask().paths().empty()) {
    return UsageError("say what changes: --capacity, --label or --no-labels");
  }
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->UpdateNode(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else if (options.dry_run) {
    invocation.PrintLine(absl::StrCat("would update node ", ShortName(node.name())));
  } else {
    invocation.Print(NodesTable({response.node()}, invocation.clock().Now()));
  }
  return absl::OkStatus();
}

}  // namespace

void AddNodesUpdateCommand(CLI::App& nodes, Command& chosen) {
  CLI::App* const command =
      nodes.add_subcommand("update", "Change what a node offers, without a restart of its agent");
  auto options = std::make_shared<NodesUpdateArguments>();
  command->add_option("NODE", options->name, "The node")->required();
  command->add_option("--capacity", options->capacity,
                      "What it may hold of shards, such as 500GiB; \"none\" for no bound");
  CLI::Option* const labels =
      command
          ->add_option("--label", options->labels,
                       "key=value, several as a comma list or by repeating it; in place of all "
                       "that it has")
          ->delimiter(',')
          ->expected(1)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--no-labels", options->no_labels, "Take all of its labels away")
      ->excludes(labels);
  command->add_flag("--dry-run", options->dry_run, "Change nothing: only check the call");
  command->footer(
      "The assemblies that it is in are planned again. Lasts until its agent registers the next "
      "time: change what\n"
      "the agent is started with, too.\n\n"
      "Examples:\n"
      "  muster nodes update n1 --capacity 2TiB\n"
      "  muster nodes update n1 --label gpu=h100,pool=a");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunNodesUpdate(invocation, *options); };
  });
}

}  // namespace muster
