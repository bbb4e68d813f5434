// The 32 bytes that nobody may see.
#ifndef MUSTER_CLIENT_ENCODING_SECRET_KEY_H_
#define MUSTER_CLIENT_ENCODING_SECRET_KEY_H_

#include <array>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

// Wiped when it goes. Thread-safe for reading.
class SecretKey {
 public:
  static constexpr size_t kBytes = 32;

  // Zeros, to be filled in.
  SecretKey() = default;
  ~SecretKey();
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;

  // 32 bytes as they are, or 64 hex digits with a line break behind them or without.
  // kInvalidArgument, which does not quote `text`.
  static absl::StatusOr<SecretKey> Parse(absl::string_view text);

  const uint8_t* data() const { return bytes_.data(); }
  absl::Span<uint8_t> Fill() { return absl::MakeSpan(bytes_); }

 private:
  std::array<uint8_t, kBytes> bytes_{};
};

// Overwrites memory in a way that no compiler leaves out.
void Wipe(absl::Span<char> bytes);

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_SECRET_KEY_H_
