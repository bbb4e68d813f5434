#include "client/checkpoint/shard_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace muster {

absl::StatusOr<ShardStream> ShardStream::Open(const Checkpoint& checkpoint, const ShardCut& shard) {
  ShardStream stream;
  if (shard.range.has_value()) {
    stream.Append(checkpoint.files[shard.range->file].bytes, shard.range->offset_bytes,
                  shard.range->size_bytes);
    return stream;
  }
  MUSTER_ASSIGN_OR_RETURN(
      std::string header,
      BuildShardHeader(shard, checkpoint.tensors, checkpoint.components[shard.component].metadata));
  const auto header_size = static_cast<int64_t>(header.size());
  stream.Append(NewMemoryByteSource("shard header", std::move(header)), 0, header_size);
  for (const uint32_t i : shard.tensors) {
    const SourceTensor& tensor = checkpoint.tensors[i];
    stream.Append(checkpoint.files[tensor.file].content, tensor.offset_bytes, tensor.size_bytes);
  }
  return stream;
}

ShardStream ShardStream::Of(std::shared_ptr<const ByteSource> source) {
  ShardStream stream;
  const int64_t size = source->size_bytes();
  stream.Append(std::move(source), 0, size);
  return stream;
}

void ShardStream::Append(std::shared_ptr<const ByteSource> source, int64_t offset_bytes,
                         int64_t size_bytes) {
  if (size_bytes == 0) return;
  // Neighbours in the source become one segment, and so one read.
  if (!segments_.empty()) {
    const Segment& last = segments_.back();
    const int64_t last_size = size_bytes_ - last.begin_bytes;
    if (last.source == source.get() && last.offset_bytes + last_size == offset_bytes) {
      size_bytes_ += size_bytes;
      return;
    }
  }
  segments_.push_back({size_bytes_, offset_bytes, source.get()});
  size_bytes_ += size_bytes;
  sources_.insert(std::move(source));
}

absl::Status ShardStream::Read(int64_t offset, absl::Span<char> out) const {
  if (offset < 0 || offset > size_bytes_ ||
      static_cast<int64_t>(out.size()) > size_bytes_ - offset) {
    return absl::OutOfRangeError(absl::StrCat(out.size(), " bytes at offset ", offset,
                                              " are not inside the shard's ", size_bytes_,
                                              " bytes"));
  }
  auto next = std::upper_bound(
      segments_.begin(), segments_.end(), offset,
      [](int64_t wanted, const Segment& segment) { return wanted < segment.begin_bytes; });
  while (!out.empty()) {
    const Segment& segment = *std::prev(next);
    const int64_t end = next == segments_.end() ? size_bytes_ : next->begin_bytes;
    const auto size = std::min(out.size(), static_cast<size_t>(end - offset));
    MUSTER_RETURN_IF_ERROR(segment.source->Read(
        segment.offset_bytes + (offset - segment.begin_bytes), out.subspan(0, size)));
    offset += static_cast<int64_t>(size);
    out.remove_prefix(size);
    if (next != segments_.end()) ++next;
  }
  return absl::OkStatus();
}

absl::Status ShardStream::CheckUnchanged() const {
  for (const auto& source : sources_) MUSTER_RETURN_IF_ERROR(source->CheckUnchanged());
  return absl::OkStatus();
}

}  // namespace muster
