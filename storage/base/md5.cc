#include "storage/base/md5.h"

#include <openssl/evp.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace muster {
namespace {

// OpenSSL refuses MD5 only where a FIPS provider forbids it; nothing here can work then.
void Require(int result) {
  if (result != 1) std::abort();
}

}  // namespace

struct Md5Stream::State {
  State() : context(EVP_MD_CTX_new()) { Require(EVP_DigestInit_ex(context, EVP_md5(), nullptr)); }
  ~State() { EVP_MD_CTX_free(context); }

  EVP_MD_CTX* context;
};

Md5Stream::Md5Stream() : state_(std::make_unique<State>()) {}
Md5Stream::~Md5Stream() = default;
Md5Stream::Md5Stream(Md5Stream&&) noexcept = default;
Md5Stream& Md5Stream::operator=(Md5Stream&&) noexcept = default;

void Md5Stream::Update(absl::string_view bytes) {
  Require(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()));
}

Md5Digest Md5Stream::Finish() {
  Md5Digest digest;
  Require(EVP_DigestFinal_ex(state_->context, digest.data(), nullptr));
  Require(EVP_DigestInit_ex(state_->context, EVP_md5(), nullptr));
  return digest;
}

Md5Digest Md5Of(absl::string_view bytes) {
  Md5Digest digest;
  Require(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_md5(), nullptr));
  return digest;
}

Md5Digest Md5Root(absl::Span<const Md5Digest> pieces) {
  return Md5Of(absl::string_view(reinterpret_cast<const char*>(pieces.data()),
                                 pieces.size() * sizeof(Md5Digest)));
}

std::string Md5ToHex(const Md5Digest& digest) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

absl::StatusOr<Md5Digest> Md5FromHex(absl::string_view hex) {
  Md5Digest digest{};
  bool valid = hex.size() == 2 * digest.size();
  for (size_t i = 0; valid && i < hex.size(); ++i) {
    const char c = hex[i];
    valid = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    const int nibble = c <= '9' ? c - '0' : c - 'a' + 10;
    if (valid) digest[i / 2] = static_cast<uint8_t>(digest[i / 2] << 4 | nibble);
  }
  if (!valid) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", absl::CHexEscape(hex.substr(0, 64)),
                     "' is not an MD5 digest: expected 32 lowercase hex digits"));
  }
  return digest;
}

}  // namespace muster
