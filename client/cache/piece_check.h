// Compares a file on disk with what a shard's bytes must be.
#ifndef MUSTER_CLIENT_CACHE_PIECE_CHECK_H_
#define MUSTER_CLIENT_CACHE_PIECE_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cache/checked_shard.h"
#include "storage/base/md5.h"

namespace muster {

// An open file that is to hold a shard's bytes from its first byte on.
struct CheckedFile {
  int fd = -1;
  // For messages.
  std::string path;
  // Reads ranges in another way than from `fd`; may be empty.
  std::function<absl::Status(int64_t offset, absl::Span<char> out)> read = {};
};

// Hashes `pieces` of the file, several at a time so that they can be hashed side by side, and calls
// `on_piece` for each in their order. Memory: kPieceCheckBytes, or one piece where that is more.
// Ends with the first error of `on_piece`; kCancelled; kOutOfRange when the file is too short.
inline constexpr int64_t kPieceCheckBytes = int64_t{64} << 20;
absl::Status HashPieces(
    const CheckedShard& shard, const CheckedFile& file, absl::Span<const size_t> pieces,
    const std::stop_token& stop,
    absl::FunctionRef<absl::Status(size_t piece, const Md5Digest& found)> on_piece);

// OK when a file of `found_bytes` may hold the shard. kDataLoss CACHE_ENTRY_CORRUPT.
absl::Status CheckFileSize(const CheckedShard& shard, const std::string& path, int64_t found_bytes);

// OK when the file holds the shard. kDataLoss CACHE_ENTRY_CORRUPT for other bytes, with the digests
// as ErrorDetail metadata expected_md5 and found_md5.
absl::Status CheckFile(const CheckedShard& shard, const CheckedFile& file,
                       const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_PIECE_CHECK_H_
