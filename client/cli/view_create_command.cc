// Makes a view by hand, from what agents noted beside their cache.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/agent/assembly_notes.h"
#include "client/agent/noted_assembly.h"
#include "client/cli/agent_offline.h"
#include "client/cli/cache_flags.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/pull_flags.h"
#include "client/cli/ready_flags.h"
#include "client/cli/values.h"
#include "client/view/view_builder.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct ViewCreateArguments {
  std::string directory;
  std::string version;
  CacheFlags cache;
  std::string links;
  bool partial = false;
  bool allow_code = false;
  PullFlags pull;
};

// The note that holds most of the model version, of all nodes and assemblies of the cache.
absl::StatusOr<std::unique_ptr<NotedAssembly>> FindNoted(Invocation& invocation,
                                                         const std::string& cache,
                                                         const std::string& version) {
  std::unique_ptr<NotedAssembly> best;
  std::set<std::string> noted;
  for (const AssemblyNotes& notes : AssemblyNotes::OfCache(cache)) {
    for (const std::string& assembly : notes.Assemblies()) {
      absl::StatusOr<node::AssemblyNote> note = notes.Read(assembly);
      absl::StatusOr<std::unique_ptr<NotedAssembly>> one =
          note.ok() ? NotedAssembly::Make(*std::move(note), invocation.random())
                    : absl::StatusOr<std::unique_ptr<NotedAssembly>>(note.status());
      if (!one.ok()) {
        invocation.Note(absl::StrCat("warning: ", one.status().message()));
        continue;
      }
      noted.insert(ShortModelVersionName((*one)->model_version().name()));
      if ((*one)->model_version().name() != version) continue;
      if (best == nullptr || best->held().size() < (*one)->held().size()) best = *std::move(one);
    }
  }
  if (best != nullptr) return best;
  return MakeError(
      absl::StatusCode::kNotFound, reasons::kVersionUnknown,
      absl::StrCat("no agent of the cache ", cache, " noted ", ShortModelVersionName(version),
                   noted.empty() ? "" : absl::StrCat(", only ", absl::StrJoin(noted, ", ")),
                   "; an agent notes a model once it is READY there"),
      {{"model_version", version}, {"cache", cache}});
}

absl::Status CreateView(Invocation& invocation, const ViewCreateArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string version, FullModelVersionName(options.version));
  MUSTER_ASSIGN_OR_RETURN(const std::optional<uint32_t> file_mode, FileModeOf(options.cache));
  MUSTER_ASSIGN_OR_RETURN(PullerOptions puller_options, ToPullerOptions(options.pull));
  MUSTER_ASSIGN_OR_RETURN(const auto stores,
                          OpenLocations(invocation, options.pull, UnnamedLocations::kAll));
  const auto warn = [&invocation](absl::string_view why) {
    invocation.Note(absl::StrCat("warning: ", why));
  };
  MUSTER_ASSIGN_OR_RETURN(const auto cache,
                          OpenCache(invocation, options.cache, puller_options.memory, warn));
  MUSTER_ASSIGN_OR_RETURN(const auto noted, FindNoted(invocation, cache->place().path, version));
  puller_options.warn = warn;
  Puller puller(*stores, invocation.clock(), invocation.random(), puller_options);
  ViewOptions view;
  view.model_version = version;
  view.directory = options.directory;
  view.links = ToViewLinks(options.links);
  if (options.partial) view.only_shards = noted->held();
  view.allow_code = options.allow_code;
  view.file_mode = file_mode;
  for (const AssemblyNotes& notes : AssemblyNotes::OfCache(cache->place().path)) {
    view.kept_companions.push_back(CompanionsOf(notes));
  }
  view.stop = invocation.stop();
  view.warn = warn;
  MUSTER_ASSIGN_OR_RETURN(const ViewSummary summary,
                          BuildView(noted->client(), puller, *cache, view));
  if (invocation.json()) {
    JsonObject json;
    json.Add("view", summary.path);
    json.Add("path", summary.version_path);
    json.AddRaw("current", summary.current ? "true" : "false");
    json.AddRaw("kept", summary.kept ? "true" : "false");
    json.Add("links", std::string(ViewLinksName(summary.links)));
    json.Add("files", static_cast<int64_t>(summary.files));
    json.Add("size_bytes", summary.size_bytes);
    invocation.PrintLine(json.ToString());
    return absl::OkStatus();
  }
  invocation.PrintLine(absl::StrCat(
      summary.kept ? "kept " : "made ", Printable(summary.version_path), ": ", summary.files,
      " files, ", FormatSize(summary.size_bytes), "; ", Printable(summary.path),
      summary.current ? " leads to it" : " leads elsewhere, see `muster view switch`"));
  return absl::OkStatus();
}

}  // namespace

void AddViewCreateCommand(CLI::App& view, Command& chosen) {
  CLI::App* const command = view.add_subcommand(
      "create", "Make a version from what an agent on this machine last knew; asks no server");
  auto options = std::make_shared<ViewCreateArguments>();
  command->add_option("DIR", options->directory, "The view: a link, with its versions in DIR.d")
      ->required();
  command->add_option("MODEL@VERSION", options->version, "The version")->required();
  AddCacheFlags(*command, options->cache);
  AddViewLinksFlag(*command, "--links", options->links);
  command->add_flag("--partial", options->partial,
                    "Also where the cache holds only a part of the model");
  command->add_flag("--allow-code", options->allow_code,
                    "Show files of the model that engines may run (*.py and the like)");
  AddPullFlags(*command, options->pull, UnnamedLocations::kAll);
  command->footer(
      "For when no server answers and no agent runs: the shards come from the cache, and are "
      "hashed where nothing vouches for them; small files of the model are kept beside the cache "
      "(64 MiB of them), others come from its storage. "
      "What can be made is what an agent with this --cache was READY with.\n\n"
      "Examples:\n"
      "  muster view create /srv/llama llama@v1 --cache /var/cache/muster");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return CreateView(invocation, *options); };
  });
}

}  // namespace muster
