// The digests of a shard: its pieces, their root, and the whole object.
#ifndef MUSTER_CLIENT_HASH_PIECE_HASHER_H_
#define MUSTER_CLIENT_HASH_PIECE_HASHER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/hash/hash_queue.h"
#include "client/hash/md5_lanes.h"
#include "storage/base/md5.h"

namespace muster {

struct ShardDigests {
  int64_t size_bytes = 0;
  std::vector<Md5Digest> pieces;
  Md5Digest root{};
  Md5Digest md5{};
};

// Hashes one shard as it is written, in order.
//
// Used by one thread at a time: the MD5 of the whole object is one serial stream. Hashers of several
// shards that share a queue fill the lanes together.
class ShardHasher {
 public:
  // `piece_size_bytes` is a power of two from kMinPieceSizeBytes to kMaxPieceSizeBytes. The queue
  // outlives the hasher.
  ShardHasher(HashQueue& hashes, int64_t piece_size_bytes);

  // Takes the shard's next piece. It is piece_size_bytes long, except the shard's last one, which
  // may be shorter and is at least 1 byte. kFailedPrecondition after a shorter piece;
  // kInvalidArgument for a longer or empty one; kResourceExhausted beyond kMaxPiecesPerShard. After
  // an error the hasher is of no use.
  absl::Status AddPiece(absl::string_view piece);

  int64_t size_bytes() const { return digests_.size_bytes; }

  // All digests of what was added. kFailedPrecondition when nothing was. The hasher is used up.
  absl::StatusOr<ShardDigests> Finish();

 private:
  HashQueue& hashes_;
  const int64_t piece_size_bytes_;
  bool ended_ = false;
  ShardDigests digests_;
  Md5LaneStream whole_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_HASH_PIECE_HASHER_H_
