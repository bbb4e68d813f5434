#include "client/checkpoint/sample_checkpoint.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/checkpoint/partition.h"
#include "client/format/dtype.h"
#include "client/format/index_json.h"
#include "client/format/safetensors_writer.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

constexpr int64_t kBytesPerParameter = 2;
constexpr size_t kBufferBytes = size_t{1} << 20;

struct Dimensions {
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t key_value = 0;
  int64_t layers = 0;
  int64_t vocabulary = 0;
};

struct SampleTensor {
  std::string name;
  TensorShape shape;
  int64_t size_bytes = 0;
  // A norm's weights lie near 1, all others near 0.
  bool norm = false;
};

int64_t LayerParameters(const Dimensions& d) {
  return 2 * d.hidden * d.hidden + 2 * d.hidden * d.key_value + 3 * d.hidden * d.intermediate +
         2 * d.hidden;
}

Dimensions WithHidden(int64_t hidden) {
  Dimensions d;
  d.hidden = hidden;
  d.key_value = hidden / 4;
  // 8/3 of the hidden size, rounded up as real models do.
  const int64_t step = std::min<int64_t>(256, hidden);
  d.intermediate = (hidden * 8 / 3 + step - 1) / step * step;
  return d;
}

// The largest hidden size that leaves at least 8 layers; embedding and head take what the layers
// leave over.
Dimensions DimensionsFor(int64_t size_bytes) {
  const int64_t parameters = size_bytes / kBytesPerParameter;
  const int64_t for_layers = parameters / 100 * 85;
  Dimensions d = WithHidden(64);
  for (int64_t hidden = 128; hidden <= 16'384; hidden *= 2) {
    const Dimensions larger = WithHidden(hidden);
    if (for_layers / LayerParameters(larger) < 8) break;
    d = larger;
  }
  d.layers = std::max<int64_t>(1, for_layers / LayerParameters(d));
  const int64_t rest = parameters - d.layers * LayerParameters(d) - d.hidden;
  d.vocabulary = std::max<int64_t>(8, rest / (2 * d.hidden) / 8 * 8);
  return d;
}

void AddTensor(std::string name, TensorShape shape, bool norm, std::vector<SampleTensor>& out) {
  int64_t size = kBytesPerParameter;
  for (const int64_t dimension : shape) size *= dimension;
  out.push_back({std::move(name), std::move(shape), size, norm});
}

std::vector<SampleTensor> TensorsFor(const Dimensions& d) {
  std::vector<SampleTensor> out;
  AddTensor("model.embed_tokens.weight", {d.vocabulary, d.hidden}, false, out);
  for (int64_t i = 0; i < d.layers; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    AddTensor(layer + "input_layernorm.weight", {d.hidden}, true, out);
    AddTensor(layer + "self_attn.q_proj.weight", {d.hidden, d.hidden}, false, out);
    AddTensor(layer + "self_attn.k_proj.weight", {d.key_value, d.hidden}, false, out);
    AddTensor(layer + "self_attn.v_proj.weight", {d.key_value, d.hidden}, false, out);
    AddTensor(layer + "self_attn.o_proj.weight", {d.hidden, d.hidden}, false, out);
    AddTensor(layer + "post_attention_layernorm.weight", {d.hidden}, true, out);
    AddTensor(layer + "mlp.gate_proj.weight", {d.intermediate, d.hidden}, false, out);
    AddTensor(layer + "mlp.up_proj.weight", {d.intermediate, d.hidden}, false, out);
    AddTensor(layer + "mlp.down_proj.weight", {d.hidden, d.intermediate}, false, out);
  }
  AddTensor("model.norm.weight", {d.hidden}, true, out);
  AddTensor("lm_head.weight", {d.vocabulary, d.hidden}, false, out);
  return out;
}

uint16_t ToBfloat16(double value) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Values as a trained model has them: a normal distribution, looked up by random bits, since
// drawing each value by its formula would be slower than the disk.
class ValueTable {
 public:
  ValueTable(double mean, double deviation) {
    for (size_t i = 0; i < values_.size(); ++i) {
      // The inverse of the logistic distribution, close to the normal one in its middle, needs no
      // more than a logarithm.
      const double p = (static_cast<double>(i) + 0.5) / static_cast<double>(values_.size());
      values_[i] = ToBfloat16(mean + deviation * 0.5513 * std::log(p / (1 - p)));
    }
  }

