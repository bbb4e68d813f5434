#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/list_output.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "client/publish/orphans.h"
#include "client/publish/written_objects.h"
#include "client/sdk/pages.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct ModelsArguments {
  ListFlags list;
  std::string model;
  std::string only_model;
  std::optional<uint32_t> shard;
  bool with_objects = false;
  std::string to;
  std::string own_server_id;
  std::string older_than = "24h";
  bool dry_run = false;
};

absl::Status ListModels(Invocation& invocation, const ModelsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  return ShowList(invocation, options.list, [&]() -> absl::StatusOr<List> {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::ModelVersion> versions,
                            ListAllModelVersions(*client, options.only_model, invocation.Call()));
    List list = ListOfMessages(
        versions, [](const auto& version) { return ShortModelVersionName(version.name()); },
        [](const auto& shown, bool wide, absl::Time now) {
          return ModelVersionsTable(shown, now, wide);
        });
    list.none = "no model versions; `muster publish` makes one";
    return list;
  });
}

absl::StatusOr<v1::GetModelVersionResponse> GetVersion(const Invocation& invocation, Client& client,
                                                       const std::string& name) {
  v1::GetModelVersionRequest request;
  request.set_name(name);
  return client.GetModelVersion(request, invocation.Call());
}

absl::Status ShowModel(Invocation& invocation, const ModelsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, GetVersion(invocation, *client, name));
  if (invocation.json()) {
    invocation.PrintJson(response);
    return absl::OkStatus();
  }
  const v1::ModelVersion& version = response.model_version();
  const absl::Time now = invocation.clock().Now();
  const auto count = [](uint64_t added, uint64_t announced) {
    return absl::StrCat(announced, added == announced ? "" : absl::StrCat(" (", added, " added)"));
  };
  std::vector<std::pair<std::string, std::string>> lines = {
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
  };
  if (!version.content_key_id().empty()) {
    lines.emplace_back("key", absl::StrCat(Printable(version.content_key_id()), ", by the server"));
  }
  invocation.Print(KeyValues(lines));
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
absl::Status Tensors(Invocation& invocation, const ModelsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  std::optional<ShardIndex> shard;
  if (options.shard.has_value()) shard = ShardIndex(*options.shard);
  bool first = true;
  const absl::Status status = ForEachTensor(
      *client, name, shard,
      [&](const v1::Tensor& tensor) {
        if (invocation.json()) {
          invocation.Print(absl::StrCat(first ? "{\"items\":[" : ",\n", MessageToJson(tensor)));
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
    invocation.PrintLine(first ? "{\"items\":[]}" : "]}");
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

void PrintDeleted(const Invocation& invocation, const std::string& name, size_t objects) {
  if (invocation.json()) {
    JsonObject json;
    json.Add("name", name);
    json.Add("objects_deleted", static_cast<int64_t>(objects));
    invocation.PrintJson(json.ToString());
    return;
  }
  invocation.PrintLine(absl::StrCat("deleted ", ShortModelVersionName(name), " and ",
                                    CountOf(objects, "stored object")));
}

// Where orphans may be: --to, or wherever the catalogue's model versions are.
absl::StatusOr<std::set<std::string>> Destinations(const Invocation& invocation, Client& client,
                                                   const std::string& to) {
  if (to.empty()) return KnownDestinations(client, invocation.Call());
  MUSTER_ASSIGN_OR_RETURN(std::string uri, ParseDestination(to, invocation.working_directory()));
  return std::set<std::string>{std::move(uri)};
}

absl::StatusOr<std::vector<Orphan>> AllOrphans(const Invocation& invocation, Client& client,
                                               const ModelsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::set<std::string> destinations,
                          Destinations(invocation, client, options.to));
  std::vector<Orphan> all;
  for (const std::string& destination : destinations) {
    MUSTER_ASSIGN_OR_RETURN(std::vector<Orphan> found,
                            FindOrphans(client, invocation.stores(), destination,
                                        options.own_server_id, invocation.Call()));
    std::move(found.begin(), found.end(), std::back_inserter(all));
  }
  return all;
}

// Goes on with a deletion that ended after the model version was gone and before its objects were.
absl::Status DeleteLeftObjects(Invocation& invocation, Client& client, const std::string& name,
                               const ModelsArguments& options, const absl::Status& unknown) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<Orphan> orphans,
                          AllOrphans(invocation, client, options));
  size_t deleted = 0;
  bool any = false;
  for (const Orphan& orphan : orphans) {
    if (orphan.version.name() != name || !orphan.is_ours) continue;
    MUSTER_RETURN_IF_ERROR(DeleteOrphan(invocation.stores(), orphan));
    any = true;
    deleted += orphan.uris.size();
  }
  if (!any) return unknown;
  PrintDeleted(invocation, name, deleted);
  return absl::OkStatus();
}

// Of that very version: not of one that was made again under its name since it was looked at.
absl::Status DeleteRows(const Invocation& invocation, Client& client,
                        const v1::ModelVersion& version) {
  v1::DeleteModelVersionRequest request;
  request.set_name(version.name());
  request.set_uid(version.uid());
  return client.DeleteModelVersion(request, invocation.Call()).status();
}

// The model version first: while it is there, so are its objects.
absl::Status DeleteVersion(Invocation& invocation, const ModelsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  const auto response = GetVersion(invocation, *client, name);
  if (options.with_objects && absl::IsNotFound(response.status())) {
    return DeleteLeftObjects(invocation, *client, name, options, response.status());
  }
  MUSTER_RETURN_IF_ERROR(response.status());
  const v1::ModelVersion& version = response->model_version();
  if (!options.with_objects) {
    MUSTER_RETURN_IF_ERROR(DeleteRows(invocation, *client, version));
    PrintDeleted(invocation, name, 0);
    if (!DestinationOf(version).empty()) {
      invocation.Note(
          absl::StrCat("its objects are still at ",
                       Printable(PublishPrefix(DestinationOf(version), name, version.uid())),
                       "; the same command with --with-objects deletes them"));
    }
    return absl::OkStatus();
  }
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> uris,
                          OwnObjects(invocation, *client, version));
  MUSTER_RETURN_IF_ERROR(DeleteRows(invocation, *client, version));
  MUSTER_RETURN_IF_ERROR(DeleteObjects(invocation.stores(), version, uris));
  PrintDeleted(invocation, name, uris.size());
  return absl::OkStatus();
}

