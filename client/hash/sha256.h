// SHA-256 of bytes that arrive in parts: what Hugging Face caches name large files by.
#ifndef MUSTER_CLIENT_HASH_SHA256_H_
#define MUSTER_CLIENT_HASH_SHA256_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// Not thread-safe.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept;
  Sha256Stream& operator=(Sha256Stream&&) noexcept;

  void Update(absl::string_view bytes);

  // 64 lowercase hex digits of all bytes so far. The stream is used up.
  std::string FinishHex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_HASH_SHA256_H_
