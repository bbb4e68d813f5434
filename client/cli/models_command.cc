#include <CLI/CLI.hpp>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/checkpoint/written_objects.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "client/sdk/pages.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct Options {
  std::string model;
  std::string only_model;
  std::optional<uint32_t> shard;
  bool keep_objects = false;
};

absl::Status List(Invocation& invocation, const Options& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::ModelVersion> versions,
                          ListAllModelVersions(*client, options.only_model, invocation.Call()));
  if (invocation.json()) {
    v1::ListModelVersionsResponse all;
    all.mutable_model_versions()->Add(versions.begin(), versions.end());
    invocation.PrintJson(all);
  } else if (versions.empty()) {
    invocation.PrintLine("no model versions; `muster publish` makes one");
  } else {
    invocation.Print(ModelVersionsTable(versions, invocation.clock().Now()));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::GetModelVersionResponse> Get(const Invocation& invocation, Client& client,
                                                const std::string& name) {
  v1::GetModelVersionRequest request;
  request.set_name(name);
  return client.GetModelVersion(request, invocation.Call());
}

absl::Status Show(Invocation& invocation, const Options& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, Get(invocation, *client, name));
  if (invocation.json()) {
    invocation.PrintJson(response);
    return absl::OkStatus();
  }
  const v1::ModelVersion& version = response.model_version();
  const absl::Time now = invocation.clock().Now();
  const auto count = [](uint64_t added, uint64_t announced) {
    return absl::StrCat(announced, added == announced ? "" : absl::StrCat(" (", added, " added)"));
  };
  invocation.Print(KeyValues({
      {"name", version.name()},
      {"uid", version.uid()},
      {"state", v1::ModelVersion::State_Name(version.state())},
      {"strategy", version.strategy()},
      {"shards", count(version.shards_added(), version.shard_count())},
      {"tensors", count(version.tensors_added(), version.tensor_count())},
      {"companions", count(version.companions_added(), version.companion_count())},
      {"size", FormatSize(static_cast<int64_t>(version.size_bytes()))},
      {"created", Age(version.create_time(), now)},
      {"committed", Age(version.commit_time(), now)},
  }));
  MUSTER_ASSIGN_OR_RETURN(const auto companions,
                          ListAllCompanions(*client, name, invocation.Call()));
  if (companions.empty()) return absl::OkStatus();
  Table table({{"COMPANION"}, {"SIZE", Table::Align::kRight}, {"MD5"}});
  for (const v1::Companion& companion : companions) {
    table.Add({companion.path(), FormatSize(static_cast<int64_t>(companion.size_bytes())),
               companion.md5()});
  }
  invocation.Print(absl::StrCat("\n", table.ToString()));
  return absl::OkStatus();
}

// Tensors run to millions, so they are printed as they come; columns have fixed widths for that.
absl::Status Tensors(Invocation& invocation, const Options& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  std::optional<ShardIndex> shard;
  if (options.shard.has_value()) shard = ShardIndex(*options.shard);
  bool first = true;
  const absl::Status status = ForEachTensor(
      *client, name, shard,
      [&](const v1::Tensor& tensor) {
        if (invocation.json()) {
          invocation.Print(absl::StrCat(first ? "{\"tensors\":[" : ",\n", MessageToJson(tensor)));
        } else {
          Table row({{"SHARD    ", Table::Align::kRight},
                     {"        SIZE", Table::Align::kRight},
                     {"DTYPE   "},
                     {"SHAPE               "},
                     {"NAME"}});
          row.Add({absl::StrCat(tensor.shard()),
                   FormatSize(static_cast<int64_t>(tensor.end_bytes() - tensor.begin_bytes())),
                   tensor.dtype(), absl::StrCat("[", absl::StrJoin(tensor.shape(), ", "), "]"),
                   tensor.name()});
          const std::string text = row.ToString();
          invocation.Print(first ? text : text.substr(text.find('\n') + 1));
        }
        first = false;
        return absl::OkStatus();
      },
      invocation.Call());
  MUSTER_RETURN_IF_ERROR(status);
  if (invocation.json()) {
    invocation.PrintLine(first ? "{\"tensors\":[]}" : "]}");
  } else if (first) {
    invocation.PrintLine("no tensors");
  }
  return absl::OkStatus();
}

