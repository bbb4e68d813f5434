#include "client/hash/piece_hasher.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace muster {

ShardHasher::ShardHasher(HashQueue& hashes, int64_t piece_size_bytes)
    : hashes_(hashes), piece_size_bytes_(piece_size_bytes) {}

absl::Status ShardHasher::AddPiece(absl::string_view piece) {
  if (digests_.pieces.size() >= kMaxPiecesPerShard) {
    return absl::ResourceExhaustedError(absl::StrCat("a shard has at most ", kMaxPiecesPerShard,
                                                     " pieces; cut it into more shards "
                                                     "or use larger pieces"));
  }
  const int64_t length = static_cast<int64_t>(piece.size());
  if (length < 1 || length > piece_size_bytes_) {
    return absl::InvalidArgumentError(
        absl::StrCat("a piece of ", length, " bytes is not in 1 to ", piece_size_bytes_));
  }
  if (ended_) {
    return absl::FailedPreconditionError(
        absl::StrCat("a piece came after a short one, at offset ", digests_.size_bytes));
  }
  ended_ = length < piece_size_bytes_;
  digests_.size_bytes += length;
  Md5LaneStream alone;
  const HashQueue::Part parts[] = {{&alone, piece}, {&whole_, piece}};
  hashes_.Update(parts);
  digests_.pieces.push_back(alone.Finish());
  return absl::OkStatus();
}

absl::StatusOr<ShardDigests> ShardHasher::Finish() {
  if (digests_.pieces.empty()) {
    return absl::FailedPreconditionError("a shard without a byte has no digests");
  }
  ended_ = true;
  digests_.root = Md5Root(digests_.pieces);
  digests_.md5 = whole_.Finish();
  return std::move(digests_);
}

}  // namespace muster
