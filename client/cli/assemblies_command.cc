#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cli/assembly_flags.h"
#include "client/cli/commands.h"
#include "client/cli/consent.h"
#include "client/cli/display.h"
#include "client/cli/list_output.h"
#include "client/cli/plan_preview.h"
#include "client/cli/values.h"
#include "client/sdk/pages.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct AssembliesArguments {
  ListFlags list;
  std::string name;
  std::string node;
  bool dry_run = false;
  bool force = false;
  AssemblyFlags flags;
  // Of an update; 0 and "" leave what is there.
  uint32_t min_nodes = 0;
  uint32_t replicas = 0;
  std::string move_budget;
};

absl::Status ListAssemblies(Invocation& invocation, const AssembliesArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  return ShowList(invocation, options.list, [&]() -> absl::StatusOr<List> {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Assembly> assemblies,
                            ListAllAssemblies(*client, "", invocation.Call()));
    List list = ListOfMessages(
        assemblies, [](const auto& assembly) { return ShortName(assembly.name()); },
        [](const auto& shown, bool wide, absl::Time) {
          return AssembliesTable(shown, /*with_why=*/true, wide);
        });
    list.none = "no assemblies; `muster assemblies create` makes one";
    return list;
  });
}

absl::Status Create(Invocation& invocation, const AssembliesArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullAssemblyName(options.name));
  v1::CreateAssemblyRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_assembly(), ToAssembly(name, options.flags));
  request.set_validate_only(options.dry_run);
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->CreateAssembly(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else {
    invocation.PrintLine(absl::StrCat(options.dry_run ? "would create" : "created", " assembly ",
                                      ShortName(name), " of ",
                                      ShortModelVersionName(response.assembly().model_version())));
  }
  return absl::OkStatus();
}

