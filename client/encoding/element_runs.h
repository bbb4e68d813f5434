// Where in a shard's content elements of which width lie.
#ifndef MUSTER_CLIENT_ENCODING_ELEMENT_RUNS_H_
#define MUSTER_CLIENT_ENCODING_ELEMENT_RUNS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

// Bytes that follow one another and are elements of one width.
struct ElementRun {
  // 1, 2, 4 or 8; 1 for what is not grouped: headers, 8-bit types and narrower ones.
  uint32_t width = 1;
  // At least 1.
  int64_t size_bytes = 0;

  bool operator==(const ElementRun&) const = default;
};

// Runs that cover a content from its first byte to its last. A value; thread-safe for reading.
class ElementRuns {
 public:
  // More make a frame table that is too big for what it gains.
  static constexpr size_t kMaxRuns = 65'536;

  ElementRuns() = default;
  // kInvalidArgument for another width, an empty run, too many of them, or a sum beyond 2^63 - 1.
  static absl::StatusOr<ElementRuns> Make(std::vector<ElementRun> runs);

  absl::Span<const ElementRun> runs() const { return runs_; }
  // Of all runs.
  int64_t size_bytes() const { return ends_.empty() ? 0 : ends_.back(); }

  // Groups the bytes of a range that begins at `offset` of the content: each run's elements become
  // planes (byte_planes.h). Elements that the range cuts, and runs of width 1, stay as they are. The
  // range lies inside the content; `out` has as many bytes.
  void Group(int64_t offset, absl::string_view range, char* out) const;
  // The reverse, for the same range.
  void Ungroup(int64_t offset, absl::string_view grouped, char* out) const;

 private:
  template <typename Planes>
  void ForRange(int64_t offset, absl::string_view range, char* out, Planes planes) const;

  std::vector<ElementRun> runs_;
  // Of each run, its end in the content.
  std::vector<int64_t> ends_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_ELEMENT_RUNS_H_
