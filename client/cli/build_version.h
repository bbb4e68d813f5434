// Which build of the command this is.
#ifndef MUSTER_CLIENT_CLI_BUILD_VERSION_H_
#define MUSTER_CLIENT_CLI_BUILD_VERSION_H_

#include <string>

namespace muster {

// "0.1.0+857d34edbe5b": the version, and after the "+" the commit that it was built from, with
// "-dirty" where the sources had been changed since. The version alone where that is not known.
std::string BuildVersion();

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_BUILD_VERSION_H_
