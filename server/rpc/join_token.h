// The text of join tokens: mjt_{id}_{secret}.
#ifndef MUSTER_SERVER_RPC_JOIN_TOKEN_H_
#define MUSTER_SERVER_RPC_JOIN_TOKEN_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// Holds a secret: not for logs.
struct JoinTokenText {
  std::string text;
  // 12 characters.
  std::string id;
  // Of the whole text: 32 bytes.
  std::string sha256;
};

// Draws one, with a secret of 256 bits. kUnavailable: the system has no random numbers to give.
absl::StatusOr<JoinTokenText> DrawJoinToken();

// Takes one apart. UNAUTHENTICATED JOIN_TOKEN_REFUSED where it has not the form; never quotes it.
absl::StatusOr<JoinTokenText> ParseJoinToken(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_JOIN_TOKEN_H_
