#include "storage/object/object_listing.h"

#include <utility>

#include "storage/base/status_macros.h"
#include "storage/object/uri.h"

namespace muster {

absl::StatusOr<std::vector<StoredObject>> ListObjectsBelow(const ObjectStoreRegistry& stores,
                                                           const std::string& folder) {
  std::vector<StoredObject> objects;
  MUSTER_ASSIGN_OR_RETURN(const ObjectRef root, stores.Open(folder));
  ObjectStore::ListOptions list;
  while (true) {
    const auto page = root.store->List(root.key, list);
    if (absl::IsNotFound(page.status())) return objects;
    MUSTER_RETURN_IF_ERROR(page.status());
    for (const ObjectStore::ListedObject& object : *page) {
      MUSTER_ASSIGN_OR_RETURN(std::string uri, JoinUri(folder, object.key.substr(root.key.size())));
      objects.push_back({std::move(uri), object.size_bytes});
    }
    if (page->size() < list.limit) return objects;
    list.after = page->back().key;
  }
}

}  // namespace muster