  uint16_t At(uint64_t bits) const { return values_[bits & 0xFFFF]; }

 private:
  std::array<uint16_t, 65'536> values_;
};

struct ValueTables {
  ValueTable weights{0, 0.02};
  ValueTable norms{1, 0.05};
};

// A sequence of random bits by splitmix64: any 64-bit state does, and a step takes about a
// nanosecond.
class BitSequence {
 public:
  BitSequence(uint64_t seed, absl::string_view name) : state_(seed ^ 0xCBF29CE484222325) {
    for (const char c : name) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  }

  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

void FillBuffer(const ValueTable& values, BitSequence& bits, std::string& buffer) {
  for (size_t i = 0; i < buffer.size(); i += 8) {
    uint64_t random = bits.Next();
    for (size_t k = i; k < std::min(i + 8, buffer.size()); k += 2, random >>= 16) {
      const uint16_t value = values.At(random);
      buffer[k] = static_cast<char>(value & 0xFF);
      buffer[k + 1] = static_cast<char>(value >> 8);
    }
  }
}

class SampleWriter {
 public:
  explicit SampleWriter(const SampleOptions& options) : options_(options) {}

  absl::Status WriteFile(const std::string& path, absl::Span<const SampleTensor> tensors) {
    const std::map<std::string, std::string> metadata = {{"format", "pt"}};
    SafetensorsHeaderBuilder builder(metadata);
    for (const SampleTensor& tensor : tensors) {
      builder.Add(tensor.name, "BF16", tensor.shape, tensor.size_bytes);
    }
    MUSTER_ASSIGN_OR_RETURN(const std::string header, std::move(builder).Finish());
    MUSTER_ASSIGN_OR_RETURN(StagedFile file, StagedFile::Create(path));
    MUSTER_RETURN_IF_ERROR(file.Write(0, header));
    auto offset = static_cast<int64_t>(header.size());
    for (const SampleTensor& tensor : tensors) {
      MUSTER_RETURN_IF_ERROR(WriteTensor(tensor, offset, file));
      offset += tensor.size_bytes;
    }
    return file.Commit();
  }

 private:
  absl::Status WriteTensor(const SampleTensor& tensor, int64_t offset, StagedFile& file) {
    BitSequence bits(options_.seed, tensor.name);
    const ValueTable& values = tensor.norm ? tables_->norms : tables_->weights;
    for (int64_t left = tensor.size_bytes; left > 0;) {
      buffer_.resize(std::min(kBufferBytes, static_cast<size_t>(left)));
      FillBuffer(values, bits, buffer_);
      MUSTER_RETURN_IF_ERROR(file.Write(offset, buffer_));
      offset += static_cast<int64_t>(buffer_.size());
      left -= static_cast<int64_t>(buffer_.size());
      written_ += static_cast<int64_t>(buffer_.size());
      if (options_.on_progress) options_.on_progress(written_);
    }
    return absl::OkStatus();
  }