// Drafts that nobody has finished for so long that nobody will.
absl::StatusOr<std::vector<v1::ModelVersion>> OldDrafts(const Invocation& invocation,
                                                        Client& client, absl::Duration age) {
  MUSTER_ASSIGN_OR_RETURN(std::vector<v1::ModelVersion> versions,
                          ListAllModelVersions(client, "", invocation.Call()));
  const absl::Time limit = invocation.clock().Now() - age;
  std::erase_if(versions, [&](const v1::ModelVersion& version) {
    const absl::Time created = absl::FromUnixSeconds(version.create_time().seconds());
    return version.state() != v1::ModelVersion::DRAFT || created > limit;
  });
  return versions;
}

void PrintGarbage(const Invocation& invocation, const std::vector<v1::ModelVersion>& drafts,
                  const std::vector<Orphan>& orphans, bool dry_run) {
  Table table({{"WHAT"},
               {"MODEL"},
               {"OBJECTS", Table::Align::kRight},
               {"SIZE", Table::Align::kRight},
               {"WHERE"},
               {dry_run ? "WOULD BE" : "IS"}});
  std::vector<std::string> rows;
  const auto add = [&](const char* what, const v1::ModelVersion& version, size_t objects,
                       int64_t size, const std::string& where, bool deleted) {
    if (invocation.json()) {
      JsonObject json;
      json.Add("what", what);
      json.Add("name", version.name());
      json.Add("uid", version.uid());
      json.Add("objects", static_cast<int64_t>(objects));
      json.Add("size_bytes", size);
      json.Add("where", where);
      json.AddRaw("deleted", deleted && !dry_run ? "true" : "false");
      rows.push_back(json.ToString());
      return;
    }
    table.Add({what, ShortModelVersionName(version.name()), absl::StrCat(objects), FormatSize(size),
               where, deleted ? "deleted" : "left: of another server"});
  };
  for (const v1::ModelVersion& draft : drafts) {
    const std::string destination = DestinationOf(draft);
    add("draft", draft, draft.shards_added(), static_cast<int64_t>(draft.size_bytes()),
        destination.empty() ? "" : PublishPrefix(destination, draft.name(), draft.uid()), true);
  }
  for (const Orphan& orphan : orphans) {
    add("objects", orphan.version, orphan.uris.size(), orphan.size_bytes, orphan.folder_uri,
        orphan.is_ours);
  }
  if (invocation.json()) {
    JsonObject json;
    json.AddRaw("items", JsonArray(rows));
    invocation.PrintJson(json.ToString());
  } else if (table.row_count() == 0) {
    invocation.PrintLine("nothing is left behind");
  } else {
    invocation.Print(table.ToString());
  }
}

