#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/plan_preview.h"
#include "client/cli/values.h"
#include "client/sdk/drain_wait.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct NodesDrainArguments {
  std::string name;
  std::string deadline;
  std::string timeout;
  bool cancel = false;
  bool wait = false;
  bool dry_run = false;
};

// "draining n1: 3 shards left, 1.2 GiB".
std::string DrainLine(const v1::Node& node) {
  const std::string name = ShortName(node.name());
  if (!node.has_drain()) return absl::StrCat(name, " takes shards: it is not being drained");
  const v1::Drain& drain = node.drain();
  if (drain.state() == v1::Drain::DRAINED) {
    return absl::StrCat(name, " is drained: nothing is left on it");
  }
  return absl::StrCat(drain.state() == v1::Drain::OVERDUE ? "overdue: " : "draining ", name, ": ",
                      CountOf(drain.shards_left(), "shard"), " left, ",
                      FormatSize(static_cast<int64_t>(drain.bytes_left())));
}

std::string BlockerLine(const v1::Drain::Blocker& blocker) {
  return absl::StrCat("  - ", ShortName(blocker.assembly()), ": ", blocker.message());
}

absl::Status Wait(Invocation& invocation, Client& client, const NodesDrainArguments& options,
                  const std::string& name) {
  DrainWaitOptions wait;
  wait.node = name;
  wait.retry.stop = invocation.stop();
  if (!options.timeout.empty()) {
    MUSTER_ASSIGN_OR_RETURN(wait.retry.timeout, ParseDuration(options.timeout));
  }
  std::string last;
  const auto note_once = [&](const std::vector<std::string>& lines) {
    std::string text = absl::StrJoin(lines, "\n");
    if (text == last) return;
    for (const std::string& line : lines) invocation.Note(line);
    last = std::move(text);
  };
  wait.on_state = [&](const v1::Node& node) {
    // What comes last goes to stdout.
    if (!node.has_drain() || node.drain().state() == v1::Drain::DRAINED) return;
    std::vector<std::string> lines = {DrainLine(node)};
    for (const auto& blocker : node.drain().blockers()) lines.push_back(BlockerLine(blocker));
    note_once(lines);
  };
  wait.retry.on_disconnect = [&](const absl::Status& status) {
    note_once({absl::StrCat("waiting for the server: ", status.message())});
  };
  const DrainWaitResult result =
      WaitUntilDrained(client, invocation.clock(), invocation.random(), wait);
  if (invocation.json()) {
    v1::GetNodeResponse response;
    *response.mutable_node() = result.last;
    if (!result.last.name().empty()) invocation.PrintJson(response);
  } else if (result.status.ok()) {
    invocation.PrintLine(DrainLine(result.last));
  }
  if (absl::IsCancelled(result.status)) {
    return absl::CancelledError(absl::StrCat("interrupted; the drain of ", ShortName(name),
                                             " stays on: `muster nodes drain ", ShortName(name),
                                             " --cancel` ends it"));
  }
  return result.status;
}

absl::Status RunNodesDrain(Invocation& invocation, const NodesDrainArguments& options) {
  v1::DrainNodeRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_name(), FullNodeName(options.name));
  request.set_cancel(options.cancel);
  request.set_validate_only(options.dry_run);
  if (!options.deadline.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const absl::Duration deadline, ParseDuration(options.deadline));
    absl::Duration rest;
    request.mutable_deadline()->set_seconds(absl::IDivDuration(deadline, absl::Seconds(1), &rest));
    request.mutable_deadline()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  }
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->DrainNode(request, invocation.Call()));
  if (options.wait) return Wait(invocation, *client, options, request.name());
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else if (options.dry_run) {
    invocation.Print(PlanPreviewsText(response.plans()));
  } else {
    invocation.PrintLine(DrainLine(response.node()));
  }
  return absl::OkStatus();
}

}  // namespace

void AddNodesDrainCommand(CLI::App& nodes, Command& chosen) {
  CLI::App* const command = nodes.add_subcommand(
      "drain", "Take a node out of service; what it holds stays until it is READY elsewhere");
  auto options = std::make_shared<NodesDrainArguments>();
  command->add_option("NODE", options->name, "The node")->required();
  CLI::Option* const deadline = command->add_option(
      "--deadline", options->deadline,
      "After this long the drain counts as overdue; nothing is dropped for it (default: 1h)");
  CLI::Option* const cancel =
      command->add_flag("--cancel", options->cancel, "End the drain: the node takes shards again");
  CLI::Option* const wait = command->add_flag(
      "--wait", options->wait, "Wait until the node is drained, and show what is in the way");
  command
      ->add_option("--timeout", options->timeout,
                   "With --wait: how long to wait, such as 10m (default: until it is drained or "
                   "overdue)")
      ->needs(wait);
  CLI::Option* const dry_run = command->add_flag("--dry-run", options->dry_run, kDryRunHelp);
  cancel->excludes(deadline)->excludes(wait);
  dry_run->excludes(wait);
  command->footer(
      "An assembly that is READY stays READY. Waiting follows the node's events and never polls. A "
      "wait "
      "that\n"
      "timed out or was interrupted ends no drain: it stays on until the node is drained, or "
      "--cancel.\n"
      "Exit codes of --wait: 0 drained; 3 overdue or timed out, with what is in the way on stderr; "
      "1 the\n"
      "drain was cancelled, or there is no such node.\n\n"
      "Examples:\n"
      "  muster nodes drain n1 --dry-run\n"
      "  muster nodes drain n1 --deadline 30m --wait && ssh n1 poweroff\n"
      "  muster nodes drain n1 --cancel");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunNodesDrain(invocation, *options); };
  });
}

}  // namespace muster
