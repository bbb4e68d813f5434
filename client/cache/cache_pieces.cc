// KEY.pieces is the line "pieces SIZE" with the size of a piece in bytes, then the packed digests. For
// what was decoded it is "frames SIZE CONTENT ROOT" with the size of a frame and of the content, and
// the MD5 of the digests.
#include "client/cache/cache_pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <utility>
#include <vector>

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
constexpr int64_t kMaxFileBytes = int64_t{kMaxPiecesPerShard} * 16 + 100;

absl::Status NoList(const std::string& path) {
  return absl::NotFoundError(
      absl::StrCat(path, ": no usable piece list; the next pull of the shard writes it"));
}

bool IsDecoded(absl::string_view key) { return StoredKeyOf(key) != key; }

// The words before the digests.
std::vector<std::string> HeadOf(const CheckedShard& shard, const std::vector<Md5Digest>& pieces) {
  const std::string size = absl::StrCat(shard.piece_size_bytes());
  if (!IsDecoded(shard.ContentKey())) return {std::string(kPiecesWord), size};
  return {std::string(kFramesWord), size, absl::StrCat(shard.size_bytes()),
          Md5ToHex(Md5Root(pieces))};
}

std::string TextOf(const CheckedShard& shard) {
  std::vector<Md5Digest> pieces;
  pieces.reserve(shard.piece_count());
  for (size_t i = 0; i < shard.piece_count(); ++i) pieces.push_back(shard.piece_digest(i));
  return absl::StrCat(absl::StrJoin(HeadOf(shard, pieces), " "), "\n", PackPieces(pieces));
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

absl::StatusOr<CheckedShard> DecodedEntry(const CacheDomain& domain, const std::string& key) {
  const std::string name = key + kPiecesSuffix;
  MUSTER_ASSIGN_OR_RETURN(PieceList list, ReadList(domain, name));
  int64_t frame_size = 0;
  int64_t size = 0;
  if (list.head.size() != 4 || list.head[0] != kFramesWord ||
      !absl::SimpleAtoi(list.head[1], &frame_size) || !absl::SimpleAtoi(list.head[2], &size) ||
      list.head[3] != Md5ToHex(Md5Root(list.pieces))) {
    return NoList(domain.PathOf(name));
  }
  absl::StatusOr<CheckedShard> decoded =
      CheckedShard::Decoded(StoredKeyOf(key), key, size, frame_size, std::move(list.pieces));
  return decoded.ok() ? decoded : NoList(domain.PathOf(name));
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
  if (!shard.has_pieces()) return absl::OkStatus();
  const std::string name = shard.ContentKey() + kPiecesSuffix;
  const std::string text = TextOf(shard);
  const absl::StatusOr<std::string> found = ReadText(domain, name);
  if (found.ok() && *found == text) return absl::OkStatus();
  return Write(domain, name, text);
}

absl::Status WritePieces(const CacheDomain& domain, const CheckedShard& shard) {
  return Write(domain, shard.ContentKey() + kPiecesSuffix, TextOf(shard));
}

absl::StatusOr<CheckedShard> ShardOfEntry(const CacheDomain& domain, const std::string& key) {
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
    return CheckedShard::Make(shard);
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
  return checked;
}

}  // namespace muster
