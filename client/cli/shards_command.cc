#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/list_output.h"
#include "client/cli/repeated_view.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "client/sdk/pages.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct ShardsArguments {
  ListFlags list;
  std::string model;
  std::string assembly;
  uint32_t shard = 0;
};

// What is to be said of a replica besides its state.
std::string WhyUnread(const v1::ShardReplica& replica) {
  std::string text = FailureText(replica.failure());
  if (!replica.waiting_for_location().empty()) {
    absl::StrAppend(&text, text.empty() ? "" : "; ", "waits for a place at ",
                    replica.waiting_for_location());
  }
  if (!replica.replaces().empty()) {
    absl::StrAppend(&text, text.empty() ? "" : "; ", "will replace the one on ",
                    ShortName(replica.replaces()));
  }
  return text;
}

std::string LocationText(const v1::Location& location) {
  std::string text = location.uri();
  if (!location.zone().empty()) absl::StrAppend(&text, " in zone ", location.zone());
  if (location.max_readers() > 0) {
    absl::StrAppend(&text, ", at most ", CountOf(location.max_readers(), "reader"));
  }
  if (location.suspect()) absl::StrAppend(&text, ", suspect: nodes found it bad, tried last");
  return text;
}

void AddReplicas(const v1::GetShardStatusResponse& status, Table& table) {
  const std::string shard = absl::StrCat(status.shard());
  const std::string size = FormatSize(static_cast<int64_t>(status.size_bytes()));
  if (status.replicas_size() == 0) table.Add({shard, size, "-", "not assigned"});
  for (const v1::ShardReplica& replica : status.replicas()) {
    table.Add({shard, size, ShortName(replica.node()), v1::ShardReport::State_Name(replica.state()),
               replica.counted() ? "yes" : "no", replica.node_live() ? "yes" : "no",
               WhyUnread(replica)});
  }
}

Table ReplicaTable() {
  return Table({{"SHARD", Table::Align::kRight},
                {"SIZE", Table::Align::kRight},
                {"NODE"},
                {"STATE"},
                {"COUNTS"},
                {"LIVE"},
                {"WHY"}});
}

absl::StatusOr<v1::GetShardStatusResponse> ShardStatus(const Invocation& invocation, Client& client,
                                                       const std::string& assembly,
                                                       uint32_t shard) {
  v1::GetShardStatusRequest request;
  request.set_name(assembly);
  request.set_shard(shard);
  return client.GetShardStatus(request, invocation.Call());
}

// The assembly's name in full, checked to be one of the model version.
absl::StatusOr<std::string> AssemblyOf(const Invocation& invocation, Client& client,
                                       const std::string& text, const std::string& model_version) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullAssemblyName(text));
  v1::GetAssemblyRequest request;
  request.set_name(name);
  MUSTER_ASSIGN_OR_RETURN(const auto response, client.GetAssembly(request, invocation.Call()));
  const std::string& found = response.assembly().model_version();
  if (found == model_version) return name;
  return UsageError(absl::StrCat("assembly ", ShortName(name), " is of ",
                                 ShortModelVersionName(found), ", not of ",
                                 ShortModelVersionName(model_version)));
}

absl::StatusOr<View> ViewOfStatuses(const Invocation& invocation, Client& client,
                                    const std::string& assembly,
                                    const std::vector<v1::Shard>& shards) {
  Table table = ReplicaTable();
  std::vector<std::string> json;
  for (const v1::Shard& shard : shards) {
    MUSTER_ASSIGN_OR_RETURN(const auto status,
                            ShardStatus(invocation, client, assembly, shard.index()));
    if (invocation.json()) {
      json.push_back(MessageToJson(status));
    } else {
      AddReplicas(status, table);
    }
  }
  if (!invocation.json()) return View{table.ToString()};
  JsonObject all;
  all.AddRaw("items", JsonArray(json));
  return View{invocation.JsonText(all.ToString())};
}

absl::Status ListShards(Invocation& invocation, const ShardsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  if (!options.assembly.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Shard> shards,
                            ListAllShards(*client, name, invocation.Call()));
    MUSTER_ASSIGN_OR_RETURN(const std::string assembly,
                            AssemblyOf(invocation, *client, options.assembly, name));
    const auto make = [&] { return ViewOfStatuses(invocation, *client, assembly, shards); };
    if (options.list.watch) return ShowRepeatedly(invocation, make, invocation.stop());
    MUSTER_ASSIGN_OR_RETURN(const View view, make());
    invocation.Print(view.text);
    return absl::OkStatus();
  }
  return ShowList(invocation, options.list, [&]() -> absl::StatusOr<List> {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Shard> shards,
                            ListAllShards(*client, name, invocation.Call()));
    List list = ListOfMessages(
        shards, [](const auto& shard) { return absl::StrCat(shard.index()); },
        [](const auto& shown, bool, absl::Time) { return ShardsTable(shown); });
    list.none = "no shards";
    return list;
  });
}

