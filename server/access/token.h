// Bearer tokens: mst_{id}_{secret}, of which a policy keeps the SHA-256.
//
// Thread-safe: values and pure functions. Refusals are kUnauthenticated with reason CREDENTIAL_REFUSED, and never quote
// what was sent.
#ifndef MUSTER_SERVER_ACCESS_TOKEN_H_
#define MUSTER_SERVER_ACCESS_TOKEN_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/access/identity.h"

namespace muster {

using Sha256Digest = std::array<uint8_t, 32>;
Sha256Digest Sha256Of(absl::string_view bytes);

// 1 to 63 lowercase letters, digits and '-'.
bool IsTokenId(absl::string_view id);

struct Token {
  std::string id;
  // Of the whole token, so that `printf %s "$TOKEN" | sha256sum` makes it.
  Sha256Digest sha256{};
  // A user or a node.
  Identity::Kind kind = Identity::Kind::kUser;
  std::string name;
  // The first moment at which it is not valid.
  absl::Time expires = absl::InfiniteFuture();
};

// Finds tokens by id. Immutable once it is made.
class TokenTable {
 public:
  // False for an id that is there already.
  bool Add(Token token);

  // Whom the values of a call's `authorization` headers are of: exactly one, "Bearer" and a token. An unknown id takes
  // as long as a wrong secret, and gets the same answer.
  absl::StatusOr<Identity> IdentityOf(absl::Span<const absl::string_view> headers,
                                      absl::Time now) const;

  // Whether a token that was taken before is still one: of the same owner, with the same secret.
  bool Holds(const Identity& identity) const;

 private:
  absl::flat_hash_map<std::string, Token> tokens_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_TOKEN_H_
