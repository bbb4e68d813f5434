// How two builds that have to do with each other differ.
#ifndef MUSTER_CLIENT_CLI_VERSION_SKEW_H_
#define MUSTER_CLIENT_CLI_VERSION_SKEW_H_

#include <string>

#include "absl/strings/string_view.h"

namespace muster {

struct Build {
  // "0.1.0".
  std::string version;
  // "" where it is not known.
  std::string commit;
};

enum class Skew {
  kSame,
  kServerOlder,
  kServerNewer,
  // The same version, from other sources.
  kOtherCommit,
  // A version is no version, or a commit is not known.
  kUnknown,
};

// Of what a server says, which may be anything. Pure.
Skew CompareBuilds(const Build& client, const Build& server);

// "same", "server_older", "server_newer", "other_commit", "unknown": for programs.
std::string SkewName(Skew skew);

// The same in a sentence, with what to do about it.
std::string SkewSentence(Skew skew);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_VERSION_SKEW_H_
