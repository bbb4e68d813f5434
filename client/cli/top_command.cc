#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/quit_key.h"
#include "client/cli/repeated_view.h"
#include "client/cli/top_screen.h"
#include "client/hash/parallel.h"
#include "client/sdk/pages.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Of so many assemblies the members are asked for at a look, at most 1,000 of each; of more, it would be a load.
constexpr size_t kAssembliesAskedMax = 32;
constexpr size_t kAskedAtOnce = 8;
// Nodes tell how far they are with their heartbeats, every 3 s or so.
constexpr absl::Duration kBetweenTwoLooks = absl::Seconds(4);

bool IsAtRest(const v1::Assembly& assembly) {
  return assembly.state() == v1::Assembly::READY && assembly.nodes_joining() == 0 &&
         assembly.moves_in_progress() == 0;
}

absl::StatusOr<ClusterLook> Look(const Invocation& invocation, Client& client) {
  ClusterLook look;
  const CallOptions call = invocation.Call();
  MUSTER_ASSIGN_OR_RETURN(look.assemblies, ListAllAssemblies(client, "", call));
  MUSTER_ASSIGN_OR_RETURN(look.nodes, ListAllNodes(client, call));
  // Those where something goes on before the others.
  std::vector<v1::Assembly> asked = look.assemblies;
  std::stable_sort(asked.begin(), asked.end(), [](const v1::Assembly& a, const v1::Assembly& b) {
    return !IsAtRest(a) && IsAtRest(b);
  });
  if (asked.size() > kAssembliesAskedMax) asked.resize(kAssembliesAskedMax);
  std::vector<v1::GetAssemblyResponse> answers(asked.size());
  const auto ask = [&](size_t index, const std::stop_token& stop) {
    v1::GetAssemblyRequest request;
    request.set_name(asked[index].name());
    CallOptions one = invocation.Call();
    one.stop = stop;
    auto answer = client.GetAssembly(request, one);
    if (answer.ok()) answers[index] = *std::move(answer);
    // Deleted since it was listed.
    return absl::IsNotFound(answer.status()) ? absl::OkStatus() : answer.status();
  };
  MUSTER_RETURN_IF_ERROR(RunInParallel(asked.size(), kAskedAtOnce, invocation.stop(), ask));
  for (const v1::GetAssemblyResponse& answer : answers) {
    look.members[answer.assembly().name()].assign(answer.members().begin(), answer.members().end());
  }
  return look;
}

bool AnythingIsOnItsWay(const TopRows& rows) {
  return std::any_of(rows.nodes.begin(), rows.nodes.end(), [](const TopNode& row) {
    return row.node.state() == v1::Node::LIVE && !row.progress.done();
  });
}

absl::Status ShowOnce(Invocation& invocation, Client& client) {
  TopMeter meter;
  MUSTER_ASSIGN_OR_RETURN(ClusterLook look, Look(invocation, client));
  TopRows rows = meter.Add(invocation.clock().Monotonic(), look);
  if (AnythingIsOnItsWay(rows)) {
    if (PauseUnless(invocation.stop(), kBetweenTwoLooks)) {
      return absl::CancelledError("interrupted between two looks");
    }
    MUSTER_ASSIGN_OR_RETURN(look, Look(invocation, client));
    rows = meter.Add(invocation.clock().Monotonic(), look);
  }
  if (invocation.json()) {
    invocation.PrintJson(TopJson(rows));
    return absl::OkStatus();
  }
  const std::vector<std::string> lines = TopLines(rows, invocation.columns(), SIZE_MAX);
  invocation.PrintLine(absl::StrJoin(lines, "\n"));
  return absl::OkStatus();
}

absl::Status RunTop(Invocation& invocation, bool once) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  if (once || invocation.json() || !invocation.terminal().can_redraw) {
    return ShowOnce(invocation, *client);
  }
  const QuitKey key(STDIN_FILENO, invocation.stop());
  TopMeter meter;
  const auto make = [&]() -> absl::StatusOr<View> {
    MUSTER_ASSIGN_OR_RETURN(const ClusterLook look, Look(invocation, *client));
    const TopRows rows = meter.Add(invocation.clock().Monotonic(), look);
    // The last column and the last line of a terminal stay free.
    const size_t columns = std::max<size_t>(invocation.columns(), 2) - 1;
    return View{
        absl::StrCat(absl::StrJoin(TopLines(rows, columns, invocation.rows() - 1), "\n"), "\n")};
  };
  return ShowRepeatedly(invocation, make, key.stop());
}

}  // namespace

void AddTopCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command =
      app.add_subcommand("top", "Show how fast assemblies and nodes load, what is slow first");
  auto once = std::make_shared<bool>(false);
  command->add_flag("--once", *once, "Print it once, as where stdout is no terminal");
  command->footer(
      "Drawn again every 2 s, until q or Ctrl-C. First come assemblies that are DEGRADED or "
      "WAITING "
      "and nodes that\n"
      "are lost or where shards failed, then what takes longest. Rates are of the last 10 s; nodes "
      "tell how far they\n"
      "are about every 3 s, so --once looks twice, 4 s apart, while something is on its way.\n"
      "With --json: {assemblies, nodes}, each with there_bytes, total_bytes, bytes_per_second and "
      "shards_failed.\n"
      "Members are looked at in the 32 assemblies where most goes on, at most 1,000 in each.\n\n"
      "Examples:\n"
      "  muster top\n"
      "  muster top --once --json | jq '.nodes[] | select(.shards_failed > 0).name'");
  command->callback([once, &chosen] {
    chosen = [once](Invocation& invocation) { return RunTop(invocation, *once); };
  });
}

}  // namespace muster
