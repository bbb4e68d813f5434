#include "client/checkpoint/tensor_groups.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace muster {
namespace {

bool AllDigits(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

// The run of digits at the beginning of `text`, without leading zeros.
absl::string_view TakeNumber(absl::string_view& text) {
  size_t size = 0;
  while (size < text.size() && absl::ascii_isdigit(text[size])) ++size;
  absl::string_view number = text.substr(0, size);
  text.remove_prefix(size);
  while (number.size() > 1 && number[0] == '0') number.remove_prefix(1);
  return number;
}

std::strong_ordering CompareBytes(absl::string_view a, absl::string_view b) {
  return a.compare(b) <=> 0;
}

bool NamesStack(absl::string_view component) {
  constexpr absl::string_view kEndings[] = {"layers", "layer", "blocks", "block", "stages"};
  const std::string lower = absl::AsciiStrToLower(component);
  return lower == "h" ||
         std::any_of(std::begin(kEndings), std::end(kEndings),
                     [&](absl::string_view ending) { return absl::EndsWith(lower, ending); });
}

bool ContainsAny(absl::string_view text, std::initializer_list<absl::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](absl::string_view word) { return absl::StrContains(text, word); });
}

bool IsEmbeddingName(absl::string_view lower) {
  if (absl::StrContains(lower, "embed")) return true;
  const std::vector<absl::string_view> components = absl::StrSplit(lower, '.');
  return std::any_of(components.begin(), components.end(),
                     [](absl::string_view part) { return part == "wte" || part == "wpe"; });
}

bool IsNormName(absl::string_view lower) {
  if (absl::StrContains(lower, "norm")) return true;
  const std::vector<absl::string_view> components = absl::StrSplit(lower, '.');
  return std::any_of(components.begin(), components.end(), [](absl::string_view part) {
    if (part == "ln" || absl::StartsWith(part, "ln_") || absl::EndsWith(part, "_ln")) return true;
    return absl::StartsWith(part, "ln") && AllDigits(part.substr(2));
  });
}

}  // namespace

std::strong_ordering CompareNatural(absl::string_view a, absl::string_view b) {
  absl::string_view x = a;
  absl::string_view y = b;
  while (!x.empty() && !y.empty()) {
    if (absl::ascii_isdigit(x[0]) && absl::ascii_isdigit(y[0])) {
      const absl::string_view m = TakeNumber(x);
      const absl::string_view n = TakeNumber(y);
      if (m.size() != n.size()) return m.size() <=> n.size();
      if (const auto order = CompareBytes(m, n); order != 0) return order;
      continue;
    }
    if (x[0] != y[0]) return static_cast<unsigned char>(x[0]) <=> static_cast<unsigned char>(y[0]);
    x.remove_prefix(1);
    y.remove_prefix(1);
  }
  if (x.empty() != y.empty())
    return x.empty() ? std::strong_ordering::less : std::strong_ordering::greater;
  // "a.01" and "a.1" are equal as numbers; the order must still be total.
  return CompareBytes(a, b);
}

std::optional<LayerName> FindLayer(absl::string_view tensor_name) {
  absl::string_view previous;
  size_t begin = 0;
  while (begin <= tensor_name.size()) {
    const size_t end = std::min(tensor_name.find('.', begin), tensor_name.size());
    const absl::string_view component = tensor_name.substr(begin, end - begin);
    uint32_t number = 0;
    // A number that doesn't fit is not a layer's.
    if (AllDigits(component) && NamesStack(previous) && absl::SimpleAtoi(component, &number)) {
      return LayerName{tensor_name.substr(0, begin - 1), number};
    }
    previous = component;
    begin = end + 1;
  }
  return std::nullopt;
}

std::string LayerGroup::ToString() const {
  if (part == kEmbeddings) return "embeddings";
  if (part == kHead) return "head";
  return absl::StrCat(stack, ".", number);
}

LayerGroup LayerGroupOf(absl::string_view tensor_name) {
  if (const std::optional<LayerName> layer = FindLayer(tensor_name); layer.has_value()) {
    const std::string stack = absl::AsciiStrToLower(layer->stack);
    const bool encoder = ContainsAny(stack, {"encoder", "vision", "visual", "audio"});
    return {encoder ? LayerGroup::kEncoder : LayerGroup::kLayer, layer->stack, layer->number};
  }
  const bool embeddings = IsEmbeddingName(absl::AsciiStrToLower(tensor_name));
  return {embeddings ? LayerGroup::kEmbeddings : LayerGroup::kHead, "", 0};
}

std::strong_ordering operator<=>(const LayerGroup& a, const LayerGroup& b) {
  if (a.part != b.part) return a.part <=> b.part;
  if (const auto order = CompareNatural(a.stack, b.stack); order != 0) return order;
  return a.number <=> b.number;
}

ParameterType ParameterTypeOf(absl::string_view tensor_name) {
  const std::string lower = absl::AsciiStrToLower(tensor_name);
  const absl::string_view last = absl::string_view(lower).substr(lower.rfind('.') + 1);
  if (IsNormName(lower)) return ParameterType::kNorm;
  if (IsEmbeddingName(lower)) return ParameterType::kEmbedding;
  if (absl::EndsWith(last, "bias") || last == "b") return ParameterType::kBias;
  if (ContainsAny(
          last, {"scale", "zeros", "zero_point", "g_idx", "absmax", "quant_map", "quant_state"})) {
    return ParameterType::kScale;
  }
  if (ContainsAny(last, {"weight", "kernel", "proj", "lora", "blocks"}) || last == "w") {
    return ParameterType::kWeight;
  }
  return ParameterType::kOther;
}

absl::string_view ParameterTypeName(ParameterType type) {
  switch (type) {
    case ParameterType::kEmbedding:
      return "embeddings";
    case ParameterType::kWeight:
      return "weights";
    case ParameterType::kNorm:
      return "norms";
    case ParameterType::kBias:
      return "biases";
    case ParameterType::kScale:
      return "scales";
    case ParameterType::kOther:
      break;
  }
  return "others";
}

}  // namespace muster
