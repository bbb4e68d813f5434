// Lists the objects of the file backend.
#ifndef MUSTER_STORAGE_OBJECT_FILE_OBJECT_LIST_H_
#define MUSTER_STORAGE_OBJECT_FILE_OBJECT_LIST_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/object/object_store.h"

namespace muster {

// Regular files under `root` whose path from there begins with `prefix`, as ObjectStore::List says.
// A link to a file counts as one; links to directories are not followed. Thread-safe.
// kFailedPrecondition: the directories are nested too deeply.
absl::StatusOr<std::vector<ObjectStore::ListedObject>> ListFiles(
    const std::string& root, absl::string_view prefix, const ObjectStore::ListOptions& options);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_FILE_OBJECT_LIST_H_
