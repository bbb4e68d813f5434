#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/checkpoint/publisher.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "client/transfer/md5_lanes.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Each job hashes two streams and copies, so more of them than cores gain nothing.
constexpr size_t kMaxDefaultJobs = 8;

struct Options {
  std::string source;
  std::string model;
  std::string to;
  std::string strategy = "layer";
  uint32_t shards = 0;
  std::string piece_size = "8MiB";
  std::string zone;
  bool strict = false;
  size_t jobs = 0;
  bool replace_draft = false;
  std::string server_timeout = "5m";
};

absl::StatusOr<PublishOptions> ToPublishOptions(const Invocation& invocation,
                                                const Options& options) {
  PublishOptions publish;
  publish.source = options.source;
  MUSTER_ASSIGN_OR_RETURN(publish.model_version, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(publish.destination,
                          ParseDestination(options.to, invocation.working_directory()));
  MUSTER_ASSIGN_OR_RETURN(publish.strategy, ParseCutStrategy(options.strategy));
  publish.shard_count = options.shards;
  MUSTER_ASSIGN_OR_RETURN(publish.piece_size_bytes, ParsePieceSize(options.piece_size));
  publish.zone = options.zone;
  publish.strict = options.strict;
  const size_t cores = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kMaxDefaultJobs);
  // A shard takes two lanes: its piece, and the whole.
  publish.jobs = options.jobs > 0 ? options.jobs : std::max(cores, Md5LaneCount() / 2);
  publish.replace_draft = options.replace_draft;
  MUSTER_ASSIGN_OR_RETURN(publish.first_call_timeout, invocation.Timeout(absl::Seconds(10)));
  MUSTER_ASSIGN_OR_RETURN(publish.call_timeout, ParseDuration(options.server_timeout));
  publish.stop = invocation.stop();
  return publish;
}

void PrintSummary(const Invocation& invocation, const PublishSummary& summary,
                  absl::Duration elapsed) {
  const v1::ModelVersion& version = summary.model_version;
  if (invocation.json()) {
    JsonObject json;
    json.AddRaw("model_version", MessageToJson(version));
    json.Add("prefix", summary.prefix);
    std::vector<std::string> warnings;
    for (const std::string& warning : summary.plan.warnings) {
      warnings.push_back(JsonString(warning));
    }
    json.AddRaw("warnings", JsonArray(warnings));
    invocation.PrintLine(json.ToString());
    return;
  }
  invocation.PrintLine(absl::StrCat("published ", ShortModelVersionName(version.name()), ": ",
                                    CountOf(version.shard_count(), "shard"), ", ",
                                    CountOf(version.tensor_count(), "tensor"), ", ",
                                    CountOf(version.companion_count(), "companion"), ", ",
                                    FormatSize(static_cast<int64_t>(version.size_bytes())), " in ",
                                    HumanDuration(elapsed), " at ", Printable(summary.prefix)));
}

absl::Status Run(Invocation& invocation, const Options& options) {
  MUSTER_ASSIGN_OR_RETURN(PublishOptions publish, ToPublishOptions(invocation, options));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect(publish.call_timeout));
  const absl::Duration begin = invocation.clock().Monotonic();
  const auto bar = invocation.NewProgressBar("publishing");
  publish.on_plan = [&](const PublishPlan& plan) {
    bar->SetTotal(plan.size_bytes);
    for (const std::string& note : plan.notes) invocation.Note(note);
    for (const std::string& warning : plan.warnings) {
      invocation.Note(absl::StrCat("warning: ", warning));
    }
  };
  publish.on_bytes = [&](int64_t bytes) { bar->Add(bytes); };
  MUSTER_ASSIGN_OR_RETURN(const PublishSummary summary,
                          Publish(*client, invocation.stores(), invocation.random(), publish));
  PrintSummary(invocation, summary, invocation.clock().Monotonic() - begin);
  return absl::OkStatus();
}

}  // namespace

void AddPublishCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "publish", "Cut a checkpoint into shards, store them with their MD5s and commit them");
  auto options = std::make_shared<Options>();
  command
      ->add_option("SRC", options->source,
                   "A safetensors file, a directory in the Hugging Face layout, or with "
                   "--strategy raw any file")
      ->required();
  command->add_option("--model", options->model, "MODEL@VERSION to publish as")->required();
  command
      ->add_option("--to", options->to,
                   "Where the shards go: file:///DIR, s3://BUCKET/PREFIX, hdfs://HOST/DIR, or a directory")
      ->required();
  command
      ->add_option("--strategy", options->strategy,
                   "layer: by layer, in order; type: by kind of parameter; uniform: by bytes; "
                   "raw: any file as byte ranges")
      ->check(CLI::IsMember({"layer", "type", "uniform", "raw"}))
      ->capture_default_str();
  command->add_option("--shards", options->shards, "Number of shards (default: one per 4 GiB)")
      ->check(CLI::Range(1u, 100'000u));
  command
      ->add_option("--piece-size", options->piece_size,
                   "Unit of fetch, check and retry: a power of two from 1MiB to 64MiB")
      ->capture_default_str();
  command->add_option("--zone", options->zone, "Zone of the storage; its nodes read there first");
  command->add_flag("--strict", options->strict, "Refuse tensors of unknown dtype");
  command
      ->add_option("--jobs", options->jobs,
                   "Shards written at once (default: as many as a core hashes side by side)")
      ->check(CLI::Range(1u, 256u));
  command->add_flag("--replace-draft", options->replace_draft,
                    "Delete what a killed publication of this name left behind, first");
  command
      ->add_option("--server-timeout", options->server_timeout,
                   "How long a server that went away is waited for")
      ->capture_default_str();
  command->footer(
      "Nothing is left behind when it fails or is interrupted: all is committed, or nothing.\n\n"
      "Examples:\n"
      "  muster publish model.safetensors --model llama@v1 --to file:///srv/models --strategy "
      "layer --shards 12\n"
      "  muster publish ./Llama-3-8B --model llama@v2 --to file:///srv/models --strategy uniform "
      "--shards 8\n"
      "  muster publish weights.gguf --model tiny@v1 --to /srv/models --strategy raw --shards 4");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return Run(invocation, *options); };
  });
}

}  // namespace muster
