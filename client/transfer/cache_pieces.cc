// KEY.pieces is the line "pieces SIZE" with the size of a piece in bytes, then the packed digests.
#include "client/transfer/cache_pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kFirstWord = "pieces ";
constexpr int64_t kMaxFileBytes = int64_t{kMaxPiecesPerShard} * 16 + 100;

absl::Status NoList(const std::string& path) {
  return absl::NotFoundError(
      absl::StrCat(path, ": no usable piece list; the next pull of the shard writes it"));
}

absl::Status ReadList(const CacheDomain& domain, const std::string& name, PullShard& shard) {
  const std::string path = domain.PathOf(name);
  const UniqueFd fd(
      openat(domain.dir.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat state {};
  if (!fd.valid() || fstat(fd.get(), &state) != 0 || !S_ISREG(state.st_mode) ||
      state.st_size > kMaxFileBytes) {
    return NoList(path);
  }
  std::string text(static_cast<size_t>(state.st_size), '\0');
  if (!ReadAt(fd.get(), path, 0, absl::MakeSpan(text)).ok()) return NoList(path);
  absl::string_view rest = text;
  const size_t line_end = rest.find('\n');
  int64_t piece_size = 0;
  if (!absl::ConsumePrefix(&rest, kFirstWord) || line_end == absl::string_view::npos ||
      !absl::SimpleAtoi(
          absl::string_view(text).substr(kFirstWord.size(), line_end - kFirstWord.size()),
          &piece_size)) {
    return NoList(path);
  }
  const absl::StatusOr<std::vector<Md5Digest>> pieces =
      UnpackPieces(absl::string_view(text).substr(line_end + 1));
  if (!pieces.ok()) return NoList(path);
  shard.pieces = *pieces;
  shard.shard.set_piece_size_bytes(static_cast<uint32_t>(piece_size));
  shard.shard.set_piece_count(static_cast<uint32_t>(pieces->size()));
  return absl::OkStatus();
}

}  // namespace

absl::Status KeepPieces(const CacheDomain& domain, const CheckedShard& shard) {
  if (!shard.has_pieces()) return absl::OkStatus();
  const std::string name = shard.ContentKey() + kPiecesSuffix;
  const std::string path = domain.PathOf(name);
  const std::string head = absl::StrCat(kFirstWord, shard.piece_size_bytes(), "\n");
  struct stat state {};
  if (fstatat(domain.dir.get(), name.c_str(), &state, AT_SYMLINK_NOFOLLOW) == 0 &&
      static_cast<size_t>(state.st_size) == head.size() + shard.piece_count() * sizeof(Md5Digest)) {
    return absl::OkStatus();
  }
  std::vector<Md5Digest> pieces;
  pieces.reserve(shard.piece_count());
  for (size_t i = 0; i < shard.piece_count(); ++i) pieces.push_back(shard.piece_digest(i));
  const UniqueFd fd(openat(domain.dir.get(), name.c_str(),
                           O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                           0600));
  if (!fd.valid()) return PathError(errno, "write", path);
  return WriteAt(fd.get(), path, 0, head + PackPieces(pieces));
}

absl::StatusOr<CheckedShard> ShardOfEntry(const CacheDomain& domain, const std::string& key) {
  const std::vector<std::string> parts = absl::StrSplit(key, '-');
  PullShard shard;
  int64_t size = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[2], &size)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is not the key of an entry"));
  }
  shard.shard.set_name(key);
  shard.shard.set_size_bytes(static_cast<uint64_t>(size));
  if (parts[0] == "md5") {
    shard.shard.set_md5(parts[1]);
    return CheckedShard::Make(shard);
  }
  shard.shard.set_root(parts[1]);
  const std::string name = key + kPiecesSuffix;
  MUSTER_RETURN_IF_ERROR(ReadList(domain, name, shard));
  absl::StatusOr<CheckedShard> checked = CheckedShard::Make(shard);
  if (!checked.ok() || checked->ContentKey() != key) return NoList(domain.PathOf(name));
  return checked;
}

}  // namespace muster