absl::Status CollectGarbage(Invocation& invocation, const ModelsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const absl::Duration age, ParseDuration(options.older_than));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const std::vector<Orphan> orphans,
                          AllOrphans(invocation, *client, options));
  MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::ModelVersion> drafts,
                          OldDrafts(invocation, *client, age));
  if (!options.dry_run) {
    for (const v1::ModelVersion& draft : drafts) {
      MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> uris,
                              OwnObjects(invocation, *client, draft));
      MUSTER_RETURN_IF_ERROR(DeleteRows(invocation, *client, draft));
      MUSTER_RETURN_IF_ERROR(DeleteObjects(invocation.stores(), draft, uris));
    }
    for (const Orphan& orphan : orphans) {
      if (orphan.is_ours) MUSTER_RETURN_IF_ERROR(DeleteOrphan(invocation.stores(), orphan));
    }
  }
  PrintGarbage(invocation, drafts, orphans, options.dry_run);
  const bool foreign = std::any_of(orphans.begin(), orphans.end(),
                                   [](const Orphan& orphan) { return !orphan.is_ours; });
  if (foreign) {
    invocation.Note(
        "objects of another server may be in use there; if that server is gone, `--server-id ID` "
        "with the first part of the uid (before the last \"-\" of the folder's name) takes them");
  }
  return absl::OkStatus();
}

}  // namespace

void AddModelsCommand(CLI::App& app, Command& chosen) {
  CLI::App* const models = app.add_subcommand("models", "List, show and delete model versions");
  auto options = std::make_shared<ModelsArguments>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  models->require_subcommand(0, 1);
  models->callback([models, choose] {
    if (models->get_subcommands().empty()) choose(ListModels)();
  });
  CLI::App* const list = models->add_subcommand("list", "List model versions (the default)");
  list->add_option("--model", options->only_model, "Only versions of this model");
  for (CLI::App* const command : {models, list}) AddWatchedListFlags(*command, options->list);
  list->callback(choose(ListModels));
  CLI::App* const show = models->add_subcommand("show", "Show one model version");
  CLI::App* const tensors = models->add_subcommand("tensors", "List a model version's tensors");
  CLI::App* const remove = models->add_subcommand("delete", "Delete a model version");
  CLI::App* const collect = models->add_subcommand(
      "gc", "Delete old drafts, and objects that publishing wrote and no model version owns");
  for (CLI::App* const command : {show, tensors, remove}) {
    command->add_option("MODEL@VERSION", options->model, "The model version")->required();
  }
  tensors->add_option("--shard", options->shard, "Only this shard's");
  remove->add_flag("--with-objects", options->with_objects,
                   "Delete the objects that publishing wrote too; those that were registered in "
                   "place stay. Can be repeated until it is done");
  collect->add_flag("--dry-run", options->dry_run, "Only say what would be deleted");
  collect
      ->add_option("--older-than", options->older_than,
                   "Treat drafts that are older than this as left behind")
      ->capture_default_str();
  collect->add_option("--server-id", options->own_server_id,
                      "Also take this server's objects: the first part of their uids");
  for (CLI::App* const command : {remove, collect}) {
    command->add_option("--to", options->to,
                        "Where objects without an owner are looked for (default: where the "
                        "catalogue's model versions were published to)");
  }
  show->callback(choose(ShowModel));
  tensors->callback(choose(Tensors));
  remove->callback(choose(DeleteVersion));
  collect->callback(choose(CollectGarbage));
  models->footer(
      "Examples:\n"
      "  muster models\n"
      "  muster models list --filter state=COMMITTED --sort -size_bytes --limit 5\n"
      "  muster models list --watch\n"
      "  muster models show llama@v1\n"
      "  muster models tensors llama@v1 --shard 3\n"
      "  muster models delete llama@v1 --with-objects\n"
      "  muster models gc --dry-run\n"
      "  muster models gc --to file:///srv/models --older-than 1h");
}

}  // namespace muster
