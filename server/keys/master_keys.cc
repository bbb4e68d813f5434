#include "server/keys/master_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/secret_memory.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr char kFormat = 1;
constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;
constexpr size_t kSealedAt = 1 + kNonceBytes;
constexpr size_t kTagAt = kSealedAt + SecretKey::kBytes;
constexpr size_t kWrappedBytes = kTagAt + kTagBytes;
// 32 bytes in Base64.
constexpr size_t kKeyTextBytes = 44;
constexpr absl::string_view kCurrent = "current";

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

// What OpenSSL refuses only for lack of memory.
void Require(bool done) {
  if (!done) std::abort();
}

const uint8_t* BytesOf(absl::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

absl::Status BadLine(size_t line, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kMasterKeyFile,
                   absl::StrCat("line ", line, ": ", what), {{"line", absl::StrCat(line)}});
}

absl::Status BadFile(absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kMasterKeyFile, what);
}

// The text up to the next space, which is taken away with it.
absl::string_view TakeWord(absl::string_view& line) {
  const absl::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(word.size() + 1, line.size()));
  return word;
}

// Strict: no other text stands for the same key.
absl::StatusOr<SecretKey> DecodeKey(absl::string_view text, size_t line) {
  const auto wrong = [line] {
    return BadLine(line, "the key is not 32 bytes in Base64, 43 characters and a \"=\"");
  };
  if (text.size() != kKeyTextBytes || text.back() != '=' || text[kKeyTextBytes - 2] == '=') {
    return wrong();
  }
  // A byte more than the key, for the "=".
  SecretMemory decoded;
  auto* const bytes = reinterpret_cast<uint8_t*>(decoded.bytes().data());
  const int size = EVP_DecodeBlock(bytes, BytesOf(text), static_cast<int>(text.size()));
  if (size != static_cast<int>(SecretKey::kBytes) + 1) return wrong();
  SecretMemory again;
  EVP_EncodeBlock(reinterpret_cast<uint8_t*>(again.bytes().data()), bytes, SecretKey::kBytes);
  if (CRYPTO_memcmp(again.bytes().data(), text.data(), text.size()) != 0) return wrong();
  SecretKey key;
  std::memcpy(key.Fill().data(), bytes, SecretKey::kBytes);
  return key;
}

bool SameKey(const SecretKey& a, const SecretKey& b) {
  return CRYPTO_memcmp(a.data(), b.data(), SecretKey::kBytes) == 0;
}

std::string BoundTo(absl::string_view context, absl::string_view master_key_id) {
  return absl::StrCat(context, absl::string_view("\0", 1), master_key_id);
}

absl::Status Damaged(absl::string_view master_key_id) {
  return MakeError(
      absl::StatusCode::kDataLoss, reasons::kContentKeyDamaged,
      absl::StrCat("the content key can't be opened with the master key ", master_key_id,
                   ": what is stored is not what that key wrapped "
                   "for this model version; restore the server's data from a backup"),
      {{"master_key_id", std::string(master_key_id)}});
}

}  // namespace

absl::Status MasterKeys::CheckId(absl::string_view id) {
  const bool valid = !id.empty() && id.size() <= static_cast<size_t>(kMaxKeyIdBytes) &&
                     std::all_of(id.begin(), id.end(), [](char c) {
                       return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
                              c == '_' || c == '-';
                     });
  return valid ? absl::OkStatus()
               : BadFile(absl::StrCat("the id of a master key is 1 to ", kMaxKeyIdBytes,
                                      " letters, digits, \".\", \"_\" and \"-\""));
}

absl::StatusOr<MasterKeys> MasterKeys::Parse(absl::string_view text) {
  if (text.size() > kMaxTextBytes) {
    return BadFile(absl::StrCat("has more than ", kMaxTextBytes, " bytes"));
  }
  MasterKeys keys;
  for (size_t number = 1; !text.empty(); ++number) {
    absl::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    const std::string id(TakeWord(line));
    if (!CheckId(id).ok()) return BadLine(number, CheckId(id).message());
    if (keys.Has(id)) return BadLine(number, absl::StrCat("the id ", id, " is there twice"));
    if (keys.keys_.size() == kMaxKeys) {
      return BadLine(number, absl::StrCat("there are more than ", kMaxKeys, " keys: retire some"));
    }
    MUSTER_ASSIGN_OR_RETURN(const SecretKey key, DecodeKey(TakeWord(line), number));
    if (SameKey(key, SecretKey())) return BadLine(number, "the key is all zeros");
    for (const auto& [other, present] : keys.keys_) {
      if (SameKey(key, present)) return BadLine(number, absl::StrCat("the key is that of ", other));
    }
    if (!line.empty() && line != kCurrent) {
      return BadLine(number, "behind the key may be nothing but \"current\"");
    }
    if (line == kCurrent && !keys.current_.empty()) {
      return BadLine(number, absl::StrCat("the current key is ", keys.current_, " already"));
    }
    if (line == kCurrent) keys.current_ = id;
    keys.keys_.emplace(id, key);
  }
  if (keys.keys_.empty()) {
    return BadFile("holds no key; make one with `musterd master-key new FILE`");
  }
  if (keys.current_.empty()) return BadFile("says of no key that it is the current one");
  return keys;
}