// The objects that publishing wrote, also those of a publication that died before it registered
// them. Objects that were registered in place are not ours to delete.
absl::StatusOr<std::vector<std::string>> OwnObjects(const Invocation& invocation, Client& client,
                                                    const v1::ModelVersion& version) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> found,
                          ListPublishedObjects(invocation.stores(), version));
  std::set<std::string> uris(found.begin(), found.end());
  const auto add = [&](const auto& locations) {
    for (const v1::Location& location : locations) {
      if (IsPublishedObject(location.uri(), version.name(), version.uid())) {
        uris.insert(location.uri());
      }
    }
  };
  MUSTER_RETURN_IF_ERROR(ForEachShard(
      client, version.name(),
      [&](const v1::Shard& shard) {
        add(shard.locations());
        return absl::OkStatus();
      },
      invocation.Call()));
  MUSTER_ASSIGN_OR_RETURN(const auto companions,
                          ListAllCompanions(client, version.name(), invocation.Call()));
  for (const v1::Companion& companion : companions) add(companion.locations());
  return std::vector<std::string>(uris.begin(), uris.end());
}

absl::Status Delete(Invocation& invocation, const Options& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, Get(invocation, *client, name));
  std::vector<std::string> uris;
  if (!options.keep_objects) {
    MUSTER_ASSIGN_OR_RETURN(uris, OwnObjects(invocation, *client, response.model_version()));
  }
  v1::DeleteModelVersionRequest request;
  request.set_name(name);
  MUSTER_RETURN_IF_ERROR(client->DeleteModelVersion(request, invocation.Call()).status());
  if (!options.keep_objects) {
    MUSTER_RETURN_IF_ERROR(DeleteObjects(invocation.stores(), response.model_version(), uris));
  }
  if (invocation.json()) {
    JsonObject json;
    json.Add("name", name);
    json.Add("objects_deleted", static_cast<int64_t>(uris.size()));
    invocation.PrintLine(json.ToString());
  } else {
    invocation.PrintLine(absl::StrCat("deleted ", ShortModelVersionName(name), " and ",
                                      CountOf(uris.size(), "stored object")));
  }
  return absl::OkStatus();
}

}  // namespace

void AddModelsCommand(CLI::App& app, Command& chosen) {
  CLI::App* const models = app.add_subcommand("models", "List, show and delete model versions");
  auto options = std::make_shared<Options>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  models->require_subcommand(0, 1);
  models->callback([models, choose] {
    if (models->get_subcommands().empty()) choose(List)();
  });
  CLI::App* const list = models->add_subcommand("list", "List model versions (the default)");
  list->add_option("--model", options->only_model, "Only versions of this model");
  list->callback(choose(List));
  CLI::App* const show = models->add_subcommand("show", "Show one model version");
  CLI::App* const tensors = models->add_subcommand("tensors", "List a model version's tensors");
  CLI::App* const remove = models->add_subcommand(
      "delete", "Delete a model version and the objects that publishing wrote");
  for (CLI::App* const command : {show, tensors, remove}) {
    command->add_option("MODEL@VERSION", options->model, "The model version")->required();
  }
  tensors->add_option("--shard", options->shard, "Only this shard's");
  remove->add_flag("--keep-objects", options->keep_objects, "Leave the stored objects");
  show->callback(choose(Show));
  tensors->callback(choose(Tensors));
  remove->callback(choose(Delete));
  models->footer(
      "Examples:\n"
      "  muster models\n"
      "  muster models show llama@v1\n"
      "  muster models tensors llama@v1 --shard 3\n"
      "  muster models delete llama@v1");
}

}  // namespace muster
