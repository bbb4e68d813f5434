// KEY.pieces is the line "pieces SIZE" with the size of a piece in bytes, then the packed digests. For
// what was decoded it is "frames SIZE CONTENT ROOT" with the size of a frame and of the content, and
// the MD5 of the digests; of what was decrypted also "SALT CHECK SUM" with the object's KeyProof in
// hexadecimal, and the MD5 of the line before SUM: a proof that is torn must not look like another key's.
#include "client/cache/cache_pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kPiecesWord = "pieces";
constexpr absl::string_view kFramesWord = "frames";
constexpr size_t kWordsOfFrames = 4;
constexpr size_t kWordsWithProof = 7;
// The line is at most 200 bytes long.
constexpr int64_t kMaxFileBytes = int64_t{kMaxPiecesPerShard} * 16 + 256;

absl::Status NoList(const std::string& path) {
  return absl::NotFoundError(
      absl::StrCat(path, ": no usable piece list; the next pull of the shard writes it"));
}

template <size_t kSize>
std::string ToHex(const std::array<uint8_t, kSize>& bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), kSize));
}

template <size_t kSize>
bool FromHex(const std::string& hex, std::array<uint8_t, kSize>& bytes) {
  const std::string found = absl::HexStringToBytes(hex);
  if (hex.size() != 2 * kSize || found.size() != kSize) return false;
  std::copy(found.begin(), found.end(), bytes.begin());
  return true;
}

std::string SumOf(const std::vector<std::string>& words) {
  return Md5ToHex(Md5Of(absl::StrJoin(words, " ")));
}

bool IsDecoded(absl::string_view key) { return StoredKeyOf(key) != key; }

// The words before the digests.
std::vector<std::string> HeadOf(const CheckedShard& shard, const std::vector<Md5Digest>& pieces,
                                const std::optional<KeyProof>& proof) {
  const std::string size = absl::StrCat(shard.piece_size_bytes());
  if (!IsDecoded(shard.ContentKey())) return {std::string(kPiecesWord), size};
  std::vector<std::string> words = {std::string(kFramesWord), size,
                                    absl::StrCat(shard.size_bytes()), Md5ToHex(Md5Root(pieces))};
  if (!proof.has_value()) return words;
  words.push_back(ToHex(proof->salt));
  words.push_back(ToHex(proof->check));
  words.push_back(SumOf(words));
  return words;
}

// Unset unless the words behind the digests' MD5 are one.
std::optional<KeyProof> ProofIn(std::vector<std::string> words) {
  if (words.size() != kWordsWithProof) return std::nullopt;
  const std::string sum = std::move(words.back());
  words.pop_back();
  KeyProof proof;
  if (sum != SumOf(words) || !FromHex(words[4], proof.salt) || !FromHex(words[5], proof.check)) {
    return std::nullopt;
  }
  return proof;
}

std::string TextOf(const CheckedShard& shard, const std::optional<KeyProof>& proof) {
  std::vector<Md5Digest> pieces;
  pieces.reserve(shard.piece_count());
  for (size_t i = 0; i < shard.piece_count(); ++i) pieces.push_back(shard.piece_digest(i));
  return absl::StrCat(absl::StrJoin(HeadOf(shard, pieces, proof), " "), "\n", PackPieces(pieces));
}

struct PieceList {
  std::vector<std::string> head;
  std::vector<Md5Digest> pieces;
};

absl::StatusOr<std::string> ReadText(const CacheDomain& domain, const std::string& name) {
  const std::string path = domain.PathOf(name);
  const UniqueFd fd = domain.Open(name, O_RDONLY);
  struct stat state {};
  if (!fd.valid() || fstat(fd.get(), &state) != 0 || !S_ISREG(state.st_mode) ||
      state.st_size > kMaxFileBytes) {
    return NoList(path);
  }
  std::string text(static_cast<size_t>(state.st_size), '\0');
  if (!ReadAt(fd.get(), path, 0, absl::MakeSpan(text)).ok()) return NoList(path);
  return text;
}

absl::StatusOr<PieceList> ReadList(const CacheDomain& domain, const std::string& name) {
  const std::string path = domain.PathOf(name);
  MUSTER_ASSIGN_OR_RETURN(const std::string text, ReadText(domain, name));
  const size_t line_end = text.find('\n');
  if (line_end == std::string::npos) return NoList(path);
  const absl::StatusOr<std::vector<Md5Digest>> pieces =
      UnpackPieces(absl::string_view(text).substr(line_end + 1));
  if (!pieces.ok()) return NoList(path);
  return PieceList{absl::StrSplit(absl::string_view(text).substr(0, line_end), ' '), *pieces};
}

