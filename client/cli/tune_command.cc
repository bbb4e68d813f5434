#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "client/hash/md5_lanes.h"
#include "client/publish/publisher.h"
#include "client/transfer/puller.h"
#include "client/tune/plot.h"
#include "client/tune/tuner.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr double kMiB = 1 << 20;

struct TuneArguments {
  std::string source;
  std::string to;
  std::string strategy = "layer";
  std::vector<uint32_t> shards = {1, 2, 4, 8, 16};
  std::vector<std::string> piece_sizes = {"2MiB", "8MiB", "32MiB"};
  std::vector<size_t> connections = {1, 4, 16};
  std::string sample_bytes = "256MiB";
  std::string max_time = "2m";
  int rounds = 2;
  std::string plot;
};

template <typename Value>
std::vector<Value> SortedOnce(const std::vector<Value>& values) {
  const std::set<Value> sorted(values.begin(), values.end());
  return {sorted.begin(), sorted.end()};
}

absl::StatusOr<TuneOptions> ToTuneOptions(const Invocation& invocation,
                                          const TuneArguments& options) {
  TuneOptions tune;
  MUSTER_ASSIGN_OR_RETURN(tune.destination,
                          ParseDestination(options.to, invocation.working_directory()));
  tune.shard_counts = SortedOnce(options.shards);
  std::vector<int64_t> pieces;
  for (const std::string& text : options.piece_sizes) {
    MUSTER_ASSIGN_OR_RETURN(pieces.emplace_back(), ParsePieceSize(text));
  }
  tune.piece_sizes_bytes = SortedOnce(pieces);
  tune.connections = SortedOnce(options.connections);
  tune.rounds = options.rounds;
  MUSTER_ASSIGN_OR_RETURN(tune.max_time, ParseDuration(options.max_time));
  // As publishing does without --jobs.
  const size_t cores = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8);
  const auto fitting = static_cast<size_t>(kMaxPublishBufferBytes / tune.piece_sizes_bytes.back());
  tune.publish_jobs = std::min(std::max(cores, Md5LaneCount() / 2), fitting);
  tune.stop = invocation.stop();
  return tune;
}

// "470-530 MiB/s": of the slowest and the best repeat.
template <typename Time>
std::string RateText(int64_t bytes, const Time& measured) {
  const std::string best = absl::StrFormat("%.0f", Rate(bytes, measured.time) / kMiB);
  const std::string slowest = absl::StrFormat("%.0f", Rate(bytes, measured.slowest) / kMiB);
  return absl::StrCat(slowest == best ? "" : slowest + "-", best, " MiB/s");
}

constexpr char kTogetherNote[] =
    "TOGETHER, publishing once and loading once by the fastest, decides pieces and shards; LOAD BY "
    "decides connections";

std::string PieceText(int64_t bytes) { return FormatSize(bytes); }

std::string ResultsTable(const TuneResults& results, const std::vector<size_t>& connections) {
  std::vector<Table::Column> columns = {{"SHARDS", Table::Align::kRight},
                                        {"PIECES", Table::Align::kRight},
                                        {"PUBLISH", Table::Align::kRight}};
  for (const size_t count : connections) {
    columns.push_back({absl::StrCat("LOAD BY ", count), Table::Align::kRight});
  }
  columns.push_back({"TOGETHER", Table::Align::kRight});
  Table table(columns);
  std::vector<PublishTime> rows = results.publish;
  std::stable_sort(rows.begin(), rows.end(), [](const PublishTime& a, const PublishTime& b) {
    return std::make_pair(a.piece_size_bytes, a.shards) <
           std::make_pair(b.piece_size_bytes, b.shards);
  });
  for (const PublishTime& row : rows) {
    std::vector<std::string> cells = {absl::StrCat(row.shards), PieceText(row.piece_size_bytes),
                                      RateText(results.sample_bytes, row)};
    for (const size_t count : connections) {
      const LoadTime* const load = results.Find(row.shards, row.piece_size_bytes, count);
      cells.push_back(load == nullptr ? "-" : RateText(results.sample_bytes, *load));
    }
    const std::optional<TimeRange> together = results.Together(row.shards, row.piece_size_bytes);
    cells.push_back(together.has_value()
                        ? absl::StrFormat("%.2f s", absl::ToDoubleSeconds(together->best))
                        : "-");
    table.Add(cells);
  }
  return table.ToString();
}

