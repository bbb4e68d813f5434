// Where a pull puts bytes.
#ifndef MUSTER_CLIENT_CACHE_PIECE_SINK_H_
#define MUSTER_CLIENT_CACHE_PIECE_SINK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/object/io_buffer.h"

namespace muster {

// The destination of one shard. It outlives the pull.
class PieceSink {
 public:
  virtual ~PieceSink() = default;

  // Takes `bytes` of the shard at `offset`; called from several threads at once, each range once.
  // Every range was verified before, unless HoldsBack() is true and the shard has no pieces.
  // kResourceExhausted: no room (reported as NO_SPACE); any error ends the pull.
  virtual absl::Status Write(int64_t offset, absl::string_view bytes) = 0;

  // Whether nobody sees what was written before the pull has returned OK. Shards without pieces are
  // pulled only into such a sink: their bytes are known to be right only at the end, and a range
  // may be written again.
  virtual bool HoldsBack() const = 0;

  // The sink's own memory for a piece, where it has such and nobody sees it before the pull has
  // returned OK: the piece is then read right into it, possibly more than once, and not given to
  // Write. Empty where pieces are written.
  virtual absl::Span<char> MemoryOf(int64_t /*offset*/, int64_t /*length*/) { return {}; }

  // The pieces that are there already, by index, and verified: they are neither fetched nor
  // written. Empty when there is none; does not change while the pull runs.
  virtual std::vector<bool> Present() const { return {}; }
};

// Memory that is given out after the pull only.
class MemorySink final : public PieceSink {
 public:
  // kResourceExhausted when there is not that much memory.
  static absl::StatusOr<std::unique_ptr<MemorySink>> Make(int64_t size_bytes);

  absl::Status Write(int64_t offset, absl::string_view bytes) override;
  bool HoldsBack() const override { return true; }
  absl::Span<char> MemoryOf(int64_t offset, int64_t length) override;

  int64_t size_bytes() const { return size_bytes_; }
  // Called once the pull has returned OK.
  IoBuffer Take() { return std::move(bytes_); }

 private:
  MemorySink(IoBuffer bytes, int64_t size_bytes)
      : bytes_(std::move(bytes)), size_bytes_(size_bytes) {}

  IoBuffer bytes_;
  const int64_t size_bytes_;
};

// A range of an open file: the shard's byte 0 goes to `base_offset`.
class FileRangeSink final : public PieceSink {
 public:
  struct Range {
    // Open for writing; stays the caller's.
    int fd = -1;
    // For messages.
    std::string path;
    int64_t base_offset = 0;
    // Set where the file is moved to its visible place only after the pull has returned OK.
    bool holds_back = false;
  };
  explicit FileRangeSink(Range range) : range_(std::move(range)) {}

  absl::Status Write(int64_t offset, absl::string_view bytes) override;
  bool HoldsBack() const override { return range_.holds_back; }

 private:
  const Range range_;
};

// Takes bytes and keeps none: a pull into it verifies a location.
class DiscardingSink final : public PieceSink {
 public:
  absl::Status Write(int64_t, absl::string_view) override { return absl::OkStatus(); }
  bool HoldsBack() const override { return true; }
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_PIECE_SINK_H_