absl::StatusOr<EntryList> DecodedEntry(const CacheDomain& domain, const std::string& key) {
  const std::string name = key + kPiecesSuffix;
  MUSTER_ASSIGN_OR_RETURN(PieceList list, ReadList(domain, name));
  int64_t frame_size = 0;
  int64_t size = 0;
  const std::optional<KeyProof> proof = ProofIn(list.head);
  if ((list.head.size() != kWordsOfFrames && !proof.has_value()) || list.head[0] != kFramesWord ||
      !absl::SimpleAtoi(list.head[1], &frame_size) || !absl::SimpleAtoi(list.head[2], &size) ||
      list.head[3] != Md5ToHex(Md5Root(list.pieces))) {
    return NoList(domain.PathOf(name));
  }
  absl::StatusOr<CheckedShard> decoded =
      CheckedShard::Decoded(StoredKeyOf(key), key, size, frame_size, std::move(list.pieces));
  if (!decoded.ok()) return NoList(domain.PathOf(name));
  return EntryList{*std::move(decoded), proof};
}

absl::Status Write(const CacheDomain& domain, const std::string& name, absl::string_view text) {
  const std::string path = domain.PathOf(name);
  const UniqueFd fd = domain.Open(name, O_WRONLY | O_CREAT | O_TRUNC);
  if (!fd.valid()) return PathError(errno, "write it", path);
  MUSTER_RETURN_IF_ERROR(WriteAt(fd.get(), path, 0, text));
  return SyncFile(fd.get(), path);
}

}  // namespace

absl::Status KeepPieces(const CacheDomain& domain, const CheckedShard& shard) {
  // What is known of decoded content comes from its list.
  if (!shard.has_pieces() || IsDecoded(shard.ContentKey())) return absl::OkStatus();
  const std::string name = shard.ContentKey() + kPiecesSuffix;
  const std::string text = TextOf(shard, std::nullopt);
  const absl::StatusOr<std::string> found = ReadText(domain, name);
  if (found.ok() && *found == text) return absl::OkStatus();
  return Write(domain, name, text);
}

absl::Status WritePieces(const CacheDomain& domain, const CheckedShard& shard,
                         const std::optional<KeyProof>& proof) {
  return Write(domain, shard.ContentKey() + kPiecesSuffix, TextOf(shard, proof));
}

absl::StatusOr<CheckedShard> ShardOfEntry(const CacheDomain& domain, const std::string& key) {
  MUSTER_ASSIGN_OR_RETURN(EntryList list, ListOfEntry(domain, key));
  return std::move(list.shard);
}

absl::StatusOr<EntryList> ListOfEntry(const CacheDomain& domain, const std::string& key) {
  const std::vector<std::string> parts = absl::StrSplit(StoredKeyOf(key), '-');
  PullShard shard;
  int64_t size = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[2], &size)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is not the key of an entry"));
  }
  if (IsDecoded(key)) return DecodedEntry(domain, key);
  shard.shard.set_name(key);
  shard.shard.set_size_bytes(static_cast<uint64_t>(size));
  if (parts[0] == "md5") {
    shard.shard.set_md5(parts[1]);
    MUSTER_ASSIGN_OR_RETURN(CheckedShard whole, CheckedShard::Make(shard));
    return EntryList{std::move(whole)};
  }
  shard.shard.set_root(parts[1]);
  const std::string name = key + kPiecesSuffix;
  MUSTER_ASSIGN_OR_RETURN(PieceList list, ReadList(domain, name));
  uint32_t piece_size = 0;
  if (list.head.size() != 2 || list.head[0] != kPiecesWord ||
      !absl::SimpleAtoi(list.head[1], &piece_size)) {
    return NoList(domain.PathOf(name));
  }
  shard.pieces = std::move(list.pieces);
  shard.shard.set_piece_size_bytes(piece_size);
  shard.shard.set_piece_count(static_cast<uint32_t>(shard.pieces.size()));
  absl::StatusOr<CheckedShard> checked = CheckedShard::Make(shard);
  if (!checked.ok() || checked->ContentKey() != key) return NoList(domain.PathOf(name));
  return EntryList{*std::move(checked)};
}

}  // namespace muster
