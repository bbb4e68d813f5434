#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/encode_flags.h"
#include "client/cli/json_output.h"
#include "client/cli/source_flags.h"
#include "client/cli/values.h"
#include "client/hash/md5_lanes.h"
#include "client/publish/publisher.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Each job hashes two streams and copies, so more of them than cores gain nothing.
constexpr size_t kMaxDefaultJobs = 8;

// At most this many lines about what is left out.
constexpr size_t kMaxLeftOutLines = 20;

struct PublishArguments {
  std::shared_ptr<SourceFlags> source = std::make_shared<SourceFlags>();
  std::string model;
  std::string to;
  std::string zone;
  size_t jobs = 0;
  bool restart = false;
  bool clean = false;
  EncodeFlags encode;
  std::string server_timeout = "5m";
};

absl::StatusOr<PublishOptions> ToPublishOptions(const Invocation& invocation,
                                                const PublishArguments& options) {
  PublishOptions publish;
  MUSTER_ASSIGN_OR_RETURN(publish.source, ToSourceOptions(*options.source));
  MUSTER_ASSIGN_OR_RETURN(publish.model_version, FullModelVersionName(options.model));
  if (options.to.empty() != options.source->in_place) {
    return UsageError(options.to.empty()
                          ? "say where the shards go with --to, or leave the files where they are "
                            "with --in-place"
                          : "--to and --in-place exclude each other: files in place go nowhere");
  }
  if (!options.to.empty()) {
    MUSTER_ASSIGN_OR_RETURN(publish.destination,
                            ParseDestination(options.to, invocation.working_directory()));
  }
  MUSTER_ASSIGN_OR_RETURN(publish.encode, ToEncodeOptions(invocation, options.encode));
  if (options.source->in_place && publish.encode.any()) {
    return UsageError(
        "files in place stay as they are: --in-place excludes --encode and keys to encrypt with");
  }
  publish.zone = options.zone;
  const size_t cores = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kMaxDefaultJobs);
  // A shard takes two lanes: its piece, and the whole.
  publish.jobs = options.jobs > 0 ? options.jobs : std::max(cores, Md5LaneCount() / 2);
  publish.restart = options.restart;
  MUSTER_ASSIGN_OR_RETURN(publish.first_call_timeout, invocation.Timeout(absl::Seconds(10)));
  MUSTER_ASSIGN_OR_RETURN(publish.call_timeout, ParseDuration(options.server_timeout));
  publish.stop = invocation.stop();
  publish.discard = invocation.SecondStop();
  return publish;
}

void PrintPublished(const Invocation& invocation, const PublishSummary& summary,
                    absl::Duration elapsed) {
  const v1::ModelVersion& version = summary.model_version;
  if (invocation.json()) {
    JsonObject json;
    json.AddRaw("model_version", MessageToJson(version));
    json.Add("prefix", summary.prefix);
    json.AddRaw("resumed", summary.resumed ? "true" : "false");
    json.Add("shards_kept", int64_t{summary.shards_kept});
    std::vector<std::string> warnings;
    for (const std::string& warning : summary.warnings) {
      warnings.push_back(JsonString(warning));
    }
    json.AddRaw("warnings", JsonArray(warnings));
    invocation.PrintLine(json.ToString());
    return;
  }
  invocation.PrintLine(absl::StrCat(
      "published ", ShortModelVersionName(version.name()), ": ",
      CountOf(version.shard_count(), "shard"), ", ", CountOf(version.tensor_count(), "tensor"),
      ", ", CountOf(version.companion_count(), "companion"), ", ",
      FormatSize(static_cast<int64_t>(version.size_bytes())), " in ", HumanDuration(elapsed),
      summary.prefix.empty() ? ", in place" : absl::StrCat(" at ", Printable(summary.prefix))));
  if (!summary.resumed) return;
  invocation.PrintLine(absl::StrCat("resumed an earlier publication: ", summary.shards_kept, " of ",
                                    CountOf(version.shard_count(), "shard"),
                                    " were stored already"));
}

