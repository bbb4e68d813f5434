// All objects below a folder, over the pages of a store's list.
#ifndef MUSTER_STORAGE_OBJECT_OBJECT_LISTING_H_
#define MUSTER_STORAGE_OBJECT_OBJECT_LISTING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/object/object_store_registry.h"

namespace muster {

struct StoredObject {
  std::string uri;
  int64_t size_bytes = 0;
};

// All objects below `folder`, a URI that ends with "/"; none where there is no such folder.
absl::StatusOr<std::vector<StoredObject>> ListObjectsBelow(const ObjectStoreRegistry& stores,
                                                           const std::string& folder);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_OBJECT_LISTING_H_
