#include "server/rpc/join_token.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

constexpr absl::string_view kPrefix = "mjt_";
constexpr size_t kIdBytes = 6;
constexpr size_t kSecretBytes = 32;
constexpr absl::string_view kHexDigits = "0123456789abcdef";

std::string Sha256(absl::string_view text) {
  std::string digest(32, '\0');
  if (EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
                 EVP_sha256(), nullptr) != 1) {
    std::abort();
  }
  return digest;
}

bool IsHex(absl::string_view text, size_t bytes) {
  return text.size() == 2 * bytes && text.find_first_not_of(kHexDigits) == text.npos;
}

}  // namespace

absl::StatusOr<JoinTokenText> DrawJoinToken() {
  std::string id(kIdBytes, '\0'), secret(kSecretBytes, '\0');
  // Not Random: whoever sees many of its numbers knows the next ones.
  for (std::string* bytes : {&id, &secret}) {
    if (RAND_priv_bytes(reinterpret_cast<unsigned char*>(bytes->data()),
                        static_cast<int>(bytes->size())) != 1) {
      return absl::UnavailableError("the system has no random numbers to give; try again");
    }
  }
  JoinTokenText token;
  token.id = absl::BytesToHexString(id);
  token.text = absl::StrCat(kPrefix, token.id, "_", absl::BytesToHexString(secret));
  token.sha256 = Sha256(token.text);
  return token;
}

absl::StatusOr<JoinTokenText> ParseJoinToken(absl::string_view text) {
  absl::string_view rest = text.substr(0, kMaxJoinTokenBytes);
  const bool has_prefix = absl::ConsumePrefix(&rest, kPrefix);
  const size_t end = rest.find('_');
  if (!has_prefix || end == rest.npos || !IsHex(rest.substr(0, end), kIdBytes) ||
      !IsHex(rest.substr(end + 1), kSecretBytes)) {
    return MakeError(
        absl::StatusCode::kUnauthenticated, reasons::kJoinTokenRefused,
        absl::StrCat("the join token is refused: it is not ", kPrefix, ", ", 2 * kIdBytes,
                     " hex digits, _ and ", 2 * kSecretBytes,
                     " hex digits, as `muster tokens create` prints it; was a part left out?"));
  }
  return JoinTokenText{std::string(text), std::string(rest.substr(0, end)), Sha256(text)};
}

}  // namespace muster
