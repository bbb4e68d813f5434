// Bytes in as little room as they take, for what there are millions of.
#ifndef MUSTER_SERVER_REGISTRY_PACKED_BYTES_H_
#define MUSTER_SERVER_REGISTRY_PACKED_BYTES_H_

#include <cstdint>
#include <cstring>
#include <memory>

#include "absl/strings/string_view.h"

namespace muster {

// A pointer to the bytes, before which their length stands; null when empty. Not thread-safe.
class PackedBytes {
 public:
  PackedBytes() = default;
  // At most 4 GiB.
  explicit PackedBytes(absl::string_view bytes) {
    if (bytes.empty()) return;
    const auto size = static_cast<uint32_t>(bytes.size());
    block_.reset(new char[sizeof(size) + bytes.size()]);
    std::memcpy(block_.get(), &size, sizeof(size));
    std::memcpy(block_.get() + sizeof(size), bytes.data(), bytes.size());
  }

  bool empty() const { return block_ == nullptr; }
  absl::string_view view() const {
    if (empty()) return "";
    uint32_t size = 0;
    std::memcpy(&size, block_.get(), sizeof(size));
    return {block_.get() + sizeof(size), size};
  }

 private:
  std::unique_ptr<char[]> block_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_PACKED_BYTES_H_
