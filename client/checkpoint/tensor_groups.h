// What a tensor's name says about its place in the model.
#ifndef MUSTER_CLIENT_CHECKPOINT_TENSOR_GROUPS_H_
#define MUSTER_CLIENT_CHECKPOINT_TENSOR_GROUPS_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// Compares runs of digits as numbers, so that "layers.2" comes before "layers.10". A total order.
std::strong_ordering CompareNatural(absl::string_view a, absl::string_view b);

// The outermost "layers.N." or its like ("h.N.", "blocks.N.", "encoder.layer.N.",
// "transformer_blocks.N." …).
struct LayerName {
  // What comes before the number, without the dot: "model.layers".
  absl::string_view stack;
  uint32_t number = 0;
};
std::optional<LayerName> FindLayer(absl::string_view tensor_name);

// Embeddings, the layers in order, then the rest (final norm, head). Encoders come before other
// stacks.
struct LayerGroup {
  enum Part { kEmbeddings, kEncoder, kLayer, kHead };

  Part part = kHead;
  absl::string_view stack;
  uint32_t number = 0;

  // "embeddings", "model.layers.3" or "head".
  std::string ToString() const;
};
LayerGroup LayerGroupOf(absl::string_view tensor_name);
std::strong_ordering operator<=>(const LayerGroup& a, const LayerGroup& b);

enum class ParameterType { kEmbedding, kWeight, kNorm, kBias, kScale, kOther };
ParameterType ParameterTypeOf(absl::string_view tensor_name);
// "embeddings", "weights", "norms", "biases", "scales" or "others".
absl::string_view ParameterTypeName(ParameterType type);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_TENSOR_GROUPS_H_
