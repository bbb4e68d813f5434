#include "client/publish/source_plan.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/checkpoint/tensor_groups.h"
#include "storage/base/md5.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Every field with its length, so that no two lists of fields look alike.
void AddField(absl::string_view field, Md5Stream& digest) {
  digest.Update(absl::StrCat(field.size(), ":"));
  digest.Update(field);
}

}  // namespace

int64_t SourcePlan::SizeBytes() const {
  int64_t size = 0;
  for (const ShardCut& shard : cuts.shards) size += shard.size_bytes;
  return size;
}

absl::StatusOr<std::string> SourcePlan::Fingerprint() const {
  Md5Stream digest;
  AddField(CutStrategyName(cuts.strategy), digest);
  for (const ShardCut& shard : cuts.shards) {
    AddField(absl::StrCat(shard.size_bytes, " ", shard.header_size_bytes, " ",
                          shard.rank.has_value() ? absl::StrCat(*shard.rank) : "-"),
             digest);
    AddField(shard.path, digest);
    if (shard.range.has_value()) {
      AddField(absl::StrCat(shard.range->offset_bytes, " ", shard.range->size_bytes), digest);
    }
    if (shard.tensors.empty()) continue;
    MUSTER_ASSIGN_OR_RETURN(const std::string header,
                            BuildShardHeader(shard, checkpoint.tensors,
                                             checkpoint.components[shard.component].metadata));
    AddField(header, digest);
  }
  for (const FoundFile& file : checkpoint.companions) {
    AddField(file.relative_path, digest);
    AddField(absl::StrCat(file.size_bytes), digest);
  }
  return Md5ToHex(digest.Finish());
}

std::vector<ComponentSummary> Summarise(const Checkpoint& checkpoint) {
  std::vector<ComponentSummary> summaries;
  std::vector<std::set<std::pair<absl::string_view, uint32_t>>> layers;
  for (const SourceComponent& component : checkpoint.components) {
    summaries.emplace_back().folder = component.folder;
    layers.emplace_back();
  }
  for (const SourceTensor& tensor : checkpoint.tensors) {
    const uint32_t component = checkpoint.files[tensor.file].component;
    ComponentSummary& summary = summaries[component];
    ++summary.tensor_count;
    summary.size_bytes += tensor.size_bytes;
    ComponentSummary::Dtype& dtype = summary.dtypes[std::string(tensor.dtype)];
    ++dtype.tensor_count;
    dtype.size_bytes += tensor.size_bytes;
    if (const auto layer = FindLayer(tensor.name); layer.has_value()) {
      layers[component].emplace(layer->stack, layer->number);
    }
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    summaries[i].layer_count = static_cast<uint32_t>(layers[i].size());
  }
  return summaries;
}

absl::StatusOr<SourcePlan> PlanSource(const SourceOptions& options, const SourceFiles& files) {
  CheckpointOptions reading;
  reading.files = &files;
  reading.strict = options.strict;
  reading.take_ranked = options.in_place;
  reading.untie = options.untie;
  reading.include = options.include;
  reading.walk.exclude = options.exclude;
  reading.walk.allow_code = options.allow_code;
  SourcePlan plan;
  MUSTER_ASSIGN_OR_RETURN(plan.checkpoint, options.strategy == CutStrategy::kRaw
                                               ? OpenRawCheckpoint(options.path, reading)
                                               : OpenTensorCheckpoint(options.path, reading));
  MUSTER_ASSIGN_OR_RETURN(
      plan.cuts,
      CutCheckpoint(plan.checkpoint, options.in_place ? CutStrategy::kAsFiles : options.strategy,
                    {options.shard_count, options.piece_size_bytes}));
  return plan;
}

}  // namespace muster
