#include "tests/unit/client/checkpoint/checkpoint_fixtures.h"

#include <stdlib.h>

#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace muster {

namespace fs = std::filesystem;

TestDirectory::TestDirectory() {
  std::string name = testing::TempDir() + "/checkpoint-XXXXXX";
  EXPECT_NE(::mkdtemp(name.data()), nullptr);
  root_ = fs::canonical(name).string();
}

TestDirectory::~TestDirectory() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

std::string TestDirectory::Path(absl::string_view relative) const {
  return absl::StrCat(root_, "/", relative);
}

std::string TestDirectory::Write(absl::string_view relative, absl::string_view bytes) const {
  const std::string path = Path(relative);
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

std::string ReadWholeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string SafetensorsBytes(absl::string_view json, absl::string_view data) {
  std::string out;
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>((json.size() >> (8 * i)) & 0xFF));
  return absl::StrCat(out, json, data);
}

std::string FixtureTensorBytes(const FixtureTensor& tensor) {
  std::string out;
  for (int64_t i = 0; i < 2 * tensor.elements; ++i) {
    out.push_back(
        static_cast<char>(tensor.name[static_cast<size_t>(i) % tensor.name.size()] + i / 7));
  }
  return out;
}

std::string FixtureFile(const std::vector<FixtureTensor>& tensors,
                        absl::string_view metadata_json) {
  std::string json = "{";
  if (!metadata_json.empty()) absl::StrAppend(&json, "\"__metadata__\":", metadata_json);
  std::string data;
  for (const FixtureTensor& tensor : tensors) {
    if (json.size() > 1) json.push_back(',');
    const size_t begin = data.size();
    data.append(FixtureTensorBytes(tensor));
    absl::StrAppend(&json, "\"", tensor.name, "\":{\"dtype\":\"BF16\",\"shape\":[", tensor.elements,
                    "],\"data_offsets\":[", begin, ",", data.size(), "]}");
  }
  return SafetensorsBytes(json + "}", data);
}

std::vector<SourceTensor> TensorTable(const std::vector<std::string>& names,
                                      const std::vector<int64_t>& sizes) {
  std::vector<SourceTensor> tensors;
  int64_t offset = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    tensors.push_back({names[i], "U8", {sizes[i]}, 0, offset, sizes[i]});
    offset += sizes[i];
  }
  return tensors;
}

NamedSizes TransformerNames(int layers) {
  NamedSizes out;
  const auto add = [&](const std::string& name, int64_t size) {
    out.names.push_back(name);
    out.sizes.push_back(size);
  };
  add("model.embed_tokens.weight", 5000);
  for (int i = 0; i < layers; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    add(layer + "input_layernorm.weight", 10);
    add(layer + "self_attn.q_proj.weight", 400);
    add(layer + "self_attn.q_proj.bias", 20);
    add(layer + "mlp.gate_proj.weight", 900);
  }
  add("model.norm.weight", 10);
  add("lm_head.weight", 5000);
  return out;
}

NamedSizes RandomNames(Random& random, size_t count) {
  constexpr const char* kStacks[] = {"model.layers.", "h.", "encoder.block.", "transformer_blocks.",
                                     "x.y."};
  constexpr const char* kLeaves[] = {".weight",    ".bias", ".ln_1.weight",
                                     ".scale_inv", ".wte",  ".mystery"};
  NamedSizes out;
  for (size_t i = 0; i < count; ++i) {
    out.names.push_back(absl::StrCat(kStacks[random.Below(5)], random.Below(40), ".part", i,
                                     kLeaves[random.Below(6)]));
    out.sizes.push_back(
        random.Below(8) == 0 ? 0 : static_cast<int64_t>(random.Below(1ull << random.Below(30))));
  }
  return out;
}

}  // namespace muster
