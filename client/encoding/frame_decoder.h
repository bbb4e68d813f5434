// Decodes a stored object, frame by frame.
#ifndef MUSTER_CLIENT_ENCODING_FRAME_DECODER_H_
#define MUSTER_CLIENT_ENCODING_FRAME_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/encoding/frame_cipher.h"
#include "client/encoding/frame_table.h"
#include "client/encoding/key_source.h"

namespace muster {

// What the catalogue says about the object.
struct DecodeRequest {
  std::string shard_name;
  std::string encoding;
  int64_t stored_bytes = 0;
  int64_t plain_bytes = 0;
  // Ends the wait for a key.
  std::stop_token stop = {};
};

// Nothing of the object is trusted, whether it was verified or not. Thread-safe.
class FrameDecoder {
 public:
  using ReadRange = absl::FunctionRef<absl::Status(int64_t offset, absl::Span<char> out)>;

  // Reads trailer and table. `keys` may be null.
  //
  // kDataLoss FRAME_TABLE_BROKEN: they contradict themselves, or were changed; ENCODING_DIFFERS: they
  // contradict the catalogue. kUnimplemented UNKNOWN_ENCODING, or a later format.
  // kFailedPrecondition KEY_MISSING: no key was given; WRONG_KEY: it is another one. Or the errors of
  // `read` and of the key source.
  static absl::StatusOr<FrameDecoder> Open(const DecodeRequest& request, ReadRange read,
                                           KeySource* keys);

  // KEY_MISSING and UNKNOWN_ENCODING, as Open has them, without the object.
  static absl::Status CheckPossible(absl::string_view encoding, absl::string_view key_id,
                                    const KeySource* keys);

  // KEY_MISSING and WRONG_KEY, as Open has them for the object of `proof`. `keys` may be null.
  static absl::Status CheckKey(const KeyProof& proof, absl::string_view shard_name,
                               absl::string_view key_id, KeySource* keys,
                               const std::stop_token& stop);
  // Unset where nothing is encrypted.
  std::optional<KeyProof> key_proof() const;

  size_t frame_count() const { return table_.frames.size(); }
  const Frame& frame(size_t i) const { return table_.frames[i]; }
  int64_t frame_bytes() const { return trailer_.frame_bytes; }
  int64_t FrameOffset(size_t frame) const { return trailer_.FrameOffset(frame); }
  int64_t FrameLength(size_t frame) const { return trailer_.FrameLength(frame); }

  // Fills `plain` with the frame's content, of which `stored` are the stored bytes; they are decrypted where they
  // lie. It is right once its MD5 is frame(i).plain_md5: a caller that decodes several frames compares them
  // together. kDataLoss FRAME_CORRUPT.
  absl::Status Decode(size_t frame, absl::Span<char> stored, absl::Span<char> plain) const;
  // What that takes on a thread beside both, and leaves there for the next time.
  int64_t scratch_bytes() const {
    return trailer_.encoding.codec == FrameCodec::kZstdGrouped ? trailer_.frame_bytes : 0;
  }

 private:
  FrameDecoder(std::string shard_name, Trailer trailer)
      : shard_name_(std::move(shard_name)), trailer_(std::move(trailer)) {}

  std::string shard_name_;
  Trailer trailer_;
  FrameTable table_;
  // Shared, so that the decoder can be moved. Null where nothing is encrypted.
  std::shared_ptr<const FrameCipher> cipher_;
};

// kDataLoss FRAME_CORRUPT.
absl::Status FrameCorrupt(absl::string_view shard_name, size_t frame, absl::string_view what);

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_FRAME_DECODER_H_
