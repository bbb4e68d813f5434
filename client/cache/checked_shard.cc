#include "client/cache/checked_shard.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Behind the key of stored bytes, for what they encode.
constexpr absl::string_view kDecodedSuffix = "-plain";

// Longer than any legal resource name; what a hostile server sends beyond it is cut.
constexpr size_t kMaxQuotedName = 300;

std::string QuotedName(absl::string_view name) {
  if (name.empty()) return "shard";
  return absl::CHexEscape(name.substr(0, kMaxQuotedName));
}

absl::Status Refuse(absl::string_view name, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kInvalidShard,
                   absl::StrCat(name, ": ", what, "; the server's description of it can't be used"),
                   {{"shard", std::string(name)}});
}

absl::StatusOr<Md5Digest> DigestField(absl::string_view name, absl::string_view field,
                                      absl::string_view hex) {
  absl::StatusOr<Md5Digest> digest = Md5FromHex(hex.substr(0, 64));
  if (!digest.ok() || hex.size() > 64) {
    return Refuse(name, absl::StrCat(field, " \"", absl::CHexEscape(hex.substr(0, 64)),
                                     "\" is not 32 lowercase hex digits"));
  }
  return digest;
}

}  // namespace

absl::StatusOr<CheckedShard> CheckedShard::Make(const PullShard& input) {
  const muster::v1::Shard& shard = input.shard;
  CheckedShard checked;
  checked.name_ = QuotedName(shard.name());
  if (shard.size_bytes() < 1 || shard.size_bytes() > kMaxShardSizeBytes) {
    return Refuse(checked.name_, absl::StrCat("size ", shard.size_bytes(), " is not in 1 to ",
                                              kMaxShardSizeBytes, " bytes"));
  }
  checked.size_bytes_ = static_cast<int64_t>(shard.size_bytes());
  if (shard.locations_size() > kMaxLocationsPerShard) {
    return Refuse(checked.name_, absl::StrCat(shard.locations_size(), " locations are more than ",
                                              kMaxLocationsPerShard));
  }
  checked.locations_.assign(shard.locations().begin(), shard.locations().end());
  if (!shard.md5().empty()) {
    MUSTER_ASSIGN_OR_RETURN(checked.whole_md5_, DigestField(checked.name_, "md5", shard.md5()));
  }
  if (!shard.encoding().empty()) {
    const uint64_t size = shard.content_size_bytes();
    if (size < 1 || size > kMaxShardSizeBytes) {
      return Refuse(checked.name_, absl::StrCat("a content of ", size, " bytes is not in 1 to ",
                                                kMaxShardSizeBytes, " bytes"));
    }
    checked.encoding_ = shard.encoding();
    checked.content_size_bytes_ = static_cast<int64_t>(size);
    checked.key_id_ = shard.key_id();
  }
  const bool announces_pieces = !shard.root().empty() || shard.piece_size_bytes() != 0 ||
                                shard.piece_count() != 0 || !input.pieces.empty();
  if (announces_pieces) {
    MUSTER_RETURN_IF_ERROR(checked.SetPieces(input));
  } else if (!checked.whole_md5_.has_value()) {
    return Refuse(checked.name_, "it has neither an MD5 nor pieces");
  }
  return checked;
}

absl::Status CheckedShard::SetPieces(const PullShard& input) {
  const muster::v1::Shard& shard = input.shard;
  const uint64_t piece_size = shard.piece_size_bytes();
  if (piece_size < static_cast<uint64_t>(kMinPieceSizeBytes) ||
      piece_size > static_cast<uint64_t>(kMaxPieceSizeBytes) ||
      (piece_size & (piece_size - 1)) != 0) {
    return Refuse(name_, absl::StrCat("piece size ", piece_size, " is not a power of two from ",
                                      kMinPieceSizeBytes, " to ", kMaxPieceSizeBytes));
  }
  piece_size_bytes_ = static_cast<int64_t>(piece_size);
  const int64_t expected = (size_bytes_ - 1) / piece_size_bytes_ + 1;
  if (expected > kMaxPiecesPerShard) {
    return Refuse(name_, absl::StrCat(size_bytes_, " bytes in pieces of ", piece_size_bytes_,
                                      " are more than ", kMaxPiecesPerShard, " pieces"));
  }
  if (input.pieces.size() != static_cast<size_t>(expected)) {
    return Refuse(name_,
                  absl::StrCat(size_bytes_, " bytes in pieces of ", piece_size_bytes_, " need ",
                               expected, " piece digests, and there are ", input.pieces.size()));
  }
  if (shard.piece_count() != 0 && shard.piece_count() != input.pieces.size()) {
    return Refuse(name_, absl::StrCat("piece_count ", shard.piece_count(), " is not the ",
                                      input.pieces.size(), " piece digests that came"));
  }
  MUSTER_ASSIGN_OR_RETURN(root_, DigestField(name_, "root", shard.root()));
  const Md5Digest found = Md5Root(input.pieces);
  if (found != root_) {
    return Refuse(name_, absl::StrCat("root ", Md5ToHex(root_), " is not the pieces' root ",
                                      Md5ToHex(found)));
  }
  pieces_ = input.pieces;
  return absl::OkStatus();
}