absl::Status Clean(Invocation& invocation, const PublishArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string name, FullModelVersionName(options.model));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const DiscardedDraft discarded,
                          DiscardDraft(*client, invocation.stores(), name, invocation.Call()));
  if (invocation.json()) {
    JsonObject json;
    json.Add("name", name);
    json.AddRaw("draft_deleted", discarded.found ? "true" : "false");
    json.Add("objects_deleted", static_cast<int64_t>(discarded.objects));
    invocation.PrintLine(json.ToString());
    return absl::OkStatus();
  }
  invocation.PrintLine(
      discarded.found
          ? absl::StrCat("deleted the draft ", ShortModelVersionName(name), " and ",
                         CountOf(discarded.objects, "stored object"))
          : absl::StrCat("nothing is left of a publication of ", ShortModelVersionName(name)));
  return absl::OkStatus();
}

absl::Status RunPublish(Invocation& invocation, const PublishArguments& options) {
  if (options.clean) return Clean(invocation, options);
  MUSTER_ASSIGN_OR_RETURN(PublishOptions publish, ToPublishOptions(invocation, options));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect(publish.call_timeout));
  const absl::Duration begin = invocation.clock().Monotonic();
  const auto bar = invocation.NewProgressBar("publishing");
  publish.on_plan = [&](const SourcePlan& plan, int64_t total_bytes) {
    bar->SetTotal(total_bytes);
    for (const std::string& line : LeftOutLines(plan.checkpoint, kMaxLeftOutLines)) {
      invocation.Note(line);
    }
    for (const std::string& note : plan.cuts.notes) invocation.Note(note);
    for (const std::string& warning : plan.checkpoint.warnings) {
      invocation.Note(absl::StrCat("warning: ", warning));
    }
  };
  publish.on_bytes = [&](int64_t bytes) { bar->Add(bytes); };
  MUSTER_ASSIGN_OR_RETURN(const PublishSummary summary,
                          Publish(*client, invocation.stores(), invocation.random(), publish));
  PrintPublished(invocation, summary, invocation.clock().Monotonic() - begin);
  return absl::OkStatus();
}

}  // namespace

void AddPublishCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "publish", "Cut a checkpoint into shards, store them with their MD5s and commit them");
  auto options = std::make_shared<PublishArguments>();
  AddSourceFlags(*command, options->source);
  command->add_option("--model", options->model, "MODEL@VERSION to publish as")->required();
  command->add_option(
      "--to", options->to,
      "Where the shards go: file:///DIR, s3://BUCKET/PREFIX, hdfs://HOST/DIR, or a directory");
  command->add_option("--zone", options->zone, "Zone of the storage; its nodes read there first");
  command
      ->add_option("--jobs", options->jobs,
                   "Shards written at once (default: as many as a core hashes side by side)")
      ->check(CLI::Range(1u, 256u));
  command->add_flag("--restart", options->restart,
                    "Delete what a killed publication of this name left behind, rather than "
                    "resume it");
  command->add_flag(
      "--clean", options->clean,
      "Publish nothing: only delete what an interrupted or killed publication of this "
      "name left behind");
  AddEncodeFlags(*command, options->encode);
  command
      ->add_option("--server-timeout", options->server_timeout,
                   "How long a server that went away is waited for")
      ->capture_default_str();
  command->footer(
      "Nothing is left behind when it fails: all is committed, or nothing. A publication that was "
      "interrupted or killed, or whose storage went away or no longer grants access, is resumed by "
      "the "
      "same command; shards that it stored are read again, but not written. Ctrl-C keeps what is "
      "stored; a second one while the first is carried out deletes it, as --clean does later, and "
      "a "
      "third one ends the process at once. "
      "`muster inspect` shows beforehand what would be published.\n\n"
      "Examples:\n"
      "  muster publish model.safetensors --model llama@v1 --to file:///srv/models --strategy "
      "layer --shards 12\n"
      "  muster publish ./Llama-3-8B --model llama@v2 --to file:///srv/models --strategy "
      "uniform --shards 8\n"
      "  muster publish ./Llama-3-8B --model llama@v3 --to s3://models --encode auto "
      "--key-file /etc/muster/key --key-id prod-2026\n"
      "  muster publish ./Llama-3-8B --model llama@v4 --to s3://models --key-from-server\n"
      "  muster publish weights.gguf --model tiny@v1 --to /srv/models --strategy raw --shards "
      "4\n"
      "  muster publish /mnt/shared/vllm-sharded --model qwen@tp8 --in-place\n"
      "  muster publish s3://models/llama/ --model llama@v3 --in-place");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunPublish(invocation, *options); };
  });
}

}  // namespace muster
