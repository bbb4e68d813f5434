// The rows that say whose rows a store holds, in which format, and in which history.
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

// The history's row: beside the marker, as builds that know no histories refuse a marker with more words.
inline constexpr absl::string_view kStoreHistoryKey = "!history";

// Cluster ids are 1 to 63 letters, digits, '.', '_' and '-'.
inline constexpr size_t kClusterIdBytesMax = 63;

struct StoreIdentity {
  std::string cluster_id;
  // 128 random bits in hex. As long as it is the same, no revision that was ever acknowledged is missing
  // or means something else. It changes with a restored backup and with a loss that was accepted:
  // whoever remembers another one starts from what is there now.
  std::string history_id;
};

// Makes sure that the store belongs to the cluster `cluster_id` and returns its identity. An empty
// store is marked; with an empty `cluster_id` it gets a random one, and a marked store is taken as it
// is. A store without a history begins one. To be called before anything else is written.
// Thread-safe, and safe against another process that does the same.
//
// kFailedPrecondition, naming both values and the way out: another cluster, a newer format, or rows
// without a marker. kInvalidArgument: the id's form. kDataLoss: the marker can't be read. Else what
// the store returns.
absl::StatusOr<StoreIdentity> CheckStoreMarker(Random& random, MetadataStore& store,
                                               absl::string_view cluster_id);

// Gives the store a new history, and returns its id.
absl::StatusOr<std::string> BeginHistory(Random& random, MetadataStore& store);

// What is stored under kStoreHistoryKey.
std::string HistoryValue(absl::string_view history_id);

// The other way round. kDataLoss: it can't be read.
absl::StatusOr<std::string> ParseHistory(absl::string_view value);

// kDataLoss, or kFailedPrecondition for a newer format, unless `value` can stand under kStoreMarkerKey.
absl::Status CheckMarkerValue(absl::string_view value);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_STORE_MARKER_H_