int64_t CheckedShard::PieceOffset(size_t piece) const {
  return static_cast<int64_t>(piece) * piece_size_bytes_;
}

int64_t CheckedShard::PieceLength(size_t piece) const {
  return std::min(piece_size_bytes_, size_bytes_ - PieceOffset(piece));
}

absl::StatusOr<CheckedShard> CheckedShard::Decoded(absl::string_view stored_key,
                                                   absl::string_view name, int64_t size_bytes,
                                                   int64_t frame_bytes,
                                                   std::vector<Md5Digest> frames) {
  if (size_bytes < 1 || size_bytes > kMaxShardSizeBytes || frame_bytes < 1 ||
      frame_bytes > kMaxPieceSizeBytes || frames.size() > kMaxPiecesPerShard ||
      frames.size() != static_cast<size_t>((size_bytes - 1) / frame_bytes + 1)) {
    return Refuse(name, absl::StrCat(frames.size(), " frames of ", frame_bytes,
                                     " bytes don't make ", size_bytes, " bytes"));
  }
  CheckedShard decoded;
  decoded.name_ = std::string(name);
  decoded.size_bytes_ = size_bytes;
  decoded.piece_size_bytes_ = frame_bytes;
  decoded.root_ = Md5Root(frames);
  decoded.pieces_ = std::move(frames);
  decoded.decoded_from_ = std::string(stored_key);
  return decoded;
}

CheckedShard CheckedShard::Stored() const {
  CheckedShard stored = *this;
  stored.encoding_.clear();
  stored.key_id_.clear();
  return stored;
}

std::string CheckedShard::ContentKey() const {
  const std::string stored = StoredKey();
  return is_encoded() || !decoded_from_.empty() ? DecodedKeyOf(stored) : stored;
}

std::string CheckedShard::StoredKey() const {
  if (!decoded_from_.empty()) return decoded_from_;
  return has_pieces() ? absl::StrCat("root-", Md5ToHex(root_), "-", size_bytes_)
                      : absl::StrCat("md5-", Md5ToHex(*whole_md5_), "-", size_bytes_);
}

std::string ContentKeyOf(const muster::v1::Shard& shard) {
  const bool has_pieces = shard.piece_count() > 0;
  const std::string& digest = has_pieces ? shard.root() : shard.md5();
  if (!Md5FromHex(digest).ok()) return "";
  const std::string stored =
      absl::StrCat(has_pieces ? "root-" : "md5-", digest, "-", shard.size_bytes());
  return shard.encoding().empty() ? stored : DecodedKeyOf(stored);
}

int64_t ContentBytesOf(const muster::v1::Shard& shard) {
  return static_cast<int64_t>(shard.encoding().empty() ? shard.size_bytes()
                                                       : shard.content_size_bytes());
}

absl::string_view StoredKeyOf(absl::string_view content_key) {
  return absl::StripSuffix(content_key, kDecodedSuffix);
}

std::string DecodedKeyOf(absl::string_view stored_key) {
  return absl::StrCat(stored_key, kDecodedSuffix);
}

absl::StatusOr<std::vector<Md5Digest>> UnpackPieces(absl::string_view packed) {
  constexpr size_t kDigestSize = sizeof(Md5Digest);
  if (packed.size() % kDigestSize != 0 || packed.size() / kDigestSize > kMaxPiecesPerShard) {
    return absl::InvalidArgumentError(absl::StrCat("a piece list of ", packed.size(),
                                                   " bytes is not 16 bytes for each of at most ",
                                                   kMaxPiecesPerShard, " pieces"));
  }
  std::vector<Md5Digest> pieces(packed.size() / kDigestSize);
  if (!pieces.empty()) std::memcpy(pieces.data(), packed.data(), packed.size());
  return pieces;
}

std::string PackPieces(const std::vector<Md5Digest>& pieces) {
  std::string packed;
  packed.reserve(pieces.size() * sizeof(Md5Digest));
  for (const Md5Digest& digest : pieces) packed.append(digest.begin(), digest.end());
  return packed;
}

}  // namespace muster
