#include "server/keys/key_wrapper.h"

#include <openssl/rand.h>

#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/limits.h"

namespace muster {
namespace {

constexpr absl::string_view kContextLabel = "muster-content-key-v1";
constexpr size_t kIdBytes = 16;

// Without random numbers there are no keys; OpenSSL fails only where the system has none.
void Draw(unsigned char* out, size_t size) {
  if (RAND_bytes(out, static_cast<int>(size)) != 1) std::abort();
}

}  // namespace

std::string ContentKeyContext(absl::string_view version_uid, absl::string_view key_id) {
  // Neither a uid nor a key id has a NUL.
  const absl::string_view separator("\0", 1);
  return absl::StrCat(kContextLabel, separator, version_uid, separator, key_id);
}

SecretKey DrawKey() {
  SecretKey key;
  Draw(key.Fill().data(), SecretKey::kBytes);
  return key;
}

std::string DrawContentKeyId() {
  std::string bytes(kIdBytes, '\0');
  Draw(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size());
  return absl::StrCat(kContentKeyIdPrefix, absl::BytesToHexString(bytes));
}

}  // namespace muster
