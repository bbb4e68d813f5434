// The rules about the form of a call that every metadata store enforces alike.
//
// Thread-safe: pure functions.
#ifndef MUSTER_STORAGE_METADATA_BATCH_LIMITS_H_
#define MUSTER_STORAGE_METADATA_BATCH_LIMITS_H_

#include <cstddef>

#include "absl/status/status.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// No row's value is longer, whatever the backend could hold.
inline constexpr size_t kRowValueBytesMax = 256 << 10;

// kInvalidArgument, naming the limit and the value, when `batch` is beyond `limits`.
absl::Status CheckBatch(const MetadataBatch& batch, const MetadataStore::Limits& limits);

// kInvalidArgument for a scan of no rows.
absl::Status CheckScanLimit(size_t limit);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_BATCH_LIMITS_H_
