#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/checkpoint/object_files.h"
#include "client/checkpoint/source_files.h"
#include "client/cli/activity.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/source_flags.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "client/format/file_names.h"
#include "client/publish/source_plan.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Says which file is being opened; a remote one, or a PyTorch file of many tensors, takes its time.
class WatchedFiles final : public SourceFiles {
 public:
  WatchedFiles(std::shared_ptr<const SourceFiles> files, Activity& activity)
      : files_(std::move(files)), activity_(activity) {}

  absl::StatusOr<Kind> Look(absl::string_view src) const override { return files_->Look(src); }
  absl::StatusOr<DirectoryContent> List(absl::string_view src,
                                        const WalkOptions& options) const override {
    return files_->List(src, options);
  }
  absl::StatusOr<std::shared_ptr<const ByteSource>> Open(const std::string& path) const override {
    activity_.At(std::string(BaseNameOf(path)));
    return files_->Open(path);
  }
  absl::Status CheckReadable(const std::string& path) const override {
    return files_->CheckReadable(path);
  }
  absl::StatusOr<Place> Locate(const ByteSource& file) const override {
    return files_->Locate(file);
  }

 private:
  const std::shared_ptr<const SourceFiles> files_;
  Activity& activity_;
};

// What one strategy would make of SRC.
struct StrategyPlan {
  CutStrategy strategy = CutStrategy::kLayer;
  absl::StatusOr<CutPlan> cuts;
};

struct Inspection {
  // Of the strategy that was asked for; else of the first that is possible.
  SourcePlan plan;
  std::vector<StrategyPlan> strategies;
};

// The strategies besides the plan's own are cut from what is open already, except raw, which reads
// SRC in another way.
absl::StatusOr<Inspection> Inspect(const SourceFlags& flags, const Invocation& invocation) {
  MUSTER_ASSIGN_OR_RETURN(SourceOptions options, ToSourceOptions(flags));
  Activity activity(invocation.clock(), invocation.live(), "reading");
  const auto files =
      std::make_shared<const WatchedFiles>(FilesOf(options.path, invocation.stores()), activity);
  Inspection inspection;
  if (options.in_place) {
    MUSTER_ASSIGN_OR_RETURN(inspection.plan, PlanSource(options, *files));
    inspection.strategies.push_back({inspection.plan.cuts.strategy, inspection.plan.cuts});
    return inspection;
  }
  SourceOptions raw = options;
  raw.strategy = CutStrategy::kRaw;
  absl::StatusOr<SourcePlan> plan = PlanSource(options, *files);
  const absl::Status status = plan.status();
  // Files that have no tensors to look at can be cut by bytes, if that was not what was asked for.
  const bool wants_raw = options.strategy == CutStrategy::kRaw;
  if (!status.ok() && flags.strategy.empty() && ReasonOf(status) == reasons::kOtherFormat) {
    plan = PlanSource(raw, *files);
  }
  if (!plan.ok()) return status;
  inspection.plan = *std::move(plan);
  const Checkpoint& checkpoint = inspection.plan.checkpoint;
  for (const CutStrategy strategy :
       {CutStrategy::kLayer, CutStrategy::kType, CutStrategy::kUniform}) {
    if (wants_raw) break;
    StrategyPlan& one = inspection.strategies.emplace_back();
    one.strategy = strategy;
    if (status.ok()) {
      one.cuts =
          CutCheckpoint(checkpoint, strategy, {options.shard_count, options.piece_size_bytes});
    } else {
      one.cuts = status;
    }
  }
  StrategyPlan& last = inspection.strategies.emplace_back();
  last.strategy = CutStrategy::kRaw;
  if (wants_raw || !status.ok()) {
    last.cuts = inspection.plan.cuts;
  } else {
    absl::StatusOr<SourcePlan> by_bytes = PlanSource(raw, *files);
    if (by_bytes.ok()) {
      last.cuts = std::move(by_bytes->cuts);
    } else {
      last.cuts = by_bytes.status();
    }
  }
  return inspection;
}

std::string FolderName(absl::string_view folder) {
  return folder.empty() ? "." : std::string(folder);
}

void PrintSets(const Invocation& invocation, const Checkpoint& checkpoint) {
  if (checkpoint.sets.empty()) return;
  Table table({{"FOLDER"},
               {"WEIGHT FILES"},
               {"COUNT", Table::Align::kRight},
               {"SIZE", Table::Align::kRight},
               {"PUBLISHED"},
               {"WHY NOT"}});
  for (const WeightSet& set : checkpoint.sets) {
    table.Add({FolderName(set.folder), set.name, absl::StrCat(set.files.size()),
               FormatSize(set.SizeBytes()), set.chosen ? "yes" : "no", set.why});
  }
  invocation.Print(absl::StrCat(table.ToString(), "\n"));
}

