// Encodes a shard's content, frame by frame.
#ifndef MUSTER_CLIENT_ENCODING_FRAME_ENCODER_H_
#define MUSTER_CLIENT_ENCODING_FRAME_ENCODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/encoding/element_runs.h"
#include "client/encoding/encoding_name.h"
#include "client/encoding/frame_cipher.h"
#include "client/encoding/frame_table.h"
#include "storage/base/md5.h"
#include "storage/base/secret_key.h"

namespace muster {

struct EncodeRequest {
  // Not plain.
  Encoding encoding;
  // "models/{model}/versions/{version}/shards/{index}": encrypted frames are of no use elsewhere.
  std::string shard_name;
  // Of the content, at least 1.
  int64_t plain_bytes = 0;
  int64_t frame_bytes = kFrameBytes;
  // Of all of the content; needed where elements are grouped.
  ElementRuns runs;
  // Needed to encrypt.
  std::optional<SecretKey> key;
  // At most kMaxKeyIdBytes; "" where nobody needs it.
  std::string key_id;
  // Unset, as it always is except in tests: drawn afresh.
  std::optional<Salt> salt;
};

// How a frame was stored.
struct EncodedFrame {
  int64_t stored_bytes = 0;
  Md5Digest plain_md5{};
};

// For one stored object, which is written once: the object that a second encoder makes has another
// salt, so that no key and nonce ever encrypt twice. Thread-safe.
class FrameEncoder {
 public:
  // kInvalidArgument for a request that contradicts itself or is too large for the format.
  static absl::StatusOr<FrameEncoder> Make(EncodeRequest request);

  size_t frame_count() const { return trailer_.frame_count(); }
  int64_t FrameOffset(size_t frame) const { return trailer_.FrameOffset(frame); }
  int64_t FrameLength(size_t frame) const { return trailer_.FrameLength(frame); }

  // The stored bytes of a frame, whose content is `plain`; never longer than that and a tag. Called
  // once for each frame where the object is encrypted.
  absl::StatusOr<std::string> Encode(size_t frame, absl::string_view plain) const;

  // What follows the last frame; `frames` in order, all of them.
  std::string Finish(absl::Span<const EncodedFrame> frames) const;

 private:
  FrameEncoder(const EncodeRequest& request, Trailer trailer);

  ElementRuns runs_;
  std::string shard_name_;
  Trailer trailer_;
  std::optional<SecretKey> key_;
  // Shared, so that the encoder can be moved.
  std::shared_ptr<const FrameCipher> cipher_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_FRAME_ENCODER_H_
