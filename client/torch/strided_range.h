// A tensor's bytes in a file where they may lie apart, in another order, or several times: torch's
// transposed, sliced and expanded tensors.
#ifndef MUSTER_CLIENT_TORCH_STRIDED_RANGE_H_
#define MUSTER_CLIENT_TORCH_STRIDED_RANGE_H_

#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/format/byte_source.h"
#include "client/format/dtype.h"

namespace muster {

// Where the elements of a tensor are in its storage, in elements.
struct StridedShape {
  int64_t offset = 0;
  TensorShape shape;
  // As many as the shape has.
  TensorShape strides;
};

// A value; thread-safe for reading.
class StridedRange {
 public:
  // Of the storage [`storage_begin_bytes`, +`storage_bytes`) of a file. kInvalidArgument, with the
  // values, when a stride or the offset is negative, an element is outside of the storage, or the
  // shape is impossible. `item_bytes` is 1, 2, 4, 8 or 16.
  static absl::StatusOr<StridedRange> Make(const StridedShape& strided, int64_t item_bytes,
                                           int64_t storage_begin_bytes, int64_t storage_bytes);

  // Of the tensor when its elements follow one another.
  int64_t size_bytes() const { return size_bytes_; }

  // Fills all of `out` with the tensor's bytes from `offset` on, as if its elements followed one
  // another; the two lie inside size_bytes(). Errors of `file`. Buffers at most 1 MiB.
  absl::Status Read(const ByteSource& file, int64_t offset, absl::Span<char> out) const;

 private:
  struct Dimension {
    // Elements, 2 or more.
    int64_t size;
    // From one to the next, in bytes of the file; 0 when they are the same.
    int64_t stride_bytes;
  };
  // A part of the tensor: of every dimension the elements from `begin` to `end`.
  struct Interval {
    int64_t begin;
    int64_t end;
  };
  using Box = absl::InlinedVector<Interval, 4>;

  void Coalesce(const StridedShape& strided);
  bool IsContiguous() const;
  absl::Status ReadElements(const ByteSource& file, int64_t begin, int64_t end, char* out) const;
  absl::Status ReadRun(const ByteSource& file, size_t dimension, Box& box, int64_t begin,
                       int64_t end, char*& out) const;
  absl::Status ReadBox(const ByteSource& file, const Box& box, char* out,
                       absl::Span<const int64_t> out_strides) const;
  absl::Status ReadDense(const ByteSource& file, const Box& box, int64_t begin_bytes,
                         int64_t span_bytes, char* out,
                         absl::Span<const int64_t> out_strides) const;

  // Neighbours that make one run are one dimension, and there are none of one element.
  std::vector<Dimension> dimensions_;
  int64_t item_bytes_ = 1;
  // Where the first element is in the file.
  int64_t begin_bytes_ = 0;
  int64_t size_bytes_ = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TORCH_STRIDED_RANGE_H_
