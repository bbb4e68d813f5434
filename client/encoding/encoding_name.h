// How stored bytes encode a shard's content, and the names that the catalogue has for it.
#ifndef MUSTER_CLIENT_ENCODING_ENCODING_NAME_H_
#define MUSTER_CLIENT_ENCODING_ENCODING_NAME_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// What makes a frame smaller. The numbers are those of the stored format.
enum class FrameCodec : uint8_t {
  kNone = 0,
  kZstd = 1,
  // The bytes of elements grouped by their place in the element, then zstd.
  kZstdGrouped = 2,
};

struct Encoding {
  FrameCodec codec = FrameCodec::kNone;
  // By AES-256-GCM, after the codec.
  bool encrypted = false;

  // Whether the content is stored as it is.
  bool IsPlain() const { return codec == FrameCodec::kNone && !encrypted; }
  bool operator==(const Encoding&) const = default;
};

// "zstd", "zstd-grouped", "aes-256-gcm", "zstd+aes-256-gcm" or "zstd-grouped+aes-256-gcm"; "" for
// plain.
std::string EncodingName(const Encoding& encoding);

// The reverse. kUnimplemented UNKNOWN_ENCODING, quoting `name`.
absl::StatusOr<Encoding> ParseEncoding(absl::string_view name);

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_ENCODING_NAME_H_
