// Objects in memory, for tests and simulation: what it holds ends with it.
#ifndef MUSTER_STORAGE_OBJECT_MEMORY_OBJECT_STORE_H_
#define MUSTER_STORAGE_OBJECT_MEMORY_OBJECT_STORE_H_

#include <memory>

#include "absl/status/status.h"
#include "storage/object/object_store.h"
#include "storage/object/object_store_registry.h"

namespace muster {

std::unique_ptr<ObjectStore> NewMemoryObjectStore();

// Scheme "memory". The authority is the bucket; each is a store of its own that is made when it is
// first opened and lives as long as the registry.
absl::Status RegisterMemoryObjectStore(ObjectStoreRegistry& registry);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_MEMORY_OBJECT_STORE_H_
