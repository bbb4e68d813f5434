// The row that says whose rows a store holds, and in which format.
#ifndef MUSTER_STORAGE_METADATA_STORE_MARKER_H_
#define MUSTER_STORAGE_METADATA_STORE_MARKER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/random.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// Format of all rows of the store. It is raised when a change would make an older build misread
// them.
inline constexpr uint32_t kStoreFormatVersion = 1;

// The marker's row. Nothing else is stored under this key.
inline constexpr absl::string_view kStoreMarkerKey = "!store";

// Cluster ids are 1 to 63 letters, digits, '.', '_' and '-'.
inline constexpr size_t kClusterIdBytesMax = 63;

// Makes sure that the store belongs to the cluster `cluster_id` and returns its id. An empty store
// is marked; with an empty `cluster_id` it gets a random one, and a marked store is taken as it is.
// To be called before anything else is written. Thread-safe, and safe against another process that
// does the same.
//
// kFailedPrecondition, naming both values and the way out: another cluster, a newer format, or rows
// without a marker. kInvalidArgument: the id's form. kDataLoss: the marker can't be read. Else what
// the store returns.
absl::StatusOr<std::string> CheckStoreMarker(Random& random, MetadataStore& store,
                                             absl::string_view cluster_id);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_STORE_MARKER_H_
