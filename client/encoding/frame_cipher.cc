#include "client/encoding/frame_cipher.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "absl/strings/str_cat.h"

namespace muster {
namespace {

constexpr char kDataKeyLabel[] = "muster-shard-v1";
constexpr char kKeyCheckLabel[] = "muster-key-check-v1";
constexpr size_t kNonceBytes = 12;

// For what fails only where OpenSSL itself is broken: nothing may be written without encryption.
void Require(bool right) {
  if (!right) std::abort();
}

void Derive(const SecretKey& master, const Salt& salt, absl::string_view label,
            absl::Span<uint8_t> out) {
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(
      EVP_KDF_fetch(nullptr, "HKDF", nullptr), &EVP_KDF_free);
  Require(kdf != nullptr);
  const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(
      EVP_KDF_CTX_new(kdf.get()), &EVP_KDF_CTX_free);
  Require(context != nullptr);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<uint8_t*>(master.data()),
                                        SecretKey::kBytes),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, const_cast<uint8_t*>(salt.data()),
                                        salt.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<char*>(label.data()),
                                        label.size()),
      OSSL_PARAM_construct_end()};
  Require(EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) == 1);
}

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

CipherContext NewContext() {
  CipherContext context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  Require(context != nullptr);
  return context;
}

std::array<uint8_t, kNonceBytes> NonceOf(size_t number) {
  std::array<uint8_t, kNonceBytes> nonce{};
  for (size_t i = 0; i < sizeof(uint64_t); ++i) {
    nonce[i] = static_cast<uint8_t>(uint64_t{number} >> (8 * i));
  }
  return nonce;
}

const uint8_t* BytesOf(absl::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

}  // namespace

Salt DrawSalt() {
  Salt salt;
  Require(RAND_bytes(salt.data(), static_cast<int>(salt.size())) == 1);
  return salt;
}

KeyCheck KeyCheckOf(const SecretKey& master, const Salt& salt) {
  KeyCheck check;
  Derive(master, salt, kKeyCheckLabel, absl::MakeSpan(check));
  return check;
}

FrameCipher::FrameCipher(const SecretKey& master, const Trailer& trailer,
                         absl::string_view shard_name)
    : trailer_(trailer), shard_name_(shard_name) {
  Derive(master, trailer_.salt, kDataKeyLabel, data_key_.Fill());
}

// Fields of varying length come with their length, so that no two contexts are equal.
std::string FrameCipher::FrameContext(size_t frame) const {
  const std::string encoding = EncodingName(trailer_.encoding);
  return absl::StrCat("muster frame ", kFrameFormatVersion, " ", shard_name_.size(), " ",
                      shard_name_, " ", frame, " of ", trailer_.frame_count(), " plain ",
                      trailer_.FrameLength(frame), " of ", trailer_.plain_bytes, " ", encoding);
}

std::string FrameCipher::TableContext() const {
  return absl::StrCat("muster table ", kFrameFormatVersion, " ", shard_name_.size(), " ",
                      shard_name_, " ", PackTrailer(trailer_));
}

void FrameCipher::Seal(size_t nonce, absl::string_view context, absl::string_view bytes,
                       absl::Span<char> out) const {
  const CipherContext cipher = NewContext();
  const auto iv = NonceOf(nonce);
  auto* const to = reinterpret_cast<uint8_t*>(out.data());
  int length = 0;
  Require(EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, data_key_.data(),
                             iv.data()) == 1);
  Require(EVP_EncryptUpdate(cipher.get(), nullptr, &length, BytesOf(context),
                            static_cast<int>(context.size())) == 1);
  Require(EVP_EncryptUpdate(cipher.get(), to, &length, BytesOf(bytes),
                            static_cast<int>(bytes.size())) == 1);
  Require(EVP_EncryptFinal_ex(cipher.get(), to + bytes.size(), &length) == 1);
  Require(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kSealTagBytes,
                              to + bytes.size()) == 1);
}

bool FrameCipher::Open(size_t nonce, absl::string_view context, absl::string_view sealed,
                       absl::Span<char> out) const {
  if (sealed.size() != out.size() + kSealTagBytes) return false;
  const absl::string_view bytes = sealed.substr(0, out.size());
  std::array<char, kSealTagBytes> tag;
  sealed.substr(out.size()).copy(tag.data(), tag.size());
  const CipherContext cipher = NewContext();
  const auto iv = NonceOf(nonce);
  auto* const to = reinterpret_cast<uint8_t*>(out.data());
  int length = 0;
  Require(EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, data_key_.data(),
                             iv.data()) == 1);
  Require(EVP_DecryptUpdate(cipher.get(), nullptr, &length, BytesOf(context),
                            static_cast<int>(context.size())) == 1);
  Require(EVP_DecryptUpdate(cipher.get(), to, &length, BytesOf(bytes),
                            static_cast<int>(bytes.size())) == 1);
  Require(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kSealTagBytes, tag.data()) == 1);
  uint8_t rest[kSealTagBytes];
  return EVP_DecryptFinal_ex(cipher.get(), rest, &length) == 1;
}

void FrameCipher::SealFrame(size_t frame, absl::string_view bytes, absl::Span<char> out) const {
  Seal(frame, FrameContext(frame), bytes, out);
}

void FrameCipher::SealTable(absl::string_view bytes, absl::Span<char> out) const {
  Seal(trailer_.frame_count(), TableContext(), bytes, out);
}

bool FrameCipher::OpenFrame(size_t frame, absl::string_view sealed, absl::Span<char> out) const {
  return Open(frame, FrameContext(frame), sealed, out);
}

bool FrameCipher::OpenTable(absl::string_view sealed, absl::Span<char> out) const {
  return Open(trailer_.frame_count(), TableContext(), sealed, out);
}

}  // namespace muster
