// The reader of PyTorch files on any pickle: it refuses, or what it returns is a safetensors file that
// can be read whole and by parts.
//
// Input: the pickle. The archive around it has two storages of 64 bytes, "0" and "1".

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/format/byte_source.h"
#include "client/format/safetensors_header.h"
#include "client/torch/torch_file.h"
#include "tests/unit/client/torch/torch_fixtures.h"

namespace muster {
namespace {

constexpr int64_t kMaxReadBytes = 1 << 20;

void Require(bool right) {
  if (!right) std::abort();
}

void CheckFile(const ByteSource& source) {
  const auto header = ReadSafetensorsHeader(source);
  // Names and shapes may still be too long for safetensors.
  if (!header.ok()) return;
  const int64_t begin = header->data_begin_bytes();
  const auto size = std::min(kMaxReadBytes, source.size_bytes() - begin);
  std::string whole(static_cast<size_t>(size), '\0');
  Require(source.Read(begin, absl::MakeSpan(whole)).ok());
  for (int64_t offset = 0; offset < std::min<int64_t>(size, 512); offset += 7) {
    std::string part(static_cast<size_t>(std::min<int64_t>(13, size - offset)), '\0');
    Require(source.Read(begin + offset, absl::MakeSpan(part)).ok());
    Require(whole.compare(static_cast<size_t>(offset), part.size(), part) == 0);
  }
}

void Run(absl::string_view pickle) {
  const std::string storage(64, 'x');
  const auto source =
      NewMemoryByteSource("fuzz", TorchArchive(pickle, {{"0", storage}, {"1", storage}}));
  for (const bool untie : {false, true}) {
    const auto file = OpenTorchFile(source, {untie});
    if (file.ok()) CheckFile(*file->safetensors);
  }
}

}  // namespace
}  // namespace muster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  muster::Run(absl::string_view(reinterpret_cast<const char*>(bytes), size));
  return 0;
}