void PrintTensors(const Invocation& invocation, const Checkpoint& checkpoint) {
  Table table({{"FOLDER"},
               {"TENSORS", Table::Align::kRight},
               {"LAYERS", Table::Align::kRight},
               {"SIZE", Table::Align::kRight},
               {"DTYPES"}});
  for (const ComponentSummary& summary : Summarise(checkpoint)) {
    std::vector<std::string> dtypes;
    for (const auto& [name, dtype] : summary.dtypes) {
      dtypes.push_back(
          absl::StrCat(name, " ", FormatSize(dtype.size_bytes), " in ", dtype.tensor_count));
    }
    table.Add({FolderName(summary.folder), absl::StrCat(summary.tensor_count),
               absl::StrCat(summary.layer_count), FormatSize(summary.size_bytes),
               absl::StrJoin(dtypes, ", ")});
  }
  if (table.row_count() > 0) invocation.Print(absl::StrCat(table.ToString(), "\n"));
}

std::pair<int64_t, int64_t> SmallestAndLargest(const CutPlan& cuts) {
  const auto [least, most] = std::minmax_element(
      cuts.shards.begin(), cuts.shards.end(),
      [](const ShardCut& a, const ShardCut& b) { return a.size_bytes < b.size_bytes; });
  return {least->size_bytes, most->size_bytes};
}

void PrintStrategies(const Invocation& invocation, const std::vector<StrategyPlan>& strategies) {
  Table table({{"STRATEGY"},
               {"SHARDS", Table::Align::kRight},
               {"SMALLEST", Table::Align::kRight},
               {"LARGEST", Table::Align::kRight},
               {"NOTES"}});
  std::string problem;
  for (const StrategyPlan& one : strategies) {
    const std::string name(CutStrategyName(one.strategy));
    if (!one.cuts.ok()) {
      const std::string found = absl::StrCat("not possible: ", one.cuts.status().message());
      table.Add({name, "-", "-", "-", found == problem ? "as above" : found});
      problem = found;
      continue;
    }
    const auto [smallest, largest] = SmallestAndLargest(*one.cuts);
    table.Add({name, absl::StrCat(one.cuts->shards.size()), FormatSize(smallest),
               FormatSize(largest), absl::StrJoin(one.cuts->notes, "; ")});
  }
  invocation.Print(table.ToString());
}

void PrintShards(const Invocation& invocation, const SourcePlan& plan) {
  Table table({{"SHARD", Table::Align::kRight},
               {"SIZE", Table::Align::kRight},
               {"TENSORS", Table::Align::kRight},
               {"HOLDS"}});
  for (size_t i = 0; i < plan.cuts.shards.size(); ++i) {
    const ShardCut& shard = plan.cuts.shards[i];
    std::string holds;
    if (shard.tensors.empty()) {
      holds = absl::StrCat(shard.path, " from byte ", shard.range->offset_bytes);
    } else {
      const auto name = [&](uint32_t tensor) {
        return plan.checkpoint.NameInCatalogue(plan.checkpoint.tensors[tensor]);
      };
      holds = name(shard.tensors.front());
      if (shard.tensors.size() > 1) absl::StrAppend(&holds, " … ", name(shard.tensors.back()));
    }
    table.Add(
        {absl::StrCat(i), FormatSize(shard.size_bytes), absl::StrCat(shard.tensors.size()), holds});
  }
  invocation.Print(absl::StrCat("\n", table.ToString()));
}

void PrintSourceFiles(const Invocation& invocation, const Checkpoint& checkpoint) {
  int64_t bytes = 0;
  std::vector<std::string> names;
  for (const FoundFile& file : checkpoint.companions) {
    bytes += file.size_bytes;
    names.push_back(Printable(file.relative_path));
  }
  if (!names.empty()) {
    invocation.PrintLine(absl::StrCat("\n", CountOf(names.size(), "companion"), ", ",
                                      FormatSize(bytes), ": ", absl::StrJoin(names, ", ")));
  }
  std::vector<std::string> left_out;
  for (const LeftOut& file : checkpoint.left_out) {
    left_out.push_back(absl::StrCat("  ", Printable(file.path), ": ", file.why));
  }
  if (!left_out.empty()) {
    invocation.PrintLine(absl::StrCat("\nalso left out:\n", absl::StrJoin(left_out, "\n")));
  }
  if (!checkpoint.warnings.empty()) invocation.PrintLine("");
  for (const std::string& warning : checkpoint.warnings) {
    invocation.PrintLine(absl::StrCat("warning: ", Printable(warning)));
  }
}

std::string SetJson(const WeightSet& set) {
  JsonObject json;
  json.Add("folder", set.folder);
  json.Add("name", set.name);
  json.Add("size_bytes", set.SizeBytes());
  json.AddRaw("published", set.chosen ? "true" : "false");
  json.Add("why_not", set.why);
  std::vector<std::string> files;
  for (const FoundFile& file : set.files) files.push_back(JsonString(file.relative_path));
  json.AddRaw("files", JsonArray(files));
  return json.ToString();
}

