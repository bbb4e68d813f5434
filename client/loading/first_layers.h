// Which shards hold the layers that a model runs first.
#ifndef MUSTER_CLIENT_LOADING_FIRST_LAYERS_H_
#define MUSTER_CLIENT_LOADING_FIRST_LAYERS_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/checkpoint/tensor_groups.h"
#include "client/sdk/client.h"

namespace muster {

// Judged by the names of the tensors, as the strategy `layer` cuts. Not thread-safe.
class LayerIndex {
 public:
  // `shard` holds a tensor of this name.
  void Add(absl::string_view tensor_name, uint32_t shard);

  // The shards that hold any tensor of the embeddings or of the first `layers` layers, in order.
  // The layers of encoders come before those of other stacks; all of them where there are fewer.
  // kFailedPrecondition NO_LAYERS where no name is that of a layer.
  absl::StatusOr<std::vector<uint32_t>> ShardsOfFirst(uint32_t layers) const;

 private:
  struct NaturalOrder {
    using Key = std::tuple<LayerGroup::Part, std::string, uint32_t>;
    bool operator()(const Key& a, const Key& b) const;
  };
  std::map<NaturalOrder::Key, std::set<uint32_t>, NaturalOrder> shards_;
};

// The same of a published model version, a full name; `layers` is at least 1. Reads the names of all
// of its tensors.
absl::StatusOr<std::vector<uint32_t>> ShardsOfFirstLayers(Client& client,
                                                          const std::string& model_version,
                                                          uint32_t layers, const CallOptions& call);

}  // namespace muster

#endif  // MUSTER_CLIENT_LOADING_FIRST_LAYERS_H_
