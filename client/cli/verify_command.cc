#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/assemble/model_verifier.h"
#include "client/cli/cache_flags.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/key_flags.h"
#include "client/cli/local_caches.h"
#include "client/cli/values.h"
#include "client/hash/md5_lanes.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct VerifyArguments {
  std::string model;
  std::string directory;
  std::string cache;
  std::string cache_domain = "default";
  bool whole = false;
  size_t jobs = 0;
  KeyFlags keys;
};

void PrintJsonSummary(const Invocation& invocation, const std::string& name,
                      const VerifySummary& summary) {
  std::vector<std::string> faults;
  for (const VerifyFault& fault : summary.faults) {
    JsonObject json;
    json.Add("what", fault.what);
    json.Add("where", fault.where);
    json.Add("message", fault.message);
    json.Add("expected_md5", fault.expected_md5);
    json.Add("found_md5", fault.found_md5);
    faults.push_back(json.ToString());
  }
  JsonObject json;
  json.Add("model_version", name);
  json.AddRaw("good", summary.fault_count == 0 ? "true" : "false");
  json.Add("objects", static_cast<int64_t>(summary.objects));
  json.Add("absent", static_cast<int64_t>(summary.absent));
  json.Add("checked_bytes", summary.checked_bytes);
  json.Add("fault_count", static_cast<int64_t>(summary.fault_count));
  json.AddRaw("faults", JsonArray(faults));
  invocation.PrintLine(json.ToString());
}

void PrintVerified(const Invocation& invocation, const std::string& name,
                   const VerifySummary& summary) {
  for (const VerifyFault& fault : summary.faults) {
    std::string line = absl::StrCat("BAD ", fault.what, " at ", fault.where, ": ", fault.message);
    if (!fault.expected_md5.empty()) {
      absl::StrAppend(&line, " (expected MD5 ", fault.expected_md5, ", found ", fault.found_md5,
                      ")");
    }
    invocation.PrintLine(Printable(line));
  }
  const std::string absent =
      summary.absent == 0
          ? ""
          : absl::StrCat(", ", CountOf(summary.absent, "shard"), " not in the cache");
  if (summary.fault_count == 0) {
    invocation.PrintLine(absl::StrCat("verified ", ShortModelVersionName(name), ": ",
                                      CountOf(summary.objects, "object"), ", ",
                                      FormatSize(summary.checked_bytes), ", all good", absent));
  }
}

absl::Status RunVerify(Invocation& invocation, const VerifyArguments& options) {
  VerifyOptions verify;
  MUSTER_ASSIGN_OR_RETURN(verify.model_version, FullModelVersionName(options.model));
  std::vector<std::string> cache_paths;
  if (!options.cache.empty()) cache_paths.push_back(options.cache);
  MUSTER_ASSIGN_OR_RETURN(verify.keys, ToReadingKeys(invocation, options.keys));
  MUSTER_ASSIGN_OR_RETURN(const LocalCaches caches,
                          LocalCaches::Open(cache_paths, options.cache_domain, verify.keys));
  if (!cache_paths.empty()) verify.cache = caches.pointers().front();
  verify.directory = options.directory;
  verify.whole = options.whole;
  const size_t cores = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8);
  verify.jobs = options.jobs > 0 ? options.jobs : std::max(cores, Md5LaneCount());
  verify.stop = invocation.stop();
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect(kLongCallTimeout));
  VerifySummary summary;
  {
    const auto bar = invocation.NewProgressBar("verifying");
    verify.on_plan = [&](int64_t bytes) { bar->SetTotal(bytes); };
    verify.on_bytes = [&](int64_t bytes) { bar->Add(bytes); };
    MUSTER_ASSIGN_OR_RETURN(summary, VerifyModel(*client, invocation.stores(), verify));
  }
  if (invocation.json()) {
    PrintJsonSummary(invocation, verify.model_version, summary);
  } else {
    PrintVerified(invocation, verify.model_version, summary);
  }
  if (summary.fault_count == 0) return absl::OkStatus();
  std::map<std::string, std::string> metadata = {
      {"fault_count", absl::StrCat(summary.fault_count)}};
  // What is stored can be repaired; caches mend themselves, and a directory is made again.
  const bool stored = cache_paths.empty() && options.directory.empty();
  if (stored) metadata.emplace("model_version", verify.model_version);
  return MakeError(absl::StatusCode::kDataLoss, reasons::kVerifyFailed,
                   absl::StrCat(ShortModelVersionName(verify.model_version), ": ",
                                CountOf(summary.fault_count, "fault"), " in ",
                                CountOf(summary.objects, "object")),
                   metadata);
}

}  // namespace

void AddVerifyCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "verify", "Compare stored objects, a cache or an assembled directory with the catalogue");
  auto options = std::make_shared<VerifyArguments>();
  command->add_option("MODEL@VERSION", options->model, "The model version")->required();
  CLI::Option* const directory = command->add_option(
      "--dir", options->directory, "Look at this directory, which `muster export` made");
  command->add_option("--cache", options->cache, "Look at this cache of an agent")
      ->excludes(directory);
  AddCacheDomainFlag(*command, options->cache_domain);
  command->add_flag("--whole", options->whole, "Compare the MD5 of whole shards too");
  command
      ->add_option("--jobs", options->jobs,
                   "Shards read at once (default: as many as a core hashes side by side)")
      ->check(CLI::Range(1u, 256u));
  AddKeyFlags(*command, "With --dir or --cache, the key of encrypted shards", options->keys);
  command->footer(
      "Without --dir and --cache, every registered location of every shard and companion is read. "
      "Says which piece of "
      "which copy is bad; exits with 1 if there is any.\n\n"
      "Examples:\n"
      "  muster verify llama@v1\n"
      "  muster verify llama@v1 --whole --json\n"
      "  muster verify llama@v1 --dir /srv/llama\n"
      "  muster verify llama@v1 --cache /var/cache/muster");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunVerify(invocation, *options); };
  });
}

}  // namespace muster