std::string ComponentJson(const ComponentSummary& summary) {
  JsonObject json;
  json.Add("folder", summary.folder);
  json.Add("tensors", static_cast<int64_t>(summary.tensor_count));
  json.Add("layers", int64_t{summary.layer_count});
  json.Add("size_bytes", summary.size_bytes);
  JsonObject dtypes;
  for (const auto& [name, dtype] : summary.dtypes) {
    JsonObject one;
    one.Add("tensors", static_cast<int64_t>(dtype.tensor_count));
    one.Add("size_bytes", dtype.size_bytes);
    dtypes.AddRaw(name, one.ToString());
  }
  json.AddRaw("dtypes", dtypes.ToString());
  return json.ToString();
}

std::string StrategyJson(const StrategyPlan& one) {
  JsonObject json;
  json.Add("strategy", std::string(CutStrategyName(one.strategy)));
  if (!one.cuts.ok()) {
    json.Add("error", std::string(one.cuts.status().message()));
    return json.ToString();
  }
  std::vector<std::string> shards;
  for (const ShardCut& shard : one.cuts->shards) {
    JsonObject cut;
    cut.Add("size_bytes", shard.size_bytes);
    cut.Add("tensors", static_cast<int64_t>(shard.tensors.size()));
    cut.Add("path", shard.path);
    shards.push_back(cut.ToString());
  }
  json.AddRaw("shards", JsonArray(shards));
  std::vector<std::string> notes;
  for (const std::string& note : one.cuts->notes) notes.push_back(JsonString(note));
  json.AddRaw("notes", JsonArray(notes));
  return json.ToString();
}

// One JSON text of every item.
template <typename Items, typename ToJson>
std::string JsonOf(const Items& items, const ToJson& to_json) {
  std::vector<std::string> values;
  for (const auto& item : items) values.push_back(to_json(item));
  return JsonArray(values);
}

void PrintInspectionJson(const Invocation& invocation, const Inspection& inspection) {
  const Checkpoint& checkpoint = inspection.plan.checkpoint;
  JsonObject json;
  json.Add("snapshot", checkpoint.snapshot);
  json.AddRaw("sets", JsonOf(checkpoint.sets, SetJson));
  json.AddRaw("components", JsonOf(Summarise(checkpoint), ComponentJson));
  json.AddRaw("strategies", JsonOf(inspection.strategies, StrategyJson));
  json.AddRaw("companions", JsonOf(checkpoint.companions, [](const FoundFile& file) {
                JsonObject one;
                one.Add("path", file.relative_path);
                one.Add("size_bytes", file.size_bytes);
                return one.ToString();
              }));
  json.AddRaw("left_out", JsonOf(checkpoint.left_out, [](const LeftOut& file) {
                JsonObject one;
                one.Add("path", file.path);
                one.Add("why", file.why);
                return one.ToString();
              }));
  json.AddRaw("warnings", JsonOf(checkpoint.warnings,
                                 [](const std::string& warning) { return JsonString(warning); }));
  invocation.PrintLine(json.ToString());
}

absl::Status RunInspect(Invocation& invocation, const SourceFlags& flags) {
  MUSTER_ASSIGN_OR_RETURN(const Inspection inspection, Inspect(flags, invocation));
  if (invocation.json()) {
    PrintInspectionJson(invocation, inspection);
    return absl::OkStatus();
  }
  const Checkpoint& checkpoint = inspection.plan.checkpoint;
  if (!checkpoint.snapshot.empty()) {
    invocation.PrintLine(absl::StrCat("a snapshot of ", Printable(checkpoint.snapshot), "\n"));
  }
  PrintSets(invocation, checkpoint);
  PrintTensors(invocation, checkpoint);
  PrintStrategies(invocation, inspection.strategies);
  if (!flags.strategy.empty()) PrintShards(invocation, inspection.plan);
  PrintSourceFiles(invocation, checkpoint);
  return absl::OkStatus();
}

}  // namespace

void AddInspectCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command =
      app.add_subcommand("inspect", "Say what publishing a checkpoint would do, without doing it");
  auto flags = std::make_shared<SourceFlags>();
  AddSourceFlags(*command, flags);
  command->footer(
      "Needs no server. Shows the sets of weight files and which of them is the model, tensors, "
      "dtypes and layers, the shards that each strategy makes (those of --strategy one by one), "
      "companions, and what is left out and why. --json prints sets, components, strategies, "
      "companions, left_out and warnings.\n\n"
      "Examples:\n"
      "  muster inspect ~/.cache/huggingface/hub/models--org--name/snapshots/REVISION\n"
      "  muster inspect ./stable-diffusion --shards 8 --exclude 'safety_checker/*'\n"
      "  muster inspect ./Llama-3-8B --strategy layer --shards 12");
  command->callback([flags, &chosen] {
    chosen = [flags](Invocation& invocation) { return RunInspect(invocation, *flags); };
  });
}

}  // namespace muster
