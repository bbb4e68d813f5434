// MD5 of bytes in memory. It finds corruption; it is not a defence against forgery.
#ifndef MUSTER_STORAGE_BASE_MD5_H_
#define MUSTER_STORAGE_BASE_MD5_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

// 16 bytes, in the order in which the hex form shows them.
using Md5Digest = std::array<uint8_t, 16>;

// MD5 of `bytes`. Thread-safe.
Md5Digest Md5Of(absl::string_view bytes);

// MD5 of the concatenated digests: the root of a piece list. Thread-safe.
Md5Digest Md5Root(absl::Span<const Md5Digest> pieces);

// 32 lowercase hex digits.
std::string Md5ToHex(const Md5Digest& digest);

// kInvalidArgument, quoting `hex`, unless it is 32 lowercase hex digits.
absl::StatusOr<Md5Digest> Md5FromHex(absl::string_view hex);

// MD5 of bytes that arrive in parts. Not thread-safe.
class Md5Stream {
 public:
  Md5Stream();
  ~Md5Stream();
  Md5Stream(Md5Stream&&) noexcept;
  Md5Stream& operator=(Md5Stream&&) noexcept;

  void Update(absl::string_view bytes);

  // The digest of all bytes so far; the stream starts over afterwards.
  Md5Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_MD5_H_