absl::Status ShowShard(Invocation& invocation, const ShardsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  v1::GetShardRequest request;
  request.set_name(absl::StrCat(name, "/shards/", options.shard));
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->GetShard(request, invocation.Call()));
  if (!options.assembly.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const std::string assembly,
                            AssemblyOf(invocation, *client, options.assembly, name));
    MUSTER_ASSIGN_OR_RETURN(const View view,
                            ViewOfStatuses(invocation, *client, assembly, {response.shard()}));
    invocation.Print(view.text);
    return absl::OkStatus();
  }
  if (invocation.json()) {
    invocation.PrintJson(response);
    return absl::OkStatus();
  }
  const v1::Shard& shard = response.shard();
  std::vector<std::pair<std::string, std::string>> lines = {
      {"name", shard.name()},
      {"size", absl::StrCat(shard.size_bytes(), " bytes")},
      {"md5", shard.md5()},
      {"root", shard.root()},
      {"pieces", absl::StrCat(shard.piece_count(), " of ",
                              FormatSize(static_cast<int64_t>(shard.piece_size_bytes())))},
      {"tensors", absl::StrCat(shard.tensor_count())},
  };
  if (!shard.encoding().empty()) {
    lines.emplace_back("encoding", Printable(shard.encoding()));
    lines.emplace_back("content", absl::StrCat(shard.content_size_bytes(), " bytes"));
  }
  if (!shard.key_id().empty()) lines.emplace_back("key", Printable(shard.key_id()));
  if (!shard.source_path().empty()) {
    lines.emplace_back(
        "source", absl::StrCat(shard.source_path(), " from byte ", shard.source_offset_bytes()));
  }
  for (const v1::Location& location : shard.locations()) {
    lines.emplace_back("location", LocationText(location));
  }
  invocation.Print(KeyValues(lines));
  return absl::OkStatus();
}

}  // namespace

void AddShardsCommand(CLI::App& app, Command& chosen) {
  CLI::App* const shards =
      app.add_subcommand("shards", "List, show and repair the shards of a model version");
  auto options = std::make_shared<ShardsArguments>();
  const auto choose = [options, &chosen](auto run) {
    chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
  };
  CLI::Option* const model =
      shards->add_option("MODEL@VERSION", options->model, "The model version");
  shards->add_option("--assembly", options->assembly,
                     "Show which node of this assembly holds what, and in which state");
  shards->require_subcommand(0, 1);
  CLI::App* const list = shards->add_subcommand("list", "List the shards (the default)");
  list->add_option("MODEL@VERSION", options->model, "The model version")->required();
  list->callback([choose] { choose(ListShards); });
  for (CLI::App* const command : {shards, list}) AddWatchedListFlags(*command, options->list);
  CLI::App* const show = shards->add_subcommand("show", "Show one shard");
  show->add_option("MODEL@VERSION", options->model, "The model version")->required();
  show->add_option("INDEX", options->shard, "The shard's index, from 0")
      ->required()
      ->check(CLI::Range(0u, uint32_t{kMaxShardsPerVersion - 1}));
  show->callback([choose] { choose(ShowShard); });
  AddShardsRepairCommands(*shards, chosen);
  shards->callback([shards, model, choose] {
    if (!shards->get_subcommands().empty()) return;
    if (model->empty()) throw CLI::RequiredError("MODEL@VERSION");
    choose(ListShards);
  });
  shards->footer(
      "Examples:\n"
      "  muster shards llama@v1\n"
      "  muster shards list llama@v1 --sort -size_bytes --limit 3\n"
      "  muster shards llama@v1 --assembly demo\n"
      "  muster shards llama@v1 --assembly demo --watch\n"
      "  muster shards show llama@v1 3\n"
      "  muster shards show llama@v1 3 --assembly demo\n"
      "  muster shards repair llama@v1 3 --from ./Llama-3-8B\n"
      "  muster shards add-location llama@v1 3 s3://backup/shard-3.safetensors\n"
      "  muster shards remove-location llama@v1 3 file:///srv/old/shard-3.safetensors");
}

}  // namespace muster
