#include "server/access/token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

// 256 bits are 43 characters of base64url.
constexpr size_t kMinSecretBytes = 43;
constexpr size_t kMaxTokenBytes = 256;
constexpr size_t kMaxTokenIdBytes = 63;

absl::Status RefusedToken(absl::string_view what) {
  return MakeError(absl::StatusCode::kUnauthenticated, reasons::kCredentialRefused,
                   absl::StrCat("the token is refused: ", what), {{"problem", std::string(what)}});
}

// The id of a token of the right form; "" for others.
absl::string_view IdOf(absl::string_view token) {
  if (token.size() > kMaxTokenBytes || !absl::ConsumePrefix(&token, "mst_")) return "";
  const size_t end = token.find('_');
  if (end == absl::string_view::npos || token.size() - end - 1 < kMinSecretBytes) return "";
  for (const char c : token.substr(end + 1)) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-') return "";
  }
  const absl::string_view id = token.substr(0, end);
  return IsTokenId(id) ? id : "";
}

}  // namespace

Sha256Digest Sha256Of(absl::string_view bytes) {
  Sha256Digest digest;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) {
    std::abort();
  }
  return digest;
}

bool IsTokenId(absl::string_view id) {
  if (id.empty() || id.size() > kMaxTokenIdBytes) return false;
  for (const char c : id) {
    const auto byte = static_cast<unsigned char>(c);
    if (!absl::ascii_islower(byte) && !absl::ascii_isdigit(byte) && c != '-') return false;
  }
  return true;
}

bool TokenTable::Add(Token token) {
  std::string id = token.id;
  return tokens_.emplace(std::move(id), std::move(token)).second;
}

absl::StatusOr<Identity> TokenTable::IdentityOf(absl::Span<const absl::string_view> headers,
                                                absl::Time now) const {
  if (headers.size() != 1)
    return RefusedToken("the call does not have exactly one authorization header");
  absl::string_view token = headers.front();
  // The scheme is of any case by HTTP's rules; everything after it is exact.
  if (!absl::StartsWithIgnoreCase(token.substr(0, 7), "bearer ")) {
    return RefusedToken("the authorization header is not \"Bearer\", one space and a token");
  }
  token.remove_prefix(7);
  const absl::string_view id = IdOf(token);
  if (id.empty()) {
    return RefusedToken(
        "it is not mst_, an id, _ and a secret of at least 43 letters, digits, '-' or '_'");
  }
  // A digest that nothing has: an id that is not there is looked into all the same.
  static constexpr Sha256Digest kNobody{};
  const auto found = tokens_.find(id);
  const bool known = found != tokens_.end();
  const Sha256Digest sent = Sha256Of(token);
  const Sha256Digest& wanted = known ? found->second.sha256 : kNobody;
  const bool equal = CRYPTO_memcmp(sent.data(), wanted.data(), sent.size()) == 0;
  if (!known || !equal) return RefusedToken("the policy has no such token");
  if (now >= found->second.expires) {
    return RefusedToken(absl::StrCat(
        "token ", id, " expired at ",
        absl::FormatTime(absl::RFC3339_sec, found->second.expires, absl::UTCTimeZone())));
  }
  return Identity{found->second.kind,      found->second.name,
                  Identity::Proof::kToken, found->second.id,
                  found->second.expires,   std::string(wanted.begin(), wanted.end())};
}

bool TokenTable::Holds(const Identity& identity) const {
  const auto found = tokens_.find(identity.credential);
  if (found == tokens_.end()) return false;
  const Token& token = found->second;
  return token.kind == identity.kind && token.name == identity.name &&
         identity.token_digest == std::string(token.sha256.begin(), token.sha256.end());
}

}  // namespace muster
