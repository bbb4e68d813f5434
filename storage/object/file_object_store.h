// Objects as files of a local or mounted file system.
#ifndef MUSTER_STORAGE_OBJECT_FILE_OBJECT_STORE_H_
#define MUSTER_STORAGE_OBJECT_FILE_OBJECT_STORE_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/object/object_store.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Keys are paths below `root`, an absolute path. Only regular files are objects:
// kFailedPrecondition for a directory, FIFO, socket or device. Writing makes missing parents;
// deleting leaves them.
std::unique_ptr<ObjectStore> NewFileObjectStore(absl::string_view root);

// The same for reading only, where no link leads out of `root`; kPermissionDenied LOCATION_NOT_ALLOWED for what would.
// Writing, listing and deleting are kPermissionDenied, too.
std::unique_ptr<ObjectStore> NewRootedFileObjectStore(absl::string_view root);

// Scheme "file": file:///ABSOLUTE/PATH, also with the host "localhost". Where the registry's rules name folders, files
// are opened below these.
absl::Status RegisterFileObjectStore(ObjectStoreRegistry& registry);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_FILE_OBJECT_STORE_H_
