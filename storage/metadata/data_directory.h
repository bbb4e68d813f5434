// The directory that an embedded metadata store keeps its files in.
#ifndef MUSTER_STORAGE_METADATA_DATA_DIRECTORY_H_
#define MUSTER_STORAGE_METADATA_DATA_DIRECTORY_H_

#include <string>

#include "absl/status/status.h"

namespace muster {

// Makes `path` (mode 0700) and its missing parents (mode 0755) durably, and checks that this
// process may use it. kInvalidArgument: the path's form. kFailedPrecondition: something else is
// there. kPermissionDenied and kResourceExhausted as the system says. Thread-safe.
absl::Status PrepareDataDirectory(const std::string& path);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_DATA_DIRECTORY_H_
