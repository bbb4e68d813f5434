#include "client/transfer/piece_hasher.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/transfer/md5_lanes.h"
#include "client/transfer/pull_shard.h"
#include "storage/base/status_macros.h"

namespace muster {

ShardHasher::ShardHasher(int64_t piece_size_bytes) : piece_size_bytes_(piece_size_bytes) {}

absl::Status ShardHasher::AddPieces(absl::Span<const absl::string_view> pieces) {
  const size_t first = digests_.pieces.size();
  if (pieces.size() > kMaxPiecesPerShard - first) {
    return absl::ResourceExhaustedError(absl::StrCat("a shard has at most ", kMaxPiecesPerShard,
                                                     " pieces; cut it into more shards "
                                                     "or use larger pieces"));
  }
  for (const absl::string_view piece : pieces) {
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
  }
  digests_.pieces.resize(first + pieces.size());
  Md5Many(pieces, absl::MakeSpan(digests_.pieces).subspan(first));
  for (const absl::string_view piece : pieces) whole_.Update(piece);
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

absl::StatusOr<ShardDigests> HashShard(
    int64_t size_bytes, int64_t piece_size_bytes,
    const std::function<absl::Status(int64_t offset, absl::Span<char> out)>& read) {
  const int64_t longest = std::max<int64_t>(0, std::min(size_bytes, piece_size_bytes));
  auto buffer = std::make_unique_for_overwrite<char[]>(static_cast<size_t>(longest));
  ShardHasher hasher(piece_size_bytes);
  for (int64_t offset = 0; offset < size_bytes; offset += longest) {
    const auto length = static_cast<size_t>(std::min(longest, size_bytes - offset));
    MUSTER_RETURN_IF_ERROR(read(offset, absl::MakeSpan(buffer.get(), length)));
    MUSTER_RETURN_IF_ERROR(hasher.AddPiece(absl::string_view(buffer.get(), length)));
  }
  return hasher.Finish();
}

}  // namespace muster
