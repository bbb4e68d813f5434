// What lies where in a stored object that encodes a shard.
//
// Stored object: the frames, the frame table, the trailer. All numbers are little-endian.
//
//     frame     a range of the content, encoded; its stored bytes, and a tag of 16 bytes where the
//               object is encrypted. As many bytes before the tag as the range has: it is stored as
//               it is
//     table     for each frame: u64 offset, u32 stored bytes, u32 plain bytes, MD5 of the plain
//               bytes; then for each run of elements (zstd-grouped only): u64 bytes, u32 width, u32
//               0. Encrypted like a frame, with its tag, where the frames are
//     trailer   168 bytes; see PackTrailer
//
// Everything is checked: whoever has a Trailer or a FrameTable from the functions below may rely on
// the rules that they name.
#ifndef MUSTER_CLIENT_ENCODING_FRAME_TABLE_H_
#define MUSTER_CLIENT_ENCODING_FRAME_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/encoding/element_runs.h"
#include "client/encoding/encoding_name.h"
#include "storage/base/md5.h"

namespace muster {

// Content per frame, as it is written. A multiple of every element's width, and tensors begin at
// multiples of 4,096 in shards that Muster makes, so that frames end between elements there.
inline constexpr int64_t kFrameBytes = int64_t{8} << 20;
// What readers take: a power of two.
inline constexpr int64_t kMinFrameBytes = 4'096;
inline constexpr int64_t kMaxFrameBytes = int64_t{64} << 20;
inline constexpr size_t kMaxFrames = 100'000;
// Behind each encrypted frame.
inline constexpr int64_t kSealTagBytes = 16;
inline constexpr int64_t kTrailerBytes = 168;
inline constexpr uint32_t kFrameFormatVersion = 1;

using Salt = std::array<uint8_t, 32>;
using KeyCheck = std::array<uint8_t, 16>;

// By which anybody who has a master key sees whether it is an object's, and nothing else.
struct KeyProof {
  Salt salt{};
  KeyCheck check{};
};

struct Trailer {
  Encoding encoding;
  // Of the content, at least 1.
  int64_t plain_bytes = 0;
  // Of each frame's plain bytes, except the last, which has the rest.
  int64_t frame_bytes = kFrameBytes;
  size_t run_count = 0;
  int64_t table_offset = 0;
  // Of encrypted objects; zeros and "" otherwise.
  Salt salt{};
  KeyCheck key_check{};
  std::string key_id;

  size_t frame_count() const;
  int64_t FrameOffset(size_t frame) const;
  int64_t FrameLength(size_t frame) const;
  // Of the table before it is encrypted, and as it is stored.
  int64_t table_plain_bytes() const;
  int64_t table_stored_bytes() const;
  // What a frame's stored bytes have beyond its codec's.
  int64_t seal_bytes() const { return encoding.encrypted ? kSealTagBytes : 0; }
};

// 168 bytes: u64 table offset, u64 table's stored bytes, u64 plain bytes, u32 frames, u32 plain bytes
// of a frame, u32 runs, u8 codec, u8 1 if encrypted, u16 0, 32 bytes of salt, 16 of key check, 64 of
// key id with zeros behind it, u32 format version, u32 168, "MUSTERFR".
std::string PackTrailer(const Trailer& trailer);

// The last kTrailerBytes of an object of `object_bytes`. kDataLoss FRAME_TABLE_BROKEN unless every
// field fits the others and the object's size; kUnimplemented for a later format.
absl::StatusOr<Trailer> ParseTrailer(absl::string_view bytes, int64_t object_bytes);

// One frame of the object.
struct Frame {
  int64_t offset = 0;
  int64_t stored_bytes = 0;
  Md5Digest plain_md5{};
};

struct FrameTable {
  // Without gaps, from 0 to the table; none is longer than its plain bytes and a tag.
  std::vector<Frame> frames;
  // Of zstd-grouped: of all of the content. Empty otherwise.
  ElementRuns runs;
};

std::string PackTable(const Trailer& trailer, const FrameTable& table);

// `bytes` are not encrypted (any more). kDataLoss FRAME_TABLE_BROKEN.
absl::StatusOr<FrameTable> ParseTable(absl::string_view bytes, const Trailer& trailer);

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_FRAME_TABLE_H_
