#include "client/encoding/secret_key.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace muster {

SecretKey::~SecretKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

absl::StatusOr<SecretKey> SecretKey::Parse(absl::string_view text) {
  SecretKey key;
  if (text.size() == kBytes) {
    std::memcpy(key.bytes_.data(), text.data(), kBytes);
    return key;
  }
  const absl::string_view hex = absl::StripTrailingAsciiWhitespace(text);
  const bool is_hex = std::all_of(hex.begin(), hex.end(), [](char c) {
    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
  });
  if (hex.size() != 2 * kBytes || !is_hex) {
    return absl::InvalidArgumentError(absl::StrCat("the key has ", text.size(),
                                                   " bytes and is neither 32 bytes nor 64 hex ",
                                                   "digits; make one with `openssl rand -hex 32`"));
  }
  std::string bytes = absl::HexStringToBytes(hex);
  std::memcpy(key.bytes_.data(), bytes.data(), kBytes);
  Wipe(absl::MakeSpan(bytes));
  return key;
}

void Wipe(absl::Span<char> bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

}  // namespace muster
