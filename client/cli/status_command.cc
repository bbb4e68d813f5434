#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/sdk/pages.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::StatusOr<v1::GetAssemblyResponse> Get(const Invocation& invocation, Client& client,
                                            const std::string& name) {
  v1::GetAssemblyRequest request;
  request.set_name(name);
  return client.GetAssembly(request, invocation.Call());
}

absl::Status ShowOne(Invocation& invocation, const std::string& assembly) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullAssemblyName(assembly));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, Get(invocation, *client, name));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else {
    invocation.Print(AssemblyDetails(response));
  }
  return absl::OkStatus();
}

absl::Status ShowAll(Invocation& invocation) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  const CallOptions call = invocation.Call();
  MUSTER_ASSIGN_OR_RETURN(const auto models, ListAllModelVersions(*client, "", call));
  MUSTER_ASSIGN_OR_RETURN(const auto assemblies, ListAllAssemblies(*client, "", call));
  MUSTER_ASSIGN_OR_RETURN(const auto nodes, ListAllNodes(*client, call));
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
    invocation.PrintLine(all.ToString());
    return absl::OkStatus();
  }
  const absl::Time now = invocation.clock().Now();
  if (models.empty() && nodes.empty()) {
    invocation.PrintLine("nothing here yet; `muster publish` stores a model");
    return absl::OkStatus();
  }
  const std::string sections[] = {
      models.empty() ? "" : ModelVersionsTable(models, now),
      assemblies.empty() ? "" : AssembliesTable(assemblies),
      nodes.empty() ? "" : NodesTable(nodes, now),
  };
  std::string text;
  for (const std::string& section : sections) {
    if (!section.empty()) absl::StrAppend(&text, text.empty() ? "" : "\n", section);
  }
  invocation.Print(text);
  return absl::OkStatus();
}

}  // namespace

void AddStatusCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command =
      app.add_subcommand("status", "Show an assembly with its nodes, or everything there is");
  auto assembly = std::make_shared<std::string>();
  command->add_option("ASSEMBLY", *assembly,
                      "The assembly; without it, all models, assemblies and nodes");
  command->footer(
      "Moves in progress, shards that wait for a place at a bounded location, shards that were "
      "given "
      "up and\n"
      "drains are shown where there are some; `muster explain ASSEMBLY` says what to do.\n"
      "With --json: of one assembly {assembly, members, revision}; of all {model_versions, "
      "assemblies, nodes}.\n\n"
      "Examples:\n"
      "  muster status\n"
      "  muster status demo\n"
      "  muster status demo --json");
  command->callback([assembly, &chosen] {
    chosen = [assembly](Invocation& invocation) {
      return assembly->empty() ? ShowAll(invocation) : ShowOne(invocation, *assembly);
    };
  });
}

}  // namespace muster
