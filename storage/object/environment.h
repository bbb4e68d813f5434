// What the mains give of the process's environment.
#ifndef MUSTER_STORAGE_OBJECT_ENVIRONMENT_H_
#define MUSTER_STORAGE_OBJECT_ENVIRONMENT_H_

#include <array>
#include <functional>
#include <string>

namespace muster {

// The value of an environment variable, "" if it is not set. The mains give it. Thread-safe.
using EnvironmentLookup = std::function<std::string(const char* name)>;

// The variables that say who this process is to storage. Programs that it starts for other purposes have no
// business with them. Without the others the key id alone would only keep them from finding their own.
inline constexpr std::array kStorageSecretVariables = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN", "MUSTER_WEBHDFS_TOKEN"};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_ENVIRONMENT_H_
