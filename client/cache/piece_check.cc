#include "client/cache/piece_check.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/hash/md5_lanes.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/posix_file.h"
#include "storage/object/io_buffer.h"

namespace muster {
namespace {

// As many as the widest hardware hashes side by side.
constexpr size_t kMaxPiecesAtOnce = 16;
// Read at once where the file is one serial MD5.
constexpr int64_t kChunkBytes = int64_t{1} << 20;

absl::Status Corrupt(const std::string& path, absl::string_view what, const Md5Digest& expected,
                     const Md5Digest& found) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kCacheEntryCorrupt,
                   absl::StrCat(path, ": ", what, " has MD5 ", Md5ToHex(found), ", expected ",
                                Md5ToHex(expected), "; the cache entry was removed"),
                   {{"expected_md5", Md5ToHex(expected)}, {"found_md5", Md5ToHex(found)}});
}

absl::Status Read(const CheckedFile& file, int64_t offset, absl::Span<char> out) {
  return file.read ? file.read(offset, out) : ReadAt(file.fd, file.path, offset, out);
}

absl::Status CheckWhole(const CheckedShard& shard, const CheckedFile& file,
                        const std::stop_token& stop) {
  Md5Stream stream;
  const int64_t chunk = std::min(shard.size_bytes(), kChunkBytes);
  MUSTER_ASSIGN_OR_RETURN(const IoBuffer buffer, MakeIoBuffer(static_cast<size_t>(chunk)));
  for (int64_t done = 0; done < shard.size_bytes();) {
    if (stop.stop_requested()) return absl::CancelledError(absl::StrCat(file.path, ": cancelled"));
    const auto count = static_cast<size_t>(std::min(chunk, shard.size_bytes() - done));
    MUSTER_RETURN_IF_ERROR(Read(file, done, absl::MakeSpan(buffer.get(), count)));
    stream.Update(absl::string_view(buffer.get(), count));
    done += static_cast<int64_t>(count);
  }
  const Md5Digest found = stream.Finish();
  if (found == *shard.whole_md5()) return absl::OkStatus();
  return Corrupt(file.path, "the file", *shard.whole_md5(), found);
}

}  // namespace

absl::Status HashPieces(
    const CheckedShard& shard, const CheckedFile& file, absl::Span<const size_t> pieces,
    const std::stop_token& stop,
    absl::FunctionRef<absl::Status(size_t piece, const Md5Digest& found)> on_piece) {
  if (pieces.empty()) return absl::OkStatus();
  const int64_t longest = std::min(shard.piece_size_bytes(), shard.size_bytes());
  const size_t at_once = std::min(
      std::clamp<size_t>(static_cast<size_t>(kPieceCheckBytes / longest), 1, kMaxPiecesAtOnce),
      pieces.size());
  const auto slot_bytes = static_cast<size_t>(longest);
  MUSTER_ASSIGN_OR_RETURN(const IoBuffer buffer, MakeIoBuffer(at_once * slot_bytes));
  std::vector<absl::string_view> bytes;
  std::vector<Md5Digest> digests(at_once);
  while (!pieces.empty()) {
    const absl::Span<const size_t> batch = pieces.first(std::min(at_once, pieces.size()));
    bytes.clear();
    for (const size_t piece : batch) {
      if (stop.stop_requested()) {
        return absl::CancelledError(absl::StrCat(file.path, ": cancelled"));
      }
      char* const slot = buffer.get() + bytes.size() * slot_bytes;
      const auto length = static_cast<size_t>(shard.PieceLength(piece));
      MUSTER_RETURN_IF_ERROR(Read(file, shard.PieceOffset(piece), absl::MakeSpan(slot, length)));
      bytes.emplace_back(slot, length);
    }
    Md5Many(bytes, absl::MakeSpan(digests).first(bytes.size()));
    for (size_t i = 0; i < batch.size(); ++i) {
      MUSTER_RETURN_IF_ERROR(on_piece(batch[i], digests[i]));
    }
    pieces.remove_prefix(batch.size());
  }
  return absl::OkStatus();
}

absl::Status CheckFileSize(const CheckedShard& shard, const std::string& path,
                           int64_t found_bytes) {
  if (found_bytes == shard.size_bytes()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, reasons::kCacheEntryCorrupt,
                   absl::StrCat(path, ": has ", found_bytes, " bytes, expected ",
                                shard.size_bytes(), "; the cache entry was removed"));
}

absl::Status CheckFile(const CheckedShard& shard, const CheckedFile& file,
                       const std::stop_token& stop) {
  if (!shard.has_pieces()) return CheckWhole(shard, file, stop);
  std::vector<size_t> all(shard.piece_count());
  std::iota(all.begin(), all.end(), size_t{0});
  return HashPieces(shard, file, all, stop, [&](size_t piece, const Md5Digest& found) {
    const Md5Digest& expected = shard.piece_digest(piece);
    if (found == expected) return absl::OkStatus();
    return Corrupt(file.path, absl::StrCat("piece ", piece), expected, found);
  });
}

}  // namespace muster
