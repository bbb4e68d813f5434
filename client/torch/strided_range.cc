// How any part of a tensor is read:
//
// 1. The part is a run of the tensor's elements; it falls into boxes, each of which has an interval
//    of every dimension.
// 2. A box whose elements lie closely together in the file is read at once and sorted in memory.
// 3. Any other box is halved along the dimension whose elements lie farthest apart, until its halves
//    are close or single elements. So a piece of a transposed matrix is read by runs as long as the
//    piece has rows.
#include "client/torch/strided_range.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// What is read at once, and how many bytes may be read for one that is wanted.
constexpr int64_t kMaxSpanBytes = int64_t{1} << 20;
constexpr int64_t kMaxWaste = 8;

absl::Status Outside(const StridedShape& strided, int64_t item_bytes, int64_t storage_bytes) {
  return absl::InvalidArgumentError(absl::StrCat(
      "shape ", ShapeToString(strided.shape), " with strides ", ShapeToString(strided.strides),
      " from element ", strided.offset, " does not lie in its storage of ", storage_bytes,
      " bytes with ", item_bytes, " bytes an element"));
}

// The elements from the first to the last one, both included; nullopt when there is an overflow or
// a negative value.
std::optional<int64_t> SpanOf(const StridedShape& strided) {
  int64_t span = 1;
  for (size_t i = 0; i < strided.shape.size(); ++i) {
    int64_t reach = 0;
    if (strided.strides[i] < 0 ||
        __builtin_mul_overflow(strided.shape[i] - 1, strided.strides[i], &reach) ||
        __builtin_add_overflow(span, reach, &span)) {
      return std::nullopt;
    }
  }
  return span;
}

// Elements that lie equally far from one another, in bytes.
struct Row {
  int64_t size;
  int64_t item;
  int64_t from_stride;
  int64_t to_stride;
};

// With the size known to the compiler an element is copied by one move.
template <size_t kItem>
void CopyItems(const Row& row, const char* from, char* to) {
  for (int64_t i = 0; i < row.size; ++i) {
    std::memcpy(to + i * row.to_stride, from + i * row.from_stride, kItem);
  }
}

void CopyRow(const Row& row, const char* from, char* to) {
  if (row.from_stride == row.item && row.to_stride == row.item) {
    std::memcpy(to, from, static_cast<size_t>(row.size * row.item));
    return;
  }
  switch (row.item) {
    case 1:
      return CopyItems<1>(row, from, to);
    case 2:
      return CopyItems<2>(row, from, to);
    case 4:
      return CopyItems<4>(row, from, to);
    case 8:
      return CopyItems<8>(row, from, to);
    default:
      return CopyItems<16>(row, from, to);
  }
}

// All elements of a box, one row for each of its dimensions. The longest rows are copied at once, in
// whatever order that is.
void CopyElements(absl::Span<Row> rows, const char* from, char* to) {
  const auto longest = std::max_element(rows.begin(), rows.end(),
                                        [](const Row& a, const Row& b) { return a.size < b.size; });
  std::swap(*longest, rows.back());
  const size_t last = rows.size() - 1;
  absl::InlinedVector<int64_t, 4> index(last, 0);
  while (true) {
    CopyRow(rows[last], from, to);
    size_t i = 0;
    for (; i < last; ++i) {
      from += rows[i].from_stride;
      to += rows[i].to_stride;
      if (++index[i] < rows[i].size) break;
      from -= rows[i].size * rows[i].from_stride;
      to -= rows[i].size * rows[i].to_stride;
      index[i] = 0;
    }
    if (i == last) return;
  }
}

}  // namespace

absl::StatusOr<StridedRange> StridedRange::Make(const StridedShape& strided, int64_t item_bytes,
                                                int64_t storage_begin_bytes,
                                                int64_t storage_bytes) {
  MUSTER_ASSIGN_OR_RETURN(const int64_t count, ElementCount(strided.shape));
  StridedRange range;
  range.item_bytes_ = item_bytes;
  range.begin_bytes_ = storage_begin_bytes;
  if (strided.offset < 0 || __builtin_mul_overflow(count, item_bytes, &range.size_bytes_)) {
    return Outside(strided, item_bytes, storage_bytes);
  }
  if (count == 0) return range;
  const std::optional<int64_t> span = SpanOf(strided);
  const int64_t elements = storage_bytes / item_bytes;
  if (!span.has_value() || strided.offset > elements || *span > elements - strided.offset) {
    return Outside(strided, item_bytes, storage_bytes);
  }
  range.begin_bytes_ += strided.offset * item_bytes;
  range.Coalesce(strided);
  return range;
}

void StridedRange::Coalesce(const StridedShape& strided) {
  for (size_t i = 0; i < strided.shape.size(); ++i) {
    if (strided.shape[i] == 1) continue;
    const Dimension next{strided.shape[i], strided.strides[i] * item_bytes_};
    // All of it lies in the storage, so that the product can't overflow.
    if (!dimensions_.empty() && dimensions_.back().stride_bytes == next.size * next.stride_bytes) {
      dimensions_.back() = {dimensions_.back().size * next.size, next.stride_bytes};
    } else {
      dimensions_.push_back(next);
    }
  }
}

bool StridedRange::IsContiguous() const {
  return dimensions_.empty() ||
         (dimensions_.size() == 1 && dimensions_.front().stride_bytes == item_bytes_);
}

