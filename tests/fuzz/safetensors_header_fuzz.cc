// The safetensors header reader on any bytes: it refuses, or what it returns keeps the format's rules.
//
// Input: 4 bytes of the data section's size, a byte that says whether the header's length is put before
// the rest, and the rest.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "client/format/byte_source.h"
#include "client/format/safetensors_header.h"
#include "storage/base/limits.h"

namespace muster {
namespace {

// A header, and behind it a data section that nobody may read.
class HeaderSource final : public ByteSource {
 public:
  HeaderSource(std::string header, uint32_t data_bytes)
      : header_(std::move(header)),
        size_bytes_(static_cast<int64_t>(header_.size()) + static_cast<int64_t>(data_bytes)) {}

  const std::string& name() const override { return name_; }
  int64_t size_bytes() const override { return size_bytes_; }
  absl::Status Read(int64_t offset, absl::Span<char> out) const override {
    const auto size = static_cast<int64_t>(out.size());
    if (offset < 0 || offset > size_bytes_ || size > size_bytes_ - offset) {
      return absl::OutOfRangeError("beyond the end");
    }
    std::fill(out.begin(), out.end(), '\0');
    const auto begin = static_cast<size_t>(offset);
    if (begin < header_.size()) header_.copy(out.data(), out.size(), begin);
    return absl::OkStatus();
  }
  const std::string& fingerprint() const override { return name_; }
  absl::Status CheckUnchanged() const override { return absl::OkStatus(); }

 private:
  const std::string name_ = "fuzz";
  const std::string header_;
  const int64_t size_bytes_;
};

void Require(bool right) {
  if (!right) std::abort();
}

void CheckRules(const SafetensorsHeader& header, const ByteSource& source) {
  int64_t end = 0;
  for (size_t i = 0; i < header.tensor_count(); ++i) {
    const TensorInfo tensor = header.tensor(i);
    Require(tensor.begin_bytes == end && tensor.end_bytes >= tensor.begin_bytes);
    end = tensor.end_bytes;
    Require(!tensor.name.empty() && tensor.name.size() <= kMaxTensorNameBytes);
    Require(tensor.dtype.size() <= kMaxDtypeBytes && tensor.shape.size() <= kMaxTensorDimensions);
    // Names are unique, so each finds its own tensor.
    Require(header.Find(tensor.name) == i && header.tensor_name(i) == tensor.name);
  }
  Require(end == header.data_size_bytes());
  Require(header.data_begin_bytes() + header.data_size_bytes() == source.size_bytes());
  header.Metadata();
  header.UnknownDtypes();
}

void Run(const uint8_t* bytes, size_t size) {
  uint32_t data_bytes = 0;
  if (size < sizeof(data_bytes) + 1) return;
  std::memcpy(&data_bytes, bytes, sizeof(data_bytes));
  const bool add_length = (bytes[sizeof(data_bytes)] & 1) != 0;
  std::string file(reinterpret_cast<const char*>(bytes) + sizeof(data_bytes) + 1,
                   size - sizeof(data_bytes) - 1);
  if (add_length) {
    const uint64_t length = file.size();
    file.insert(0, reinterpret_cast<const char*>(&length), sizeof(length));
  }
  const HeaderSource source(std::move(file), data_bytes);
  const absl::StatusOr<SafetensorsHeader> header = ReadSafetensorsHeader(source);
  if (header.ok()) CheckRules(*header, source);
}

}  // namespace
}  // namespace muster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  muster::Run(bytes, size);
  return 0;
}
