// The digests of a shard: its pieces, their root, and the whole object. One place for publishing
// and verifying.
#ifndef MUSTER_CLIENT_TRANSFER_PIECE_HASHER_H_
#define MUSTER_CLIENT_TRANSFER_PIECE_HASHER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/base/md5.h"

namespace muster {

struct ShardDigests {
  int64_t size_bytes = 0;
  std::vector<Md5Digest> pieces;
  Md5Digest root{};
  Md5Digest md5{};
};

// Hashes one shard as it is written or read, in order.
//
// Used by one thread at a time: the MD5 of the whole object is one serial stream. To use several
// cores, run one hasher per shard.
class ShardHasher {
 public:
  // `piece_size_bytes` is a power of two from kMinPieceSizeBytes to kMaxPieceSizeBytes.
  explicit ShardHasher(int64_t piece_size_bytes);

  // Takes the shard's next pieces. Each is piece_size_bytes long, but for the shard's last one,
  // which may be shorter and is at least 1 byte. kFailedPrecondition after a shorter piece;
  // kInvalidArgument for a longer or empty one; kResourceExhausted beyond kMaxPiecesPerShard. After
  // an error the hasher is of no use.
  absl::Status AddPieces(absl::Span<const absl::string_view> pieces);
  absl::Status AddPiece(absl::string_view piece) { return AddPieces({piece}); }

  int64_t size_bytes() const { return digests_.size_bytes; }

  // All digests of what was added. kFailedPrecondition when nothing was. The hasher is used up.
  absl::StatusOr<ShardDigests> Finish();

 private:
  const int64_t piece_size_bytes_;
  bool ended_ = false;
  ShardDigests digests_;
  Md5Stream whole_;
};

// Hashes `size_bytes` bytes that `read` fills in, piece by piece and in order. `read` gets the
// offset and the bytes to fill; its errors come back as they are. Memory: one piece.
absl::StatusOr<ShardDigests> HashShard(
    int64_t size_bytes, int64_t piece_size_bytes,
    const std::function<absl::Status(int64_t offset, absl::Span<char> out)>& read);

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_PIECE_HASHER_H_
