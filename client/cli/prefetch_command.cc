#include <CLI/CLI.hpp>
#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/assemble/shard_files.h"
#include "client/cli/cache_flags.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/pull_flags.h"
#include "client/cli/room_output.h"
#include "client/cli/values.h"
#include "client/hash/parallel.h"
#include "client/loading/first_layers.h"
#include "client/sdk/pieces.h"
#include "storage/base/error_info.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct PrefetchArguments {
  std::string model;
  std::string shards;
  uint32_t first_layers = 0;
  CacheFlags cache;
  size_t parallel_shards = 2;
  bool dry_run = false;
  PullFlags pull;
};

struct Totals {
  std::atomic<int64_t> hits = 0;
  std::atomic<int64_t> fetched_bytes = 0;
};

void PrintTotals(const Invocation& invocation, const PrefetchArguments& options,
                 const std::vector<WantedShard>& wanted, const Totals& totals) {
  int64_t bytes = 0;
  for (const WantedShard& shard : wanted) bytes += shard.size_bytes;
  if (invocation.json()) {
    JsonObject json;
    json.Add("shards", static_cast<int64_t>(wanted.size()));
    json.Add("size_bytes", bytes);
    json.Add("hits", totals.hits);
    json.Add("fetched_bytes", totals.fetched_bytes);
    invocation.PrintLine(json.ToString());
    return;
  }
  invocation.PrintLine(absl::StrCat("cached ", CountOf(wanted.size(), "shard"), ", ",
                                    FormatSize(bytes), ", verified, in ", options.cache.directory,
                                    "; fetched ", FormatSize(totals.fetched_bytes), ", ",
                                    totals.hits.load(), " were there already"));
}

// What the fetches of one command share; thread-safe.
struct Prefetch {
  Client& client;
  Puller& puller;
  ShardCache& cache;
  ProgressBar& bar;
  const bool quiet;
  Totals& totals;
};

absl::Status Fetch(const Prefetch& prefetch, const v1::Shard& shard, const std::stop_token& stop) {
  PullShard pull{shard, {}};
  CallOptions call;
  call.stop = stop;
  MUSTER_ASSIGN_OR_RETURN(pull.pieces, FetchPieces(prefetch.client, shard, call));
  int64_t last = 0;
  const CachedPullResult result =
      prefetch.puller.PullToCache(pull, prefetch.cache, stop, [&](int64_t done) {
        prefetch.bar.Add(done - last);
        last = done;
      });
  prefetch.totals.fetched_bytes += result.pull.fetched_bytes;
  if (result.hit) ++prefetch.totals.hits;
  for (const PullFailure& failure : result.pull.location_failures) {
    if (!prefetch.quiet) prefetch.bar.Say(absl::StrCat("warning: ", Printable(failure.message)));
  }
  return Annotate(result.pull.status, absl::StrCat("shard ", shard.index()));
}

// Those that --shards or --first-layers name, or all.
absl::StatusOr<std::vector<v1::Shard>> Chosen(const Invocation& invocation, Client& client,
                                              const std::string& model,
                                              std::optional<std::vector<uint32_t>> indices,
                                              uint32_t first_layers) {
  if (first_layers > 0) {
    MUSTER_ASSIGN_OR_RETURN(indices,
                            ShardsOfFirstLayers(client, model, first_layers, invocation.Call()));
  }
  return ChooseShards(client, model, indices, invocation.Call());
}

