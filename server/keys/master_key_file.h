// The file that the master keys are in.
#ifndef MUSTER_SERVER_KEYS_MASTER_KEY_FILE_H_
#define MUSTER_SERVER_KEYS_MASTER_KEY_FILE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/keys/key_wrapper.h"
#include "server/keys/master_keys.h"

namespace muster {

// kFailedPrecondition KEY_FILE_EXPOSED: others than its owner may read or write it; kInvalidArgument MASTER_KEY_FILE;
// kNotFound; kPermissionDenied.
absl::StatusOr<MasterKeys> ReadMasterKeyFile(const std::string& path);

// Makes a file with one key and returns the key's id, which begins with the day. kAlreadyExists.
absl::StatusOr<std::string> NewMasterKeyFile(const std::string& path, absl::Time now);
// Adds a key, which is the current one from then on, and returns its id.
absl::StatusOr<std::string> RotateMasterKeyFile(const std::string& path, absl::Time now);
// Removes a key. Errors as MasterKeys::Without.
absl::Status RetireMasterKey(const std::string& path, const std::string& id);

// Reads the file now; Refresh looks whether it has changed, and takes it over once it has been the same for two looks.
absl::StatusOr<std::unique_ptr<KeyWrapper>> OpenMasterKeyFile(const std::string& path);

}  // namespace muster

#endif  // MUSTER_SERVER_KEYS_MASTER_KEY_FILE_H_
