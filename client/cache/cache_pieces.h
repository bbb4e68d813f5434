// The piece list of an entry, kept beside it so that the entry can be checked without a server.
#ifndef MUSTER_CLIENT_CACHE_CACHE_PIECES_H_
#define MUSTER_CLIENT_CACHE_CACHE_PIECES_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cache/cache_files.h"
#include "client/cache/checked_shard.h"
#include "client/encoding/frame_table.h"

namespace muster {

// Writes KEY.pieces, synced, unless it is there with this content. Nothing to do for a shard without pieces.
absl::Status KeepPieces(const CacheDomain& domain, const CheckedShard& shard);

// The same whatever is there; `shard` has pieces. `proof` is of what it was decoded from, if that is
// encrypted.
absl::Status WritePieces(const CacheDomain& domain, const CheckedShard& shard,
                         const std::optional<KeyProof>& proof);

// The shard that the entry `key` must hold. The list is bound by the root in the key, or for what was
// decoded by a root of its own, so that a torn one is not taken: kNotFound, as where there is none.
// kInvalidArgument: no key.
struct EntryList {
  CheckedShard shard;
  // As WritePieces got it; unset in lists of earlier builds, too.
  std::optional<KeyProof> proof = std::nullopt;
};
absl::StatusOr<EntryList> ListOfEntry(const CacheDomain& domain, const std::string& key);
absl::StatusOr<CheckedShard> ShardOfEntry(const CacheDomain& domain, const std::string& key);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_PIECES_H_
