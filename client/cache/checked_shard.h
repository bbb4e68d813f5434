// What to pull, and the proof that a server's description of it makes sense.
#ifndef MUSTER_CLIENT_CACHE_CHECKED_SHARD_H_
#define MUSTER_CLIENT_CACHE_CHECKED_SHARD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "muster/v1/model.pb.h"
#include "storage/base/md5.h"

namespace muster {

// A shard as the server describes it, with the piece digests that ListPieces returned for it.
// Nothing in it is trusted before CheckedShard::Make accepted it.
struct PullShard {
  muster::v1::Shard shard;
  std::vector<Md5Digest> pieces;
};

// A shard whose description is consistent. A value; thread-safe.
class CheckedShard {
 public:
  // kInvalidArgument, naming the shard, the value and what is wrong with it. Checks every size
  // against its bounds, the number of pieces against the size, and the root against the pieces. A
  // shard that announces pieces must come with them: the whole MD5 alone is not taken in their
  // place.
  static absl::StatusOr<CheckedShard> Make(const PullShard& shard);

  // The content of an encoded shard, as a shard that is not: its pieces are frames of `frame_bytes`,
  // except the last, with these digests. kInvalidArgument when they don't make `size_bytes`.
  static absl::StatusOr<CheckedShard> Decoded(absl::string_view stored_key, absl::string_view name,
                                              int64_t size_bytes, int64_t frame_bytes,
                                              std::vector<Md5Digest> frames);

  // The resource name, or "shard" where the server sent none.
  const std::string& name() const { return name_; }
  int64_t size_bytes() const { return size_bytes_; }
  const std::vector<muster::v1::Location>& locations() const { return locations_; }

  // Whether pieces were registered; if not, whole_md5() is what the bytes must match.
  bool has_pieces() const { return !pieces_.empty(); }
  size_t piece_count() const { return pieces_.size(); }
  int64_t piece_size_bytes() const { return piece_size_bytes_; }
  const Md5Digest& piece_digest(size_t piece) const { return pieces_[piece]; }
  int64_t PieceOffset(size_t piece) const;
  // The last piece may be shorter than piece_size_bytes().
  int64_t PieceLength(size_t piece) const;
  // Set where the server gave it; always set without pieces.
  const std::optional<Md5Digest>& whole_md5() const { return whole_md5_; }

  // How the stored bytes encode the content; "" where they are the content. Pieces, MD5 and
  // size_bytes() are those of the stored bytes.
  const std::string& encoding() const { return encoding_; }
  bool is_encoded() const { return !encoding_.empty(); }
  // Of the content.
  int64_t content_size_bytes() const { return is_encoded() ? content_size_bytes_ : size_bytes_; }
  // Of the key that it is encrypted with; "" where none is named.
  const std::string& key_id() const { return key_id_; }
  // The stored bytes, as a shard that is not encoded.
  CheckedShard Stored() const;

  // Names the content: "root-{hex}-{size}" or "md5-{hex}-{size}" of the stored bytes, with "-plain"
  // behind it where they encode it. Equal keys mean equal bytes.
  std::string ContentKey() const;
  // Names the stored bytes.
  std::string StoredKey() const;

 private:
  CheckedShard() = default;
  absl::Status SetPieces(const PullShard& shard);

  std::string name_;
  int64_t size_bytes_ = 0;
  int64_t piece_size_bytes_ = 0;
  std::vector<Md5Digest> pieces_;
  Md5Digest root_{};
  std::optional<Md5Digest> whole_md5_;
  std::vector<muster::v1::Location> locations_;
  std::string encoding_;
  int64_t content_size_bytes_ = 0;
  std::string key_id_;
  // Of what Decoded makes: the key of what it was decoded from.
  std::string decoded_from_;
};

// ContentKey and content_size_bytes of a shard as the server describes it; "" where it has no
// well-formed digest.
std::string ContentKeyOf(const muster::v1::Shard& shard);
int64_t ContentBytesOf(const muster::v1::Shard& shard);

// The StoredKey for a ContentKey. Both are the same where nothing is encoded.
absl::string_view StoredKeyOf(absl::string_view content_key);
// The ContentKey of what is stored, encoded, under `stored_key`.
std::string DecodedKeyOf(absl::string_view stored_key);

// Splits the packed piece list of Shard.piece_md5s or ListPiecesResponse into digests.
// kInvalidArgument unless its length is a multiple of 16, at most kMaxPiecesPerShard of them.
absl::StatusOr<std::vector<Md5Digest>> UnpackPieces(absl::string_view packed);

// The reverse of UnpackPieces.
std::string PackPieces(const std::vector<Md5Digest>& pieces);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CHECKED_SHARD_H_
