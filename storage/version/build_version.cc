#include "storage/version/build_version.h"

#include "build_commit.h"

namespace muster {

std::string BuildNumber() { return MUSTER_VERSION; }

std::string BuildCommit() { return MUSTER_COMMIT; }

std::string BuildVersion() {
  const std::string commit = BuildCommit();
  return commit.empty() ? BuildNumber() : BuildNumber() + "+" + commit;
}

}  // namespace muster
