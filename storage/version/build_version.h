// Which build this program is.
#ifndef MUSTER_STORAGE_VERSION_BUILD_VERSION_H_
#define MUSTER_STORAGE_VERSION_BUILD_VERSION_H_

#include <string>

namespace muster {

// "0.1.0".
std::string BuildNumber();

// "857d34edbe5b": the commit that it was built from, with "-dirty" where the sources had been changed since. "" where that
// is not known.
std::string BuildCommit();

// Both: "0.1.0+857d34edbe5b". The number alone where the commit is not known.
std::string BuildVersion();

}  // namespace muster

#endif  // MUSTER_STORAGE_VERSION_BUILD_VERSION_H_
