// Looks at the files of a store that is not open.
//
// Thread-safe: no state. Errors name the file.
#ifndef MUSTER_STORAGE_METADATA_STORE_FILES_H_
#define MUSTER_STORAGE_METADATA_STORE_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace muster {

// The names in `directory`, in order.
absl::StatusOr<std::vector<std::string>> ListStoreFiles(const std::string& directory);

// All bytes of a file. kNotFound: there is none.
absl::StatusOr<std::string> ReadStoreFile(const std::string& path);

// The MANIFEST that the file CURRENT of `directory` names, and its number. kDataLoss: CURRENT can't be
// understood; kNotFound: there is none.
struct CurrentManifest {
  std::string name;
  uint64_t number = 0;
};
absl::StatusOr<CurrentManifest> CurrentManifestOf(const std::string& directory);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_STORE_FILES_H_
