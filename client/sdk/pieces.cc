#include "client/sdk/pieces.h"

#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status PiecesDiffer(const v1::Shard& shard, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kPiecesDiffer,
                   absl::StrCat("the piece list of ", shard.name(), " can't be used: ", what),
                   {{"shard", shard.name()}});
}

absl::Status CheckShape(const v1::Shard& shard) {
  if (shard.piece_size_bytes() == 0) return PiecesDiffer(shard, "its piece size is 0");
  const uint64_t pieces = (shard.size_bytes() - 1) / shard.piece_size_bytes() + 1;
  // More would be a server that we can't trust with our memory.
  if (shard.size_bytes() == 0 || pieces != shard.piece_count() || pieces > kMaxPiecesPerShard) {
    return PiecesDiffer(shard,
                        absl::StrCat(shard.piece_count(), " pieces of ", shard.piece_size_bytes(),
                                     " bytes don't make its ", shard.size_bytes(), " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Md5Digest>> FetchPieces(Client& client, const v1::Shard& shard,
                                                   const CallOptions& options) {
  std::vector<Md5Digest> pieces;
  if (shard.piece_count() == 0) return pieces;
  MUSTER_RETURN_IF_ERROR(CheckShape(shard));
  pieces.reserve(shard.piece_count());
  while (pieces.size() < shard.piece_count()) {
    v1::ListPiecesRequest request;
    request.set_name(shard.name());
    request.set_start(static_cast<uint32_t>(pieces.size()));
    MUSTER_ASSIGN_OR_RETURN(const v1::ListPiecesResponse run, client.ListPieces(request, options));
    const std::string& bytes = run.piece_md5s();
    const size_t count = bytes.size() / sizeof(Md5Digest);
    if (count == 0 || bytes.size() % sizeof(Md5Digest) != 0 ||
        count > shard.piece_count() - pieces.size()) {
      return PiecesDiffer(
          shard, absl::StrCat("the server sent ", bytes.size(), " bytes from piece ", pieces.size(),
                              " of ", shard.piece_count()));
    }
    for (size_t i = 0; i < count; ++i) {
      std::memcpy(pieces.emplace_back().data(), bytes.data() + i * sizeof(Md5Digest),
                  sizeof(Md5Digest));
    }
  }
  const std::string root = Md5ToHex(Md5Root(pieces));
  if (root != shard.root()) {
    return PiecesDiffer(shard,
                        absl::StrCat("its root is ", root, ", registered was ", shard.root()));
  }
  return pieces;
}

absl::StatusOr<ShardWithPieces> FetchShardWithPieces(Client& client, absl::string_view name,
                                                     const CallOptions& options) {
  v1::GetShardRequest request;
  request.set_name(std::string(name));
  MUSTER_ASSIGN_OR_RETURN(v1::GetShardResponse response, client.GetShard(request, options));
  ShardWithPieces result;
  result.shard = std::move(*response.mutable_shard());
  MUSTER_ASSIGN_OR_RETURN(result.pieces, FetchPieces(client, result.shard, options));
  return result;
}

}  // namespace muster