std::string ResultsText(const TuneResults& results, const TuneOptions& tune,
                        const Recommendation& recommendation) {
  std::string out = absl::StrCat(
      "measured with ", FormatSize(results.sample_bytes), " of ", FormatSize(results.source_bytes),
      "\n\n", ResultsTable(results, tune.connections), kTogetherNote, "\n\nrecommended: --shards ",
      recommendation.shards, " --piece-size ", recommendation.piece_size_bytes >> 20,
      "MiB to publish, --connections ", recommendation.connections, " to load\n");
  for (const std::string& reason : recommendation.reasons) {
    absl::StrAppend(&out, "  - ", reason, "\n");
  }
  return out;
}

std::string ResultsJson(const TuneResults& results, const Recommendation& recommendation) {
  const auto measured = [&](const auto& one) {
    JsonObject json;
    json.Add("shards", int64_t{one.shards});
    json.Add("piece_size_bytes", one.piece_size_bytes);
    json.AddRaw("seconds", absl::StrFormat("%.6f", absl::ToDoubleSeconds(one.time)));
    json.AddRaw("slowest_seconds", absl::StrFormat("%.6f", absl::ToDoubleSeconds(one.slowest)));
    json.Add("repeats", int64_t{one.repeats});
    json.AddRaw("bytes_per_second", absl::StrFormat("%.0f", Rate(results.sample_bytes, one.time)));
    return json;
  };
  std::vector<std::string> publish, load, reasons, notes;
  for (const PublishTime& one : results.publish) {
    publish.push_back(measured(one).ToString());
  }
  for (const LoadTime& one : results.load) {
    JsonObject json = measured(one);
    json.Add("connections", static_cast<int64_t>(one.connections));
    load.push_back(json.ToString());
  }
  for (const std::string& reason : recommendation.reasons) reasons.push_back(JsonString(reason));
  for (const std::string& note : results.notes) notes.push_back(JsonString(note));
  JsonObject recommended;
  recommended.Add("shards", recommendation.shards);
  recommended.AddRaw("shards_at_most", recommendation.shards_at_most.has_value()
                                           ? absl::StrCat(*recommendation.shards_at_most)
                                           : "null");
  recommended.Add("piece_size_bytes", recommendation.piece_size_bytes);
  recommended.Add("connections", static_cast<int64_t>(recommendation.connections));
  recommended.AddRaw("reasons", JsonArray(reasons));
  JsonObject json;
  json.Add("sample_bytes", results.sample_bytes);
  json.Add("source_bytes", results.source_bytes);
  json.AddRaw("complete", results.complete ? "true" : "false");
  json.AddRaw("publish", JsonArray(publish));
  json.AddRaw("load", JsonArray(load));
  json.AddRaw("recommended", recommended.ToString());
  json.AddRaw("notes", JsonArray(notes));
  return json.ToString();
}

// Publishing by piece size; loading by piece size, as colour, and connections, as dash.
std::vector<PlotPanel> Panels(const TuneResults& results, const TuneOptions& tune) {
  PlotPanel publish{"Publish: cut, hash, write", "shards", "MiB/s", {}};
  PlotPanel load{"Load into memory, verified", "shards", "MiB/s", {}};
  for (size_t i = 0; i < tune.piece_sizes_bytes.size(); ++i) {
    const int64_t piece = tune.piece_sizes_bytes[i];
    PlotSeries written{absl::StrCat("pieces of ", PieceText(piece)), {}, i, 0};
    for (const uint32_t shards : tune.shard_counts) {
      const PublishTime* const one = results.Find(shards, piece);
      if (one == nullptr) continue;
      written.points.emplace_back(shards, Rate(results.sample_bytes, one->time) / kMiB);
    }
    publish.series.push_back(written);
    for (size_t k = 0; k < tune.connections.size(); ++k) {
      PlotSeries read{
          absl::StrCat(PieceText(piece), ", ", CountOf(tune.connections[k], "connection")),
          {},
          i,
          k};
      for (const uint32_t shards : tune.shard_counts) {
        const LoadTime* const one = results.Find(shards, piece, tune.connections[k]);
        if (one == nullptr) continue;
        read.points.emplace_back(shards, Rate(results.sample_bytes, one->time) / kMiB);
      }
      load.series.push_back(read);
    }
  }
  return {publish, load};
}

absl::Status WritePlot(const std::string& path, const std::string& svg) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << svg;
  file.close();
  if (file.good()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(path, ": can't write the plot there"));
}

