// The bytes of a shard before it is stored anywhere: its header, then ranges of the source files.
#ifndef MUSTER_CLIENT_CHECKPOINT_SHARD_STREAM_H_
#define MUSTER_CLIENT_CHECKPOINT_SHARD_STREAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "client/checkpoint/cut_plan.h"
#include "client/format/byte_source.h"

namespace muster {

// Keeps the source files open, and nothing else of the checkpoint. Thread-safe, so that pieces can
// be read in parallel.
class ShardStream {
 public:
  // A stream for `shard`, which was cut from `checkpoint`. kResourceExhausted as BuildShardHeader.
  static absl::StatusOr<ShardStream> Open(const Checkpoint& checkpoint, const ShardCut& shard);

  // All of `source`, which is a shard's bytes already.
  static ShardStream Of(std::shared_ptr<const ByteSource> source);

  int64_t size_bytes() const { return size_bytes_; }

  // Fills all of `out` with the shard's bytes from `offset`. kOutOfRange beyond the end; errors of
  // the sources.
  absl::Status Read(int64_t offset, absl::Span<char> out) const;

  // kAborted when one of the shard's source files changed since it was opened.
  absl::Status CheckUnchanged() const;

 private:
  // Bytes [begin_bytes, begin of the next segment) of the shard lie at `offset_bytes` of the
  // source.
  struct Segment {
    int64_t begin_bytes;
    int64_t offset_bytes;
    const ByteSource* source;
  };

  void Append(std::shared_ptr<const ByteSource> source, int64_t offset_bytes, int64_t size_bytes);

  std::vector<Segment> segments_;
  // Every source that a segment points to, once.
  absl::flat_hash_set<std::shared_ptr<const ByteSource>> sources_;
  int64_t size_bytes_ = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_SHARD_STREAM_H_