  const SampleOptions& options_;
  const std::unique_ptr<const ValueTables> tables_ = std::make_unique<ValueTables>();
  std::string buffer_;
  int64_t written_ = 0;
};

std::string ConfigJson(const Dimensions& d) {
  const int64_t head_size = std::min<int64_t>(128, d.hidden / 4);
  return absl::StrFormat(
      "{\n  \"architectures\": [\n    \"LlamaForCausalLM\"\n  ],\n  \"bos_token_id\": 1,\n"
      "  \"eos_token_id\": 2,\n  \"head_dim\": %d,\n  \"hidden_act\": \"silu\",\n  "
      "\"hidden_size\": %d,\n"
      "  \"intermediate_size\": %d,\n  \"max_position_embeddings\": 2048,\n  \"model_type\": "
      "\"llama\",\n"
      "  \"num_attention_heads\": %d,\n  \"num_hidden_layers\": %d,\n  \"num_key_value_heads\": "
      "%d,\n"
      "  \"rms_norm_eps\": 1e-05,\n  \"tie_word_embeddings\": false,\n  \"torch_dtype\": "
      "\"bfloat16\",\n"
      "  \"vocab_size\": %d\n}\n",
      head_size, d.hidden, d.intermediate, d.hidden / head_size, d.layers, d.key_value / head_size,
      d.vocabulary);
}

constexpr absl::string_view kGenerationConfigJson =
    "{\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,\n  \"temperature\": 0.6,\n  \"top_p\": "
    "0.9\n}\n";

// Bytes as tokens: small, and of the structure that tokenizer readers expect.
std::string TokenizerJson(const Dimensions& d) {
  std::string out =
      "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  "
      "\"added_tokens\": [],\n"
      "  \"normalizer\": null,\n  \"pre_tokenizer\": null,\n  \"post_processor\": null,\n  "
      "\"decoder\": null,\n"
      "  \"model\": {\n    \"type\": \"WordLevel\",\n    \"unk_token\": \"<unk>\",\n    \"vocab\": "
      "{\n"
      "      \"<unk>\": 0,\n      \"<s>\": 1,\n      \"</s>\": 2";
  for (int64_t i = 3; i < std::min<int64_t>(d.vocabulary, 259); ++i) {
    absl::StrAppendFormat(&out, ",\n      \"<0x%02X>\": %d", i - 3, i);
  }
  out.append("\n    }\n  }\n}\n");
  return out;
}

absl::Status WriteCompanions(const std::string& directory, const Dimensions& d) {
  MUSTER_RETURN_IF_ERROR(WriteWholeFile(directory + "/config.json", ConfigJson(d)));
  MUSTER_RETURN_IF_ERROR(
      WriteWholeFile(directory + "/generation_config.json", kGenerationConfigJson));
  return WriteWholeFile(directory + "/tokenizer.json", TokenizerJson(d));
}

absl::Status WriteDirectory(absl::string_view path, const Dimensions& d,
                            const SampleOptions& options, absl::Span<const SampleTensor> tensors,
                            int64_t total_bytes) {
  MUSTER_ASSIGN_OR_RETURN(StagedDirectory directory, StagedDirectory::Create(path));
  std::vector<int64_t> sizes;
  for (const SampleTensor& tensor : tensors) sizes.push_back(tensor.size_bytes);
  const std::vector<size_t> ends = PartitionInOrder(sizes, options.directory_files);
  std::vector<WeightMapEntry> weight_map;
  SampleWriter writer(options);
  size_t begin = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    const std::string name = absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, ends.size());
    const auto part = tensors.subspan(begin, ends[i] - begin);
    for (const SampleTensor& tensor : part) weight_map.push_back({tensor.name, name});
    MUSTER_RETURN_IF_ERROR(
        writer.WriteFile(absl::StrCat(directory.staging_path(), "/", name), part));
    begin = ends[i];
  }
  MUSTER_RETURN_IF_ERROR(WriteWholeFile(directory.staging_path() + "/model.safetensors.index.json",
                                        WriteIndexJson(std::move(weight_map), total_bytes)));
  MUSTER_RETURN_IF_ERROR(WriteCompanions(directory.staging_path(), d));
  return directory.Commit();
}

}  // namespace

absl::StatusOr<SampleSummary> WriteSampleCheckpoint(absl::string_view path,
                                                    const SampleOptions& options) {
  if (options.size_bytes < kMinSampleBytes || options.size_bytes > kMaxSampleBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a sample of ", options.size_bytes,
                                                   " bytes is not possible; ask for ",
                                                   kMinSampleBytes, " to ", kMaxSampleBytes));
  }
  const Dimensions dimensions = DimensionsFor(options.size_bytes);
  const std::vector<SampleTensor> tensors = TensorsFor(dimensions);
  if (options.directory_files > tensors.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.directory_files, " files are asked for, but the sample has ",
                     tensors.size(), " tensors; ask for at most that many"));
  }
  SampleSummary summary;
  summary.layer_count = dimensions.layers;
  summary.tensor_count = static_cast<int64_t>(tensors.size());
  for (const SampleTensor& tensor : tensors) summary.tensor_bytes += tensor.size_bytes;
  if (options.directory_files > 0) {
    MUSTER_RETURN_IF_ERROR(
        WriteDirectory(path, dimensions, options, tensors, summary.tensor_bytes));
  } else {
    SampleWriter writer(options);
    MUSTER_RETURN_IF_ERROR(writer.WriteFile(std::string(path), tensors));
  }
  return summary;
}

}  // namespace muster
