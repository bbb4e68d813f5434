#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/list_output.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "client/view/view_place.h"
#include "client/view/view_versions.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct ViewArguments {
  ListFlags list;
  std::string directory;
  std::string version;
  bool all = false;
  bool force = false;
};

// Versions of views are named as the command line names model versions.
absl::StatusOr<std::string> VersionName(const std::string& text) {
  MUSTER_ASSIGN_OR_RETURN(const std::string full, FullModelVersionName(text));
  return ShortModelVersionName(full);
}

// "whole", "partial", "incomplete" or "broken".
std::string HealthName(const ViewVersion& version) {
  if (version.health.ok()) return version.record.partial ? "partial" : "whole";
  return absl::IsUnavailable(version.health) ? "incomplete" : "broken";
}

std::string VersionJson(const ViewPlace& place, const ViewVersion& version) {
  JsonObject json;
  json.Add("version", version.name);
  json.Add("model_version", version.record.model_version);
  json.Add("path", place.PathOf(version.name));
  json.AddRaw("current", version.current ? "true" : "false");
  json.Add("state", HealthName(version));
  json.Add("message", std::string(version.health.message()));
  json.Add("links", std::string(ViewLinksName(version.record.links)));
  json.Add("protection", std::string(ViewProtectionName(version.protection)));
  json.Add("files", static_cast<int64_t>(version.record.files.size()));
  json.Add("size_bytes", version.record.SizeBytes());
  json.Add("cache", version.record.cache.path);
  return json.ToString();
}

std::string ViewVersionsTable(const std::vector<ViewVersion>& versions,
                              const std::vector<size_t>& shown) {
  Table table({{"CURRENT"},
               {"VERSION"},
               {"STATE"},
               {"LINKS"},
               {"PROTECTION"},
               {"FILES", Table::Align::kRight},
               {"SIZE", Table::Align::kRight},
               {"CACHE"}});
  for (const size_t index : shown) {
    const ViewVersion& version = versions[index];
    table.Add({version.current ? "*" : "", version.name, HealthName(version),
               std::string(ViewLinksName(version.record.links)),
               std::string(ViewProtectionName(version.protection)),
               absl::StrCat(version.record.files.size()), FormatSize(version.record.SizeBytes()),
               version.record.cache.path});
  }
  return table.ToString();
}

absl::Status ListViews(Invocation& invocation, const ViewArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const ViewPlace place, ViewPlace::At(options.directory));
  MUSTER_ASSIGN_OR_RETURN(const std::vector<ViewVersion> versions, ListViewVersions(place));
  List list;
  for (const ViewVersion& version : versions) {
    list.items.push_back({version.name, VersionJson(place, version)});
    if (!version.health.ok()) invocation.Note(version.health.message());
  }
  list.more.Add("view", place.link());
  list.more.Add("current", place.Current().value_or(""));
  list.none = absl::StrCat("no versions at ", Printable(place.link()));
  list.table = [&versions](const std::vector<size_t>& shown, bool, absl::Time) {
    return ViewVersionsTable(versions, shown);
  };
  return PrintList(invocation, options.list, list);
}

absl::Status Switch(Invocation& invocation, const ViewArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const ViewPlace place, ViewPlace::At(options.directory));
  MUSTER_ASSIGN_OR_RETURN(const std::string version, VersionName(options.version));
  const std::string before = place.Current().value_or("");
  MUSTER_RETURN_IF_ERROR(SwitchView(place, version, invocation.stop()));
  if (invocation.json()) {
    JsonObject json;
    json.Add("view", place.link());
    json.Add("current", version);
    json.Add("before", before);
    invocation.PrintJson(json.ToString());
    return absl::OkStatus();
  }
  invocation.PrintLine(absl::StrCat(
      Printable(place.link()), " leads to ", version,
      before.empty() || before == version ? "" : absl::StrCat(", before to ", before)));
  return absl::OkStatus();
}

absl::Status Remove(Invocation& invocation, const ViewArguments& options) {
  if (options.all != options.version.empty()) {
    return UsageError("name a version, such as llama@v1, or say --all");
  }
  ViewRemoval removal{.all = options.all, .force = options.force, .stop = invocation.stop()};
  MUSTER_ASSIGN_OR_RETURN(const ViewPlace place, ViewPlace::At(options.directory));
  if (!options.all) {
    MUSTER_ASSIGN_OR_RETURN(removal.version, VersionName(options.version));
  }
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> gone, RemoveViewVersions(place, removal));
  if (invocation.json()) {
    std::vector<std::string> values;
    for (const std::string& version : gone) values.push_back(JsonString(version));
    JsonObject json;
    json.Add("view", place.link());
    json.AddRaw("removed", JsonArray(values));
    invocation.PrintJson(json.ToString());
    return absl::OkStatus();
  }
  invocation.PrintLine(absl::StrCat("removed ",
                                    gone.empty() ? "nothing" : absl::StrJoin(gone, ", "), " from ",
                                    Printable(place.link())));
  return absl::OkStatus();
}

}  // namespace

void AddViewCommand(CLI::App& app, Command& chosen) {
  CLI::App* const view = app.add_subcommand(
      "view", "The directories that serving engines open: create, list, switch, remove versions");
  auto options = std::make_shared<ViewArguments>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  view->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, auto run) {
    CLI::App* const command = view->add_subcommand(name, help);
    command->add_option("DIR", options->directory, "The view: what an agent got as --view")
        ->required();
    command->callback(choose(run));
    return command;
  };
  AddViewCreateCommand(*view, chosen);
  AddListFlags(*add("list", "Versions of a view; * marks the one that DIR leads to", ListViews),
               options->list);
  add("switch", "Point DIR to an existing version, in one step", Switch)
      ->add_option("MODEL@VERSION", options->version, "The version")
      ->required();
  CLI::App* const remove = add("remove", "Remove versions, and release what they pin", Remove);
  remove->add_option("MODEL@VERSION", options->version, "The version to remove");
  remove->add_flag("--all", options->all, "All versions and DIR");
  remove->add_flag("--force", options->force, "Also the version that DIR leads to, and DIR");
  view->footer(
      "Works on this machine's files and asks no server. An agent with --view makes a version when "
      "its model is READY, switches to it once, and then leaves DIR where it leads: an upgrade or "
      "a "
      "rollback by `switch` stands. Each version pins its cache entries until it is removed, also "
      "after its agent has ended.\n"
      "PROTECTION is what becomes of the cache when a program writes to files of the view: own, "
      "they "
      "are no files of the cache; sealed, the kernel refuses it (fs-verity); watched, agents "
      "notice, "
      "and fetch the shard again.\n\n"
      "Examples:\n"
      "  muster view create /srv/llama llama@v1 --cache /var/cache/muster\n"
      "  muster view list /srv/llama\n"
      "  muster view switch /srv/llama llama@v2\n"
      "  muster view remove /srv/llama llama@v1\n"
      "  muster view remove /srv/llama --all");
}

}  // namespace muster
