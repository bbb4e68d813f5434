// A shard with its whole piece list, checked.
#ifndef MUSTER_CLIENT_SDK_PIECES_H_
#define MUSTER_CLIENT_SDK_PIECES_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/sdk/client.h"
#include "storage/base/md5.h"

namespace muster {

struct ShardWithPieces {
  v1::Shard shard;
  // In order; empty for a shard that was registered without pieces.
  std::vector<Md5Digest> pieces;
};

// Asks for the piece digests of `shard`, which came from the server, over as many calls as they
// take: none for a shard that was registered without pieces. Thread-safe.
//
// kDataLoss PIECES_DIFFER: the list does not have the announced length, does not fit the shard's
// size, or its root is not the shard's; nothing may be verified against it.
absl::StatusOr<std::vector<Md5Digest>> FetchPieces(Client& client, const v1::Shard& shard,
                                                   const CallOptions& options = {});

// GetShard and FetchPieces. `name` is "models/{model}/versions/{version}/shards/{index}".
absl::StatusOr<ShardWithPieces> FetchShardWithPieces(Client& client, absl::string_view name,
                                                     const CallOptions& options = {});

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_PIECES_H_
