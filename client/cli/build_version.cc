#include "client/cli/build_version.h"

#include "build_commit.h"

namespace muster {

std::string BuildVersion() {
  const std::string commit = MUSTER_COMMIT;
  return commit.empty() ? MUSTER_VERSION : MUSTER_VERSION "+" + commit;
}

}  // namespace muster
