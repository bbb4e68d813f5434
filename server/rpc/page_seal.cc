#include "server/rpc/page_seal.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstdlib>
#include <memory>

#include "absl/strings/escaping.h"

namespace muster {
namespace {

constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;
constexpr size_t kMaxSealedBytes = 16'384;

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

const uint8_t* Bytes(absl::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}
uint8_t* Bytes(std::string& text) { return reinterpret_cast<uint8_t*>(text.data()); }

// OpenSSL fails here only where it has no memory or no randomness: nothing goes on without them.
void Require(bool done) {
  if (!done) std::abort();
}

}  // namespace

PageSeal::PageSeal() { Require(RAND_bytes(key_.data(), static_cast<int>(key_.size())) == 1); }

std::string PageSeal::Seal(absl::string_view list, absl::string_view plain) const {
  std::string sealed(kNonceBytes + plain.size() + kTagBytes, '\0');
  Require(RAND_bytes(Bytes(sealed), kNonceBytes) == 1);
  const CipherContext context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int written = 0;
  Require(EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(),
                             Bytes(sealed)) == 1);
  Require(EVP_EncryptUpdate(context.get(), nullptr, &written, Bytes(list),
                            static_cast<int>(list.size())) == 1);
  Require(EVP_EncryptUpdate(context.get(), Bytes(sealed) + kNonceBytes, &written, Bytes(plain),
                            static_cast<int>(plain.size())) == 1);
  Require(EVP_EncryptFinal_ex(context.get(), Bytes(sealed) + kNonceBytes + written, &written) == 1);
  Require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes,
                              Bytes(sealed) + kNonceBytes + plain.size()) == 1);
  return absl::WebSafeBase64Escape(sealed);
}

std::optional<std::string> PageSeal::Open(absl::string_view list, absl::string_view sealed) const {
  std::string packed;
  if (sealed.size() > kMaxSealedBytes || !absl::WebSafeBase64Unescape(sealed, &packed) ||
      packed.size() < kNonceBytes + kTagBytes ||
      // One token has one text: the last character has bits to spare.
      absl::WebSafeBase64Escape(packed) != sealed) {
    return std::nullopt;
  }
  std::string plain(packed.size() - kNonceBytes - kTagBytes, '\0');
  const CipherContext context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int written = 0;
  Require(EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(),
                             Bytes(packed)) == 1);
  Require(EVP_DecryptUpdate(context.get(), nullptr, &written, Bytes(list),
                            static_cast<int>(list.size())) == 1);
  Require(EVP_DecryptUpdate(context.get(), Bytes(plain), &written, Bytes(packed) + kNonceBytes,
                            static_cast<int>(plain.size())) == 1);
  Require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes,
                              Bytes(packed) + kNonceBytes + plain.size()) == 1);
  if (EVP_DecryptFinal_ex(context.get(), Bytes(plain) + plain.size(), &written) != 1) {
    return std::nullopt;
  }
  return plain;
}

}  // namespace muster