absl::Status RunTune(Invocation& invocation, const TuneArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(TuneOptions tune, ToTuneOptions(invocation, options));
  MUSTER_ASSIGN_OR_RETURN(const CutStrategy strategy, ParseCutStrategy(options.strategy));
  MUSTER_ASSIGN_OR_RETURN(const int64_t sample_bytes, ParseSize(options.sample_bytes));
  if (sample_bytes == 0) return UsageError("--sample-bytes 0 leaves nothing to measure with");
  // Before minutes of measuring.
  if (!options.plot.empty()) MUSTER_RETURN_IF_ERROR(WritePlot(options.plot, ""));
  MUSTER_ASSIGN_OR_RETURN(const TuneSample sample,
                          TakeSample(options.source, strategy, sample_bytes));
  TuneResults results;
  {
    const auto bar = invocation.NewProgressBar("measuring");
    tune.on_plan = [&](int64_t bytes) { bar->SetTotal(bytes); };
    tune.on_bytes = [&](int64_t bytes) { bar->Add(bytes); };
    MUSTER_ASSIGN_OR_RETURN(
        results, Tune(invocation.stores(), invocation.clock(), invocation.random(), sample, tune));
  }
  MUSTER_ASSIGN_OR_RETURN(const Recommendation recommendation, Recommend(results));
  for (const std::string& note : results.notes) invocation.Note(absl::StrCat("note: ", note));
  if (invocation.json()) {
    invocation.PrintLine(ResultsJson(results, recommendation));
  } else {
    invocation.Print(ResultsText(results, tune, recommendation));
  }
  if (options.plot.empty()) return absl::OkStatus();
  const std::string title =
      absl::StrCat(FormatSize(results.sample_bytes), " of ", options.source, " to ", options.to);
  MUSTER_RETURN_IF_ERROR(WritePlot(options.plot, PlotSvg(title, Panels(results, tune))));
  invocation.Note(absl::StrCat("wrote ", options.plot));
  return absl::OkStatus();
}

void AddRanges(CLI::App& command, TuneArguments& options) {
  command.add_option("--shards", options.shards, "Numbers of shards to try")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1u, uint32_t{kMaxShardsPerVersion}))
      ->capture_default_str();
  command.add_option("--piece-sizes", options.piece_sizes, "Piece sizes to try")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command.add_option("--connections", options.connections, "Numbers of connections to try")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(size_t{1}, kMaxPullConnections))
      ->capture_default_str();
}

}  // namespace

void AddTuneCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "tune", "Measure publishing and loading on your storage, and recommend how to cut and load");
  auto options = std::make_shared<TuneArguments>();
  command->add_option("SRC", options->source, "A checkpoint, as `muster publish` takes it")
      ->required();
  command
      ->add_option("--to", options->to,
                   "Storage to measure: file:///DIR or a directory; a scratch folder is made there")
      ->required();
  command->add_option("--strategy", options->strategy, "How the sample is cut, as publishing does")
      ->check(CLI::IsMember({"layer", "type", "uniform", "raw"}))
      ->capture_default_str();
  AddRanges(*command, *options);
  command
      ->add_option("--sample-bytes", options->sample_bytes,
                   "How much of SRC is published and loaded each time; loads take that much memory")
      ->capture_default_str();
  command->add_option("--max-time", options->max_time, "Stop measuring after this long")
      ->capture_default_str();
  command->add_option("--rounds", options->rounds, "Rounds to measure; the best time counts")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--plot", options->plot, "Draw the rates into this SVG file");
  command->footer(
      "Needs no server. Every combination is cut, hashed and written by the code that publishes, "
      "then loaded into memory, verified, two shards at once, by the code that agents pull with; "
      "registering the shards with a server is left out. Objects on local disks are dropped from "
      "the page cache before each load. The scratch folder, muster-tune-RANDOM, is deleted at the "
      "end, also after an error or Ctrl-C; only a killed process leaves it behind.\n"
      "A rate is of the slowest and the best repeat. What differs from the fastest by less than 5 "
      "%, or by less than its own repeats do, can't be told apart from it, and the smaller value "
      "is "
      "recommended; more --rounds tell more.\n"
      "Exit codes: 0 done; 1 failed, also when --max-time was over before anything was measured; "
      "2 wrong usage; 130 interrupted.\n\n"
      "Examples:\n"
      "  muster tune model.safetensors --to file:///srv/models\n"
      "  muster tune ./Llama-3-8B --to /mnt/nas/models --sample-bytes 2GiB --max-time 10m --plot "
      "tune.svg\n"
      "  muster tune model.safetensors --to /srv/models --shards 4,8 --piece-sizes 8MiB "
      "--connections 1,8,32 --json");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunTune(invocation, *options); };
  });
}

}  // namespace muster
