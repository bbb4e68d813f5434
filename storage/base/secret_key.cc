#include "storage/base/secret_key.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace muster {

namespace {

// Of a digit that was checked.
uint8_t HexValue(char c) {
  return static_cast<uint8_t>(absl::ascii_isdigit(static_cast<unsigned char>(c))
                                  ? c - '0'
                                  : absl::ascii_tolower(static_cast<unsigned char>(c)) - 'a' + 10);
}

}  // namespace

absl::StatusOr<SecretKey> SecretKey::Parse(absl::string_view text) {
  SecretKey key;
  if (text.size() == kBytes) {
    std::memcpy(key.Fill().data(), text.data(), kBytes);
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
  for (size_t i = 0; i < kBytes; ++i) {
    key.Fill()[i] = static_cast<uint8_t>(HexValue(hex[2 * i]) << 4 | HexValue(hex[2 * i + 1]));
  }
  return key;
}

void Wipe(absl::Span<char> bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

}  // namespace muster
