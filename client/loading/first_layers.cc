#include "client/loading/first_layers.h"

#include <optional>

#include "client/sdk/pages.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {

bool LayerIndex::NaturalOrder::operator()(const Key& a, const Key& b) const {
  const auto group = [](const Key& key) {
    return LayerGroup{std::get<0>(key), std::get<1>(key), std::get<2>(key)};
  };
  return (group(a) <=> group(b)) < 0;
}

void LayerIndex::Add(absl::string_view tensor_name, uint32_t shard) {
  const LayerGroup group = LayerGroupOf(tensor_name);
  shards_[{group.part, std::string(group.stack), group.number}].insert(shard);
}

absl::StatusOr<std::vector<uint32_t>> LayerIndex::ShardsOfFirst(uint32_t layers) const {
  std::set<uint32_t> chosen;
  uint32_t found = 0;
  for (const auto& [group, shards] : shards_) {
    const LayerGroup::Part part = std::get<0>(group);
    if (part == LayerGroup::kHead) break;
    if (part != LayerGroup::kEmbeddings && ++found > layers) break;
    chosen.insert(shards.begin(), shards.end());
  }
  if (found == 0) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kNoLayers,
                     "no tensor is named like a part of a layer (\"model.layers.0.…\", "
                     "\"h.0.…\"); name the shards instead");
  }
  return std::vector<uint32_t>(chosen.begin(), chosen.end());
}

absl::StatusOr<std::vector<uint32_t>> ShardsOfFirstLayers(Client& client,
                                                          const std::string& model_version,
                                                          uint32_t layers,
                                                          const CallOptions& call) {
  LayerIndex index;
  MUSTER_RETURN_IF_ERROR(ForEachTensor(
      client, model_version, std::nullopt,
      [&index](const v1::Tensor& tensor) {
        index.Add(tensor.name(), tensor.shard());
        return absl::OkStatus();
      },
      call));
  absl::StatusOr<std::vector<uint32_t>> shards = index.ShardsOfFirst(layers);
  if (shards.ok()) return shards;
  return Annotate(shards.status(), ShortModelVersionName(model_version));
}

}  // namespace muster
