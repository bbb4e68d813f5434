// Copies the files of a store, also while a server has it open.
#ifndef MUSTER_STORAGE_METADATA_STORE_COPY_H_
#define MUSTER_STORAGE_METADATA_STORE_COPY_H_

#include <string>

#include "absl/status/status.h"

namespace muster {

// Copies a store from `directory` into the empty directory `destination`, and syncs the copy. It is a
// store as a killed process would leave it, and holds at least what was acknowledged when this was
// called; its own witness says so. A file that goes meanwhile may be missing in it, so the copy is to
// be opened once before it is relied on. kNotFound: there is no store. Thread-safe.
absl::Status CopyStore(const std::string& directory, const std::string& destination);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_STORE_COPY_H_