MasterKeys MasterKeys::Of(const std::string& id, const SecretKey& key) {
  MasterKeys keys;
  keys.keys_.emplace(id, key);
  keys.current_ = id;
  return keys;
}

void MasterKeys::Print(SecretText& out) const {
  out.Append(
      "# Master keys of musterd, one a line: id, key, and \"current\" behind one of them.\n");
  for (const auto& [id, key] : keys_) {
    out.Append(id);
    out.Append(" ");
    // With the NUL that it writes behind the text.
    SecretMemory text;
    EVP_EncodeBlock(reinterpret_cast<uint8_t*>(text.bytes().data()), key.data(), SecretKey::kBytes);
    out.Append({text.bytes().data(), kKeyTextBytes});
    if (id == current_) {
      out.Append(" ");
      out.Append(kCurrent);
    }
    out.Append("\n");
  }
}

absl::StatusOr<MasterKeys> MasterKeys::With(const std::string& id, const SecretKey& key) const {
  MUSTER_RETURN_IF_ERROR(CheckId(id));
  if (Has(id)) return absl::AlreadyExistsError(absl::StrCat("there is a master key ", id));
  if (keys_.size() == kMaxKeys) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", kMaxKeys, " master keys already: retire some first"));
  }
  MasterKeys more = *this;
  more.keys_.emplace(id, key);
  more.current_ = id;
  return more;
}

absl::StatusOr<MasterKeys> MasterKeys::Without(const std::string& id) const {
  if (!Has(id)) return absl::NotFoundError(absl::StrCat("there is no master key ", id));
  if (id == current_) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, reasons::kMasterKeyInUse,
        absl::StrCat(id, " is the current master key: `musterd master-key rotate` first"),
        {{"master_key_id", id}});
  }
  MasterKeys fewer = *this;
  fewer.keys_.erase(id);
  return fewer;
}

std::vector<std::string> MasterKeys::ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, key] : keys_) ids.push_back(id);
  return ids;
}

WrappedKey MasterKeys::Wrap(const SecretKey& key, absl::string_view context) const {
  std::string wrapped(kWrappedBytes, '\0');
  wrapped[0] = kFormat;
  auto* const out = reinterpret_cast<uint8_t*>(wrapped.data());
  Require(RAND_bytes(out + 1, kNonceBytes) == 1);
  const std::string bound = BoundTo(context, current_);
  const CipherContext cipher(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  Require(cipher != nullptr);
  int length = 0;
  Require(EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, keys_.at(current_).data(),
                             out + 1) == 1);
  Require(EVP_EncryptUpdate(cipher.get(), nullptr, &length, BytesOf(bound),
                            static_cast<int>(bound.size())) == 1);
  Require(EVP_EncryptUpdate(cipher.get(), out + kSealedAt, &length, key.data(),
                            SecretKey::kBytes) == 1);
  Require(EVP_EncryptFinal_ex(cipher.get(), out + kTagAt, &length) == 1);
  Require(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, out + kTagAt) == 1);
  return {current_, std::move(wrapped)};
}

absl::StatusOr<SecretKey> MasterKeys::Unwrap(const WrappedKey& wrapped,
                                             absl::string_view context) const {
  const auto master = keys_.find(wrapped.master_key_id);
  if (master == keys_.end()) {
    return MakeError(
        absl::StatusCode::kDataLoss, reasons::kMasterKeyMissing,
        absl::StrCat("the content key is wrapped by the master key ", wrapped.master_key_id,
                     ", which the server does not have: put it back into the file of --master-key"),
        {{"master_key_id", wrapped.master_key_id}});
  }
  if (wrapped.bytes.size() != kWrappedBytes || wrapped.bytes[0] != kFormat) {
    return Damaged(wrapped.master_key_id);
  }
  const std::string bound = BoundTo(context, wrapped.master_key_id);
  const CipherContext cipher(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  Require(cipher != nullptr);
  std::string tag = wrapped.bytes.substr(kTagAt);
  SecretKey key;
  uint8_t rest[kTagBytes];
  int length = 0;
  const uint8_t* const in = BytesOf(wrapped.bytes);
  Require(EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, master->second.data(),
                             in + 1) == 1);
  Require(EVP_DecryptUpdate(cipher.get(), nullptr, &length, BytesOf(bound),
                            static_cast<int>(bound.size())) == 1);
  Require(EVP_DecryptUpdate(cipher.get(), key.Fill().data(), &length, in + kSealedAt,
                            SecretKey::kBytes) == 1);
  Require(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1);
  if (EVP_DecryptFinal_ex(cipher.get(), rest, &length) != 1) return Damaged(wrapped.master_key_id);
  return key;
}

}  // namespace muster
