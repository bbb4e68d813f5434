// A metadata store in memory, for tests and simulation: what it holds ends with it.
#ifndef MUSTER_STORAGE_METADATA_MEMORY_METADATA_STORE_H_
#define MUSTER_STORAGE_METADATA_MEMORY_METADATA_STORE_H_

#include <memory>

#include "storage/metadata/metadata_store.h"

namespace muster {

// Enforces `limits`, so that code can be run under the bounds of a backend that it doesn't have at
// hand.
std::unique_ptr<MetadataStore> NewMemoryMetadataStore(const MetadataStore::Limits& limits);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_MEMORY_METADATA_STORE_H_
