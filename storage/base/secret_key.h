// The 32 bytes that nobody may see.
#ifndef MUSTER_STORAGE_BASE_SECRET_KEY_H_
#define MUSTER_STORAGE_BASE_SECRET_KEY_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/base/secret_memory.h"

namespace muster {

// A value, in memory for secrets. Thread-safe for reading.
class SecretKey {
 public:
  static constexpr size_t kBytes = 32;

  // Made of nothing it is zeros, to be filled in.

  // 32 bytes as they are, or 64 hex digits with a line break behind them or without.
  // kInvalidArgument, which does not quote `text`.
  static absl::StatusOr<SecretKey> Parse(absl::string_view text);

  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(memory_.bytes().data()); }
  absl::Span<uint8_t> Fill() {
    return {reinterpret_cast<uint8_t*>(memory_.bytes().data()), kBytes};
  }

 private:
  SecretMemory memory_;
};

// Overwrites memory in a way that no compiler leaves out.
void Wipe(absl::Span<char> bytes);

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_SECRET_KEY_H_