absl::Status StridedRange::Read(const ByteSource& file, int64_t offset,
                                absl::Span<char> out) const {
  if (IsContiguous()) return file.Read(begin_bytes_ + offset, out);
  // A part may begin and end within an element.
  int64_t element = offset / item_bytes_;
  if (const int64_t skipped = offset % item_bytes_; skipped != 0) {
    char whole[16];
    MUSTER_RETURN_IF_ERROR(ReadElements(file, element, element + 1, whole));
    const auto size = std::min(out.size(), static_cast<size_t>(item_bytes_ - skipped));
    std::copy_n(whole + skipped, size, out.data());
    out.remove_prefix(size);
    ++element;
  }
  const auto count = static_cast<int64_t>(out.size()) / item_bytes_;
  if (count > 0) MUSTER_RETURN_IF_ERROR(ReadElements(file, element, element + count, out.data()));
  out.remove_prefix(static_cast<size_t>(count * item_bytes_));
  if (out.empty()) return absl::OkStatus();
  char whole[16];
  MUSTER_RETURN_IF_ERROR(ReadElements(file, element + count, element + count + 1, whole));
  std::copy_n(whole, out.size(), out.data());
  return absl::OkStatus();
}

absl::Status StridedRange::ReadElements(const ByteSource& file, int64_t begin, int64_t end,
                                        char* out) const {
  Box box;
  for (const Dimension& dimension : dimensions_) box.push_back({0, dimension.size});
  return ReadRun(file, 0, box, begin, end, out);
}

// The elements [begin, end) of what the dimensions from `dimension` on make, where the box says one
// index for each of those before it. Moves `out` behind them.
absl::Status StridedRange::ReadRun(const ByteSource& file, size_t dimension, Box& box,
                                   int64_t begin, int64_t end, char*& out) const {
  if (begin == end) return absl::OkStatus();
  int64_t inner = 1;
  for (size_t i = dimension + 1; i < dimensions_.size(); ++i) inner *= dimensions_[i].size;
  const auto within = [&](int64_t index, int64_t from, int64_t to) {
    box[dimension] = {index, index + 1};
    const absl::Status status = ReadRun(file, dimension + 1, box, from, to, out);
    for (size_t i = dimension; i < dimensions_.size(); ++i) box[i] = {0, dimensions_[i].size};
    return status;
  };
  const int64_t first = begin / inner;
  if (begin % inner != 0) {
    const int64_t stop = std::min(end - first * inner, inner);
    MUSTER_RETURN_IF_ERROR(within(first, begin % inner, stop));
    begin = first * inner + stop;
    if (begin == end) return absl::OkStatus();
  }
  if (const int64_t whole = end / inner - begin / inner; whole > 0) {
    box[dimension] = {begin / inner, begin / inner + whole};
    absl::InlinedVector<int64_t, 4> strides(dimensions_.size());
    int64_t stride = item_bytes_;
    for (size_t i = dimensions_.size(); i-- > 0;) {
      strides[i] = stride;
      stride *= box[i].end - box[i].begin;
    }
    MUSTER_RETURN_IF_ERROR(ReadBox(file, box, out, strides));
    out += whole * inner * item_bytes_;
    begin += whole * inner;
    box[dimension] = {0, dimensions_[dimension].size};
  }
  return begin == end ? absl::OkStatus() : within(begin / inner, 0, end - begin);
}

absl::Status StridedRange::ReadBox(const ByteSource& file, const Box& box, char* out,
                                   absl::Span<const int64_t> out_strides) const {
  int64_t begin_bytes = begin_bytes_;
  int64_t span_bytes = item_bytes_;
  int64_t wanted_bytes = item_bytes_;
  size_t widest = 0;
  int64_t widest_bytes = 0;
  for (size_t i = 0; i < box.size(); ++i) {
    const int64_t size = box[i].end - box[i].begin;
    const int64_t stride = dimensions_[i].stride_bytes;
    begin_bytes += box[i].begin * stride;
    span_bytes += (size - 1) * stride;
    wanted_bytes *= size;
    if (size > 1 && stride > widest_bytes) {
      widest = i;
      widest_bytes = stride;
    }
  }
  if (widest_bytes == 0 ||
      (span_bytes <= kMaxSpanBytes && span_bytes / kMaxWaste <= wanted_bytes)) {
    return ReadDense(file, box, begin_bytes, span_bytes, out, out_strides);
  }
  Box half = box;
  const int64_t middle = box[widest].begin + (box[widest].end - box[widest].begin) / 2;
  half[widest].end = middle;
  MUSTER_RETURN_IF_ERROR(ReadBox(file, half, out, out_strides));
  half[widest] = {middle, box[widest].end};
  return ReadBox(file, half, out + (middle - box[widest].begin) * out_strides[widest], out_strides);
}

// Reads the span at once; its elements go where `out_strides` say.
absl::Status StridedRange::ReadDense(const ByteSource& file, const Box& box, int64_t begin_bytes,
                                     int64_t span_bytes, char* out,
                                     absl::Span<const int64_t> out_strides) const {
  const auto buffer = std::make_unique_for_overwrite<char[]>(static_cast<size_t>(span_bytes));
  MUSTER_RETURN_IF_ERROR(
      file.Read(begin_bytes, absl::MakeSpan(buffer.get(), static_cast<size_t>(span_bytes))));
  absl::InlinedVector<Row, 4> rows;
  for (size_t i = 0; i < box.size(); ++i) {
    rows.push_back(
        {box[i].end - box[i].begin, item_bytes_, dimensions_[i].stride_bytes, out_strides[i]});
  }
  CopyElements(absl::MakeSpan(rows), buffer.get(), out);
  return absl::OkStatus();
}

}  // namespace muster