absl::Status Update(Invocation& invocation, const AssembliesArguments& options) {
  v1::UpdateAssemblyRequest request;
  v1::Assembly& assembly = *request.mutable_assembly();
  google::protobuf::FieldMask& mask = *request.mutable_update_mask();
  MUSTER_ASSIGN_OR_RETURN(*assembly.mutable_name(), FullAssemblyName(options.name));
  request.set_validate_only(options.dry_run);
  if (options.min_nodes > 0) {
    assembly.set_min_nodes(options.min_nodes);
    mask.add_paths("min_nodes");
  }
  if (options.replicas > 0) {
    assembly.set_replicas(options.replicas);
    mask.add_paths("replicas");
  }
  if (!options.move_budget.empty()) {
    mask.add_paths("move_budget_bytes");
    if (options.move_budget != "default") {
      MUSTER_ASSIGN_OR_RETURN(const int64_t bytes, ParseSize(options.move_budget));
      assembly.set_move_budget_bytes(static_cast<uint64_t>(bytes));
    }
  }
  if (mask.paths().empty()) {
    return UsageError("say what changes: --replicas, --min-nodes or --move-budget");
  }
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->UpdateAssembly(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else if (options.dry_run) {
    invocation.PrintLine(absl::StrCat("would update assembly ", ShortName(assembly.name())));
  } else {
    invocation.Print(AssembliesTable({response.assembly()}));
  }
  return absl::OkStatus();
}

absl::Status ShowAssembly(Invocation& invocation, const AssembliesArguments& options) {
  v1::GetAssemblyRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_name(), FullAssemblyName(options.name));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->GetAssembly(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else {
    invocation.Print(AssemblyDetails(response));
  }
  return absl::OkStatus();
}

absl::Status DeleteAssembly(Invocation& invocation, const AssembliesArguments& options) {
  v1::DeleteAssemblyRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_name(), FullAssemblyName(options.name));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  if (!options.force) {
    v1::GetAssemblyRequest get;
    get.set_name(request.name());
    MUSTER_ASSIGN_OR_RETURN(const auto found, client->GetAssembly(get, invocation.Call()));
    MUSTER_RETURN_IF_ERROR(AskWhetherToGoOn(invocation, CheckUnused(found),
                                            "They let go of the model. Delete the assembly?"));
    // Of the one that was looked at, not of one that was made again under its name since.
    request.set_uid(found.assembly().uid());
  }
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->DeleteAssembly(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else {
    invocation.PrintLine(absl::StrCat("deleted assembly ", ShortName(request.name())));
  }
  return absl::OkStatus();
}

absl::Status Leave(Invocation& invocation, const AssembliesArguments& options) {
  v1::LeaveAssemblyRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_name(), FullAssemblyName(options.name));
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_node(), FullNodeName(options.node));
  request.set_validate_only(options.dry_run);
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->LeaveAssembly(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else if (options.dry_run) {
    invocation.Print(PlanPreviewText(response.plan()));
  } else {
    invocation.PrintLine(absl::StrCat(ShortName(request.node()), " is not a member of ",
                                      ShortName(request.name()), " any more"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddAssembliesCommand(CLI::App& app, Command& chosen) {
  CLI::App* const assemblies =
      app.add_subcommand("assemblies", "List, create, update, show and delete assemblies");
  auto options = std::make_shared<AssembliesArguments>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  assemblies->require_subcommand(0, 1);
  assemblies->callback([assemblies, choose] {
    if (assemblies->get_subcommands().empty()) choose(ListAssemblies)();
  });
  CLI::App* const list = assemblies->add_subcommand("list", "List assemblies (the default)");
  list->callback(choose(ListAssemblies));
  for (CLI::App* const command : {assemblies, list}) AddWatchedListFlags(*command, options->list);
  CLI::App* const create =
      assemblies->add_subcommand("create", "Create an assembly of a committed model version");
  CLI::App* const update = assemblies->add_subcommand(
      "update", "Change replicas, min-nodes or move budget; the next plans go by it");
  CLI::App* const show = assemblies->add_subcommand("show", "Show an assembly with its nodes");
  CLI::App* const remove = assemblies->add_subcommand(
      "delete", "Delete an assembly; asks first while live nodes use it");
  CLI::App* const leave = assemblies->add_subcommand("leave", "End a node's membership");
  for (CLI::App* const command : {create, update, show, remove, leave}) {
    command->add_option("ASSEMBLY", options->name, "The assembly")->required();
  }
  AddAssemblyFlags(*create, options->flags, /*required=*/true);
  update->add_option("--replicas", options->replicas, "Nodes that hold each shard")
      ->check(CLI::Range(1u, uint32_t{kMaxReplicas}));
  update
      ->add_option("--min-nodes", options->min_nodes,
                   "Nodes that have to hold what is theirs; the first plan waits for them")
      ->check(CLI::Range(1u, uint32_t{kMaxMinNodes}));
  update->add_option("--move-budget", options->move_budget,
                     "Bytes that may be on the move at once to even out the loads, such as 10GiB; "
                     "0 moves nothing; \"default\" is a tenth of the model");
  remove->add_flag("--force", options->force, "Delete it even if live nodes use it, and never ask");
  leave->add_option("--node", options->node, "The node")->required();
  for (CLI::App* const command : {create, update}) {
    command->add_flag("--dry-run", options->dry_run, "Change nothing: only check the call");
  }
  leave->add_flag("--dry-run", options->dry_run, kDryRunHelp);
  remove->footer(
      "While live nodes use the assembly a person is asked; without a terminal, and with --json, "
      "the "
      "command fails then (ASSEMBLY_IN_USE), unless --force is given.\n\n"
      "Examples:\n"
      "  muster assemblies delete demo\n"
      "  muster assemblies delete demo --force");
  create->callback(choose(Create));
  update->callback(choose(Update));
  show->callback(choose(ShowAssembly));
  remove->callback(choose(DeleteAssembly));
  leave->callback(choose(Leave));
  assemblies->footer(
      "Examples:\n"
      "  muster assemblies\n"
      "  muster assemblies list --filter state!=READY -q\n"
      "  muster assemblies list --watch\n"
      "  muster assemblies create demo --model llama@v1 --policy balanced --min-nodes 3 --replicas "
      "2\n"
      "  muster assemblies create big --model llama@v1 --policy contiguous --select gpu=h100 "
      "--move-budget 10GiB\n"
      "  muster assemblies update demo --replicas 3\n"
      "  muster assemblies show demo\n"
      "  muster assemblies leave demo --node n1 --dry-run\n"
      "  muster assemblies delete demo");
}

}  // namespace muster
