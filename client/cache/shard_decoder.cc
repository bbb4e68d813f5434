// Frames are decoded side by side and then hashed side by side: what one thread hashes at a time
// would not fill the lanes of its core (md5_lanes.h).
#include "client/cache/shard_decoder.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/hash/md5_lanes.h"
#include "client/hash/parallel.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/status_macros.h"
#include "storage/object/io_buffer.h"

namespace muster {
namespace {

// As many as the widest hardware hashes side by side.
constexpr int64_t kMaxFramesAtOnce = 16;

absl::StatusOr<CheckedShard> ContentOf(const CheckedShard& shard, const FrameDecoder& frames) {
  std::vector<Md5Digest> digests;
  digests.reserve(frames.frame_count());
  for (size_t i = 0; i < frames.frame_count(); ++i) digests.push_back(frames.frame(i).plain_md5);
  return CheckedShard::Decoded(shard.StoredKey(), shard.name(), shard.content_size_bytes(),
                               frames.frame_bytes(), std::move(digests));
}

}  // namespace

absl::StatusOr<ShardDecoder> ShardDecoder::Open(const CheckedShard& shard, ReadStored read,
                                                KeySource* keys, const std::stop_token& stop) {
  absl::StatusOr<FrameDecoder> frames =
      FrameDecoder::Open({.shard_name = shard.name(),
                          .encoding = shard.encoding(),
                          .stored_bytes = shard.size_bytes(),
                          .plain_bytes = shard.content_size_bytes(),
                          .stop = stop},
                         read, keys);
  if (!frames.ok()) return Annotate(frames.status(), shard.name());
  MUSTER_ASSIGN_OR_RETURN(CheckedShard content, ContentOf(shard, *frames));
  return ShardDecoder(*std::move(frames), std::move(content), std::move(read));
}

absl::Status ShardDecoder::Decode(PieceSink& sink, const std::stop_token& stop,
                                  MemoryBudget* memory_budget) const {
  std::vector<bool> present = sink.Present();
  present.resize(frames_.frame_count(), false);
  std::vector<size_t> missing;
  for (size_t i = 0; i < present.size(); ++i) {
    if (!present[i]) missing.push_back(i);
  }
  if (missing.empty()) return absl::OkStatus();
  const int64_t longest = frames_.FrameLength(missing.front());
  const auto at_once =
      static_cast<size_t>(std::clamp<int64_t>(kDecodeBytes / longest, 2, kMaxFramesAtOnce));
  size_t slots = std::min(at_once, missing.size());
  const auto slot_bytes = static_cast<size_t>(2 * longest + kSealTagBytes);
  const int64_t bytes_each = static_cast<int64_t>(slot_bytes) + frames_.scratch_bytes();
  std::optional<MemoryBudget::Share> share;
  if (memory_budget != nullptr) {
    const int64_t fit = memory_budget->size_bytes() / bytes_each;
    if (fit < 1) {
      return absl::ResourceExhaustedError(
          absl::StrCat(content_.name(), ": a frame takes ", bytes_each,
                       " bytes to decode, and the memory budget is ", memory_budget->size_bytes(),
                       "; raise it (--memory-budget)"));
    }
    slots = std::min(slots, static_cast<size_t>(fit));
    absl::StatusOr<MemoryBudget::Share> taken =
        memory_budget->Take(static_cast<int64_t>(slots) * bytes_each, stop);
    if (!taken.ok()) return Annotate(taken.status(), content_.name());
    share.emplace(*std::move(taken));
  }
  MUSTER_ASSIGN_OR_RETURN(const IoBuffer memory, MakeIoBuffer(slots * slot_bytes));
  for (absl::Span<const size_t> rest = missing; !rest.empty();) {
    const absl::Span<const size_t> batch = rest.first(std::min(slots, rest.size()));
    MUSTER_RETURN_IF_ERROR(
        DecodeSome(batch, absl::MakeSpan(memory.get(), slots * slot_bytes), sink, stop));
    rest.remove_prefix(batch.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::Span<char>> ShardDecoder::DecodeOne(size_t frame, absl::Span<char> memory,
                                                         PieceSink& sink) const {
  const auto length = static_cast<size_t>(frames_.FrameLength(frame));
  const absl::Span<char> stored =
      memory.subspan(length, static_cast<size_t>(frames_.frame(frame).stored_bytes));
  MUSTER_RETURN_IF_ERROR(read_(frames_.frame(frame).offset, stored));
  absl::Span<char> plain = sink.MemoryOf(frames_.FrameOffset(frame), frames_.FrameLength(frame));
  if (plain.empty()) plain = memory.first(length);
  MUSTER_RETURN_IF_ERROR(frames_.Decode(frame, stored, plain));
  return plain;
}

// `memory` has room for content and stored bytes of each frame.
absl::Status ShardDecoder::DecodeSome(absl::Span<const size_t> frames, absl::Span<char> memory,
                                      PieceSink& sink, const std::stop_token& stop) const {
  const size_t slot_bytes = memory.size() / frames.size();
  std::vector<absl::string_view> contents(frames.size());
  const absl::Status decoded =
      RunInParallel(frames.size(), ThreadsForCores(), stop,
                    [&](size_t i, const std::stop_token&) -> absl::Status {
                      MUSTER_ASSIGN_OR_RETURN(
                          const absl::Span<char> plain,
                          DecodeOne(frames[i], memory.subspan(i * slot_bytes, slot_bytes), sink));
                      contents[i] = absl::string_view(plain.data(), plain.size());
                      return absl::OkStatus();
                    });
  MUSTER_RETURN_IF_ERROR(decoded);
  std::vector<Md5Digest> found(frames.size());
  Md5Many(contents, absl::MakeSpan(found));
  for (size_t i = 0; i < frames.size(); ++i) {
    if (found[i] == frames_.frame(frames[i]).plain_md5) continue;
    return FrameCorrupt(content_.name(), frames[i], "its content has another MD5");
  }
  return RunInParallel(frames.size(), ThreadsForCores(), stop,
                       [&](size_t i, const std::stop_token&) {
                         const bool is_sinks = contents[i].data() != memory.data() + i * slot_bytes;
                         return is_sinks ? absl::OkStatus()
                                         : sink.Write(frames_.FrameOffset(frames[i]), contents[i]);
                       });
}

}  // namespace muster
