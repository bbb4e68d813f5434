#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/assemble/assembler.h"
#include "client/cli/cache_flags.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/key_flags.h"
#include "client/cli/local_caches.h"
#include "client/cli/pull_flags.h"
#include "client/cli/values.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct AssembleArguments {
  std::string model;
  std::string out;
  std::vector<std::string> caches;
  std::string cache_domain = "default";
  bool allow_code = false;
  PullFlags pull;
  KeyFlags keys;
};

void PrintAssembled(const Invocation& invocation, const AssembleArguments& options,
                    const AssembleSummary& summary) {
  if (invocation.json()) {
    std::vector<std::string> files;
    for (const std::string& file : summary.files) files.push_back(JsonString(file));
    JsonObject json;
    json.AddRaw("complete", "true");
    json.Add("model_version", summary.model_version.name());
    json.Add("out", options.out);
    json.Add("tensor_count", static_cast<int64_t>(summary.tensor_count));
    json.Add("tied_count", static_cast<int64_t>(summary.tied_count));
    json.Add("content_bytes", summary.content_bytes);
    json.AddRaw("files", JsonArray(files));
    json.Add("companion_count", static_cast<int64_t>(summary.companion_count));
    json.Add("shards_from_cache", static_cast<int64_t>(summary.shards_from_cache));
    json.Add("shards_from_locations", static_cast<int64_t>(summary.shards_from_locations));
    invocation.PrintLine(json.ToString());
    return;
  }
  const bool raw = summary.model_version.tensor_count() == 0;
  const std::string count =
      raw ? CountOf(summary.files.size(), "file") : CountOf(summary.tensor_count, "tensor");
  invocation.PrintLine(
      absl::StrCat("assembled, complete: ", count, ", ", summary.content_bytes, " bytes"));
  if (summary.tied_count > 0) {
    invocation.Note(absl::StrCat(CountOf(summary.tied_count, "tensor"),
                                 " of them under a further name, in ", summary.files.back()));
  }
  invocation.Note(absl::StrCat(options.out, ": ", CountOf(summary.files.size(), "file"), " and ",
                               CountOf(summary.companion_count, "companion"), "; ",
                               CountOf(summary.shards_from_cache, "shard"), " from the cache, ",
                               summary.shards_from_locations, " from their locations"));
}

absl::Status RunAssemble(Invocation& invocation, const AssembleArguments& options) {
  AssembleOptions assemble;
  MUSTER_ASSIGN_OR_RETURN(assemble.model_version, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const PullerOptions puller_options, ToPullerOptions(options.pull));
  MUSTER_ASSIGN_OR_RETURN(const auto stores,
                          OpenLocations(invocation, options.pull, UnnamedLocations::kAll));
  MUSTER_ASSIGN_OR_RETURN(assemble.keys, ToReadingKeys(invocation, options.keys));
  MUSTER_ASSIGN_OR_RETURN(const LocalCaches caches,
                          LocalCaches::Open(options.caches, options.cache_domain, assemble.keys));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect(kLongCallTimeout));
  Puller puller(*stores, invocation.clock(), invocation.random(), puller_options);
  const auto bar = invocation.NewProgressBar("assembling");
  assemble.out = options.out;
  assemble.allow_code = options.allow_code;
  assemble.caches = caches.pointers();
  assemble.stop = invocation.stop();
  assemble.on_plan = [&](int64_t bytes) { bar->SetTotal(bytes); };
  assemble.on_bytes = [&](int64_t bytes) { bar->Add(bytes); };
  assemble.warn = [&](const std::string& warning) {
    if (!invocation.json()) bar->Say(absl::StrCat("warning: ", warning));
  };
  const absl::StatusOr<AssembleSummary> summary = AssembleModel(*client, puller, assemble);
  if (absl::IsCancelled(summary.status())) {
    return absl::CancelledError(
        "interrupted, and nothing is left: a directory is made as a whole. After `muster prefetch` "
        "into a cache, which resumes, --cache takes the shards from there");
  }
  MUSTER_RETURN_IF_ERROR(summary.status());
  PrintAssembled(invocation, options, *summary);
  return absl::OkStatus();
}

}  // namespace

void AddAssembleCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "export", "Write the complete model's files from its shards, and prove it");
  auto options = std::make_shared<AssembleArguments>();
  command->add_option("MODEL@VERSION", options->model, "The model version")->required();
  command->add_option("--out", options->out, "Directory to make; absent or empty before")
      ->required();
  command->add_option("--cache", options->caches,
                      "Caches of agents on this machine, asked before the locations");
  AddCacheDomainFlag(*command, options->cache_domain);
  command->add_flag("--allow-code", options->allow_code,
                    "Also write files that engines may run (*.py and the like)");
  AddPullFlags(*command, options->pull, UnnamedLocations::kAll);
  AddKeyFlags(*command, "The key of encrypted shards", options->keys);
  command->footer(
      "Writes the Hugging Face layout: model-0000i-of-0000N.safetensors, their index, and the "
      "companions; a model that "
      "was cut raw comes back as the files that it was cut from. The directory appears when every "
      "byte was verified "
      "and every tensor of the catalogue is there exactly once.\n\n"
      "Examples:\n"
      "  muster export llama@v1 --out /srv/llama\n"
      "  muster export llama@v1 --out /srv/llama --cache /var/cache/muster");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunAssemble(invocation, *options); };
  });
}

}  // namespace muster
