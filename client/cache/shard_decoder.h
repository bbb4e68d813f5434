// Decodes a shard that is stored encoded, on several threads.
#ifndef MUSTER_CLIENT_CACHE_SHARD_DECODER_H_
#define MUSTER_CLIENT_CACHE_SHARD_DECODER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cache/checked_shard.h"
#include "client/cache/memory_budget.h"
#include "client/cache/piece_sink.h"
#include "client/encoding/frame_decoder.h"
#include "client/encoding/key_source.h"

namespace muster {

// The frames that are decoded at once have at most this much content, and as much again of stored
// bytes, or are two.
inline constexpr int64_t kDecodeBytes = int64_t{64} << 20;

// Thread-safe.
class ShardDecoder {
 public:
  // Reads stored bytes that were verified; called from several threads at once.
  using ReadStored = std::function<absl::Status(int64_t offset, absl::Span<char> out)>;

  // `shard` is encoded. `keys` may be null, and `stop` ends the wait for a key. The errors are those of
  // FrameDecoder::Open and of `read`, after the shard's name.
  static absl::StatusOr<ShardDecoder> Open(const CheckedShard& shard, ReadStored read,
                                           KeySource* keys, const std::stop_token& stop = {});

  // The content, as a shard that is not encoded and whose pieces are the frames.
  const CheckedShard& content() const { return content_; }
  // Unset where nothing is encrypted.
  std::optional<KeyProof> key_proof() const { return frames_.key_proof(); }

  // Takes what it needs of `memory`, and fewer frames at once where that is less; null: there is no bound. Writes
  // the content to `sink`, except the pieces that are Present there. Every frame was
  // compared with its MD5 before; where the sink gives its own memory, afterwards, and an error
  // says so. kDataLoss FRAME_CORRUPT; kCancelled; the errors of reading and of the sink.
  absl::Status Decode(PieceSink& sink, const std::stop_token& stop, MemoryBudget* memory) const;

 private:
  ShardDecoder(FrameDecoder frames, CheckedShard content, ReadStored read)
      : frames_(std::move(frames)), content_(std::move(content)), read_(std::move(read)) {}

  // The content, in `memory` or in the sink's own.
  absl::StatusOr<absl::Span<char>> DecodeOne(size_t frame, absl::Span<char> memory,
                                             PieceSink& sink) const;
  absl::Status DecodeSome(absl::Span<const size_t> frames, absl::Span<char> memory, PieceSink& sink,
                          const std::stop_token& stop) const;

  FrameDecoder frames_;
  CheckedShard content_;
  ReadStored read_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_SHARD_DECODER_H_
