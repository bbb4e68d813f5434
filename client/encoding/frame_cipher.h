// Encrypts the frames of one stored object: AES-256-GCM by a key that no other object has.
#ifndef MUSTER_CLIENT_ENCODING_FRAME_CIPHER_H_
#define MUSTER_CLIENT_ENCODING_FRAME_CIPHER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/encoding/frame_table.h"
#include "storage/base/secret_key.h"

namespace muster {

// 32 bytes by the operating system's means.
Salt DrawSalt();

// Shows whether two master keys are the same, and nothing else about them.
KeyCheck KeyCheckOf(const SecretKey& master, const Salt& salt);

// The data key is HKDF-SHA256(master, salt, "muster-shard-v1"), a frame's nonce its number, the
// table's the number of frames. Every tag also binds the format's version, the shard's resource name
// (so the model and the version), the frame's number, the number of frames, the plain length and the
// encoding; the table's binds the trailer. Thread-safe.
class FrameCipher {
 public:
  // `trailer` has its salt, and all of its fields set before the table is sealed or opened.
  FrameCipher(const SecretKey& master, const Trailer& trailer, absl::string_view shard_name);

  // `out` has the size of `bytes` and a tag behind it; they may begin at the same place.
  void SealFrame(size_t frame, absl::string_view bytes, absl::Span<char> out) const;
  void SealTable(absl::string_view bytes, absl::Span<char> out) const;

  // The reverse; `sealed` includes the tag, and may begin at the same place. False where a single bit is not what was sealed, in the
  // place and under the name for which it was: what is in `out` is of no use then.
  bool OpenFrame(size_t frame, absl::string_view sealed, absl::Span<char> out) const;
  bool OpenTable(absl::string_view sealed, absl::Span<char> out) const;

 private:
  std::string FrameContext(size_t frame) const;
  std::string TableContext() const;
  void Seal(size_t nonce, absl::string_view context, absl::string_view bytes,
            absl::Span<char> out) const;
  bool Open(size_t nonce, absl::string_view context, absl::string_view sealed,
            absl::Span<char> out) const;

  const Trailer trailer_;
  const std::string shard_name_;
  SecretKey data_key_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_FRAME_CIPHER_H_
