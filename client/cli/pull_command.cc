#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/assemble/shard_files.h"
#include "client/cli/cache_flags.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/key_flags.h"
#include "client/cli/local_caches.h"
#include "client/cli/pull_flags.h"
#include "client/cli/room_output.h"
#include "client/cli/values.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct PullArguments {
  std::string model;
  std::string out;
  std::string shards;
  std::vector<std::string> caches;
  std::string cache_domain = "default";
  bool dry_run = false;
  bool clean = false;
  PullFlags pull;
  KeyFlags keys;
};

void PrintPulledFiles(const Invocation& invocation, const PullArguments& options,
                      const std::vector<PulledFile>& files) {
  if (invocation.json()) {
    std::vector<std::string> values;
    for (const PulledFile& file : files) {
      JsonObject value;
      value.Add("shard", static_cast<int64_t>(file.shard));
      value.Add("path", file.path);
      value.Add("size_bytes", file.size_bytes);
      value.AddRaw("kept", file.kept ? "true" : "false");
      values.push_back(value.ToString());
    }
    JsonObject json;
    json.AddRaw("files", JsonArray(values));
    invocation.PrintLine(json.ToString());
    return;
  }
  int64_t bytes = 0;
  for (const PulledFile& file : files) bytes += file.size_bytes;
  const auto kept =
      std::count_if(files.begin(), files.end(), [](const PulledFile& file) { return file.kept; });
  invocation.PrintLine(absl::StrCat(
      "pulled ", CountOf(files.size(), "shard"), ", ", FormatSize(bytes), ", verified, to ",
      options.out, kept == 0 ? "" : absl::StrCat("; ", kept, " were there already")));
}

// A plain directory: nothing in it is pinned, and nothing may go.
absl::Status PrintPullRoom(const Invocation& invocation, Client& client,
                           const PullFilesOptions& pull) {
  MUSTER_ASSIGN_OR_RETURN(const ShardFilesRoom files, RoomForShardFiles(client, pull));
  RoomReport report;
  report.shards = files.shards;
  report.room.needed_bytes = files.disk.needed_bytes;
  report.room.free_bytes = files.disk.free_bytes;
  invocation.Print(invocation.json() ? RoomJson(report) : RoomText(report));
  return CheckDiskRoom(files.disk, pull.out);
}

// What an earlier pull left, whole or not.
absl::Status CleanPulled(const Invocation& invocation, Client& client,
                         const PullFilesOptions& pull) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<PulledFile> files, RemoveShardFiles(client, pull));
  std::vector<std::string> removed;
  int64_t bytes = 0;
  for (const PulledFile& file : files) {
    if (file.kept) {
      invocation.Note(absl::StrCat(file.path, " stays: that it is what was pulled can't be told"));
      continue;
    }
    bytes += file.size_bytes;
    removed.push_back(JsonString(file.path));
  }
  if (invocation.json()) {
    JsonObject json;
    json.AddRaw("removed", JsonArray(removed));
    invocation.PrintJson(json.ToString());
  } else {
    invocation.PrintLine(absl::StrCat("removed ", CountOf(removed.size(), "file"), ", ",
                                      FormatSize(bytes), ", from ", Printable(pull.out)));
  }
  return absl::OkStatus();
}

absl::Status RunPull(Invocation& invocation, const PullArguments& options) {
  PullFilesOptions pull;
  MUSTER_ASSIGN_OR_RETURN(pull.model_version, FullModelVersionName(options.model));
  if (!options.shards.empty()) {
    MUSTER_ASSIGN_OR_RETURN(pull.shards, ParseShardList(options.shards));
  }
  MUSTER_ASSIGN_OR_RETURN(const PullerOptions puller_options, ToPullerOptions(options.pull));
  MUSTER_ASSIGN_OR_RETURN(const auto stores,
                          OpenLocations(invocation, options.pull, UnnamedLocations::kAll));
  MUSTER_ASSIGN_OR_RETURN(pull.keys, ToReadingKeys(invocation, options.keys));
  MUSTER_ASSIGN_OR_RETURN(const LocalCaches caches,
                          LocalCaches::Open(options.caches, options.cache_domain, pull.keys));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect(kLongCallTimeout));
  pull.out = options.out;
  pull.stop = invocation.stop();
  if (options.clean) return CleanPulled(invocation, *client, pull);
  if (options.dry_run) return PrintPullRoom(invocation, *client, pull);
  Puller puller(*stores, invocation.clock(), invocation.random(), puller_options);
  pull.discard = invocation.SecondStop();
  const auto bar = invocation.NewProgressBar("pulling");
  pull.caches = caches.pointers();
  pull.on_plan = [&](int64_t bytes) { bar->SetTotal(bytes); };
  pull.on_bytes = [&](int64_t bytes) { bar->Add(bytes); };
  pull.warn = [&](const std::string& warning) {
    if (!invocation.json()) bar->Say(absl::StrCat("warning: ", warning));
  };
  const absl::StatusOr<std::vector<PulledFile>> files = PullShardFiles(*client, puller, pull);
  if (absl::IsCancelled(files.status()) && pull.discard.stop_requested()) {
    return absl::CancelledError(
        absl::StrCat("interrupted; what this command had put into ", options.out, " is removed"));
  }
  if (absl::IsCancelled(files.status())) {
    return absl::CancelledError(
        absl::StrCat("interrupted; the files in ", options.out,
                     " are whole: the same command keeps them and gets the rest, and with --clean "
                     "it deletes them"));
  }
  MUSTER_RETURN_IF_ERROR(files.status());
  PrintPulledFiles(invocation, options, *files);
  return absl::OkStatus();
}

}  // namespace

void AddPullCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command =
      app.add_subcommand("pull", "Copy shards into a directory, verified; needs no registration");
  auto options = std::make_shared<PullArguments>();
  command->add_option("MODEL@VERSION", options->model, "The model version")->required();
  command->add_option("--out", options->out, "Directory for the files; made if absent")->required();
  command->add_option("--shards", options->shards, "Which shards, such as 0,3-5 (default: all)");
  command->add_option("--cache", options->caches,
                      "Caches of agents on this machine, asked before the locations");
  AddCacheDomainFlag(*command, options->cache_domain);
  command->add_flag("--dry-run", options->dry_run,
                    "Fetch nothing: only say whether what is missing fits into --out");
  command->add_flag("--clean", options->clean,
                    "Fetch nothing: delete the files in --out that are these shards, and what a "
                    "killed pull left beside them");
  AddPullFlags(*command, options->pull, UnnamedLocations::kAll);
  AddKeyFlags(*command, "The key of encrypted shards", options->keys);
  command->footer(
      "Each file is named after its shard and appears when it is verified; correct files that "
      "are already there are kept, except those of shards that are stored encoded. What does "
      "not fit is refused before the first byte. What is whole stays when it is interrupted, and "
      "the same command gets the rest; a second Ctrl-C while it ends removes what it had fetched, "
      "and "
      "--clean does so later. `muster export` makes the complete model instead.\n\n"
      "Examples:\n"
      "  muster pull llama@v1 --out /srv/shards\n"
      "  muster pull llama@v1 --out /srv/shards --shards 0,3-5\n"
      "  muster pull llama@v1 --out /srv/shards --dry-run --json\n"
      "  muster pull llama@v1 --out /srv/shards --clean");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunPull(invocation, *options); };
  });
}

}  // namespace muster