absl::Status RunPrefetch(Invocation& invocation, const PrefetchArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::string model, FullModelVersionName(options.model));
  std::optional<std::vector<uint32_t>> indices;
  if (!options.shards.empty()) {
    MUSTER_ASSIGN_OR_RETURN(indices, ParseShardList(options.shards));
  }
  MUSTER_ASSIGN_OR_RETURN(const PullerOptions puller_options, ToPullerOptions(options.pull));
  MUSTER_ASSIGN_OR_RETURN(const auto stores,
                          OpenLocations(invocation, options.pull, UnnamedLocations::kRemote));
  MUSTER_ASSIGN_OR_RETURN(const auto cache,
                          OpenCache(invocation, options.cache, puller_options.memory,
                                    [&invocation](const std::string& why) {
                                      invocation.Note(absl::StrCat("warning: ", why));
                                    }));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect(kLongCallTimeout));
  MUSTER_ASSIGN_OR_RETURN(
      const std::vector<v1::Shard> shards,
      Chosen(invocation, *client, model, std::move(indices), options.first_layers));
  const std::vector<WantedShard> wanted = WantedOf(shards);
  if (options.dry_run) {
    MUSTER_ASSIGN_OR_RETURN(const CacheRoom room, cache->Room(wanted));
    const RoomReport report{room, shards.size()};
    invocation.Print(invocation.json() ? RoomJson(report) : RoomText(report));
  }
  MUSTER_RETURN_IF_ERROR(cache->CheckRoom(wanted));
  if (options.dry_run) return absl::OkStatus();
  Puller puller(*stores, invocation.clock(), invocation.random(), puller_options);
  Totals totals;
  {
    const auto bar = invocation.NewProgressBar("prefetching");
    int64_t bytes = 0;
    for (const WantedShard& shard : wanted) bytes += shard.size_bytes;
    bar->SetTotal(bytes);
    const Prefetch prefetch{*client, puller, *cache, *bar, invocation.json(), totals};
    const absl::Status fetched = RunInParallel(
        shards.size(), options.parallel_shards, invocation.stop(),
        [&](size_t i, const std::stop_token& stop) { return Fetch(prefetch, shards[i], stop); });
    if (absl::IsCancelled(fetched)) {
      return absl::CancelledError(absl::StrCat(
          "interrupted; what was fetched stays in ", options.cache.directory,
          ": the same command resumes. It is not pinned, so other shards may take its place, and "
          "`muster cache evict --cache ",
          options.cache.directory, " --to SIZE` makes room now"));
    }
    MUSTER_RETURN_IF_ERROR(fetched);
  }
  PrintTotals(invocation, options, wanted, totals);
  return absl::OkStatus();
}

}  // namespace

void AddPrefetchCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "prefetch", "Fill a cache ahead of a rollout, verified, without joining an assembly");
  auto options = std::make_shared<PrefetchArguments>();
  command->add_option("MODEL@VERSION", options->model, "The model version")->required();
  CLI::Option* const shards = command->add_option("--shards", options->shards,
                                                  "Which shards, such as 0,3-5 (default: all)");
  command
      ->add_option("--first-layers", options->first_layers,
                   "Only the shards that hold the embeddings or any of the first N layers")
      ->check(CLI::Range(1u, 1'000'000u))
      ->excludes(shards);
  AddCacheFlags(*command, options->cache);
  command->add_option("--parallel-shards", options->parallel_shards, "Shards fetched at once")
      ->check(CLI::Range(size_t{1}, size_t{64}))
      ->capture_default_str();
  command->add_flag("--dry-run", options->dry_run, kRoomDryRunHelp);
  AddPullFlags(*command, options->pull, UnnamedLocations::kRemote);
  command->footer(
      "An agent with the same --cache then finds the shards and fetches nothing. They are not "
      "pinned: until an assembly needs them, other shards may take their place. An interrupted "
      "prefetch resumes where it stopped. What does not fit as a whole is refused before the "
      "first byte.\n\n"
      "Examples:\n"
      "  muster prefetch llama@v2 --cache /var/cache/muster\n"
      "  muster prefetch llama@v2 --cache /var/cache/muster --shards 0,3-5 --cache-budget "
      "500GiB\n"
      "  muster prefetch llama@v2 --cache /var/cache/muster --first-layers 8\n"
      "  muster prefetch llama@v2 --cache /var/cache/muster --dry-run --json");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunPrefetch(invocation, *options); };
  });
}

}  // namespace muster
