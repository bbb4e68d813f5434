// What the mains give of the process's environment.
#ifndef MUSTER_STORAGE_OBJECT_ENVIRONMENT_H_
#define MUSTER_STORAGE_OBJECT_ENVIRONMENT_H_

#include <functional>
#include <string>

namespace muster {

// The value of an environment variable, "" if it is not set. The mains give it. Thread-safe.
using EnvironmentLookup = std::function<std::string(const char* name)>;

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_ENVIRONMENT_H_
