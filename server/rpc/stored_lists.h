// Pages of what is in the store only: piece digests, tensors, companions.
//
// Run by store readers; each reads a bounded number of rows. kDataLoss: a row that must be there
// is not, or is damaged.
#ifndef MUSTER_SERVER_RPC_STORED_LISTS_H_
#define MUSTER_SERVER_RPC_STORED_LISTS_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "muster/v1/model.pb.h"
#include "server/registry/paging.h"
#include "server/registry/uid.h"
#include "storage/base/numbers.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// Fills in the digests from `start` to the end of the row that holds it.
absl::Status FetchPieces(MetadataStore& store, VersionUid version, ShardIndex shard, uint32_t start,
                         bool hex, muster::v1::ListPiecesResponse& response);

// A page of tensors from `start` on, of one shard or of all. `list` names the list for its token.
absl::Status FetchTensors(MetadataStore& store, VersionUid version, const std::string& list,
                          const PageStart& start, size_t page_size, std::optional<uint32_t> shard,
                          muster::v1::ListTensorsResponse& response);

// A page of companions from `start` on.
absl::Status FetchCompanions(MetadataStore& store, VersionUid version, const std::string& list,
                             const PageStart& start, size_t page_size,
                             muster::v1::ListCompanionsResponse& response);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_STORED_LISTS_H_
