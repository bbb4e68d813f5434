#include "client/torch/strided_range.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

// Bytes of which any few differ from their neighbours.
std::string StorageBytes(int64_t size) {
  std::string bytes;
  for (int64_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(i * 7 + i / 256));
  return bytes;
}

// The elements one after another, by counting indices.
std::string Expected(const std::string& storage, const StridedShape& strided, int64_t item) {
  std::vector<int64_t> index(strided.shape.size(), 0);
  int64_t count = 1;
  for (const int64_t size : strided.shape) count *= size;
  std::string out;
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = strided.offset;
    for (size_t k = 0; k < index.size(); ++k) at += index[k] * strided.strides[k];
    out.append(storage, static_cast<size_t>(at * item), static_cast<size_t>(item));
    for (size_t k = index.size(); k-- > 0;) {
      if (++index[k] < strided.shape[k]) break;
      index[k] = 0;
    }
  }
  return out;
}

constexpr int64_t kBegin = 13;

std::string ReadPart(const ByteSource& file, const StridedRange& range, int64_t offset,
                     int64_t size) {
  std::string out(static_cast<size_t>(size), '\0');
  MUSTER_EXPECT_OK(range.Read(file, offset, absl::MakeSpan(out)));
  return out;
}

void ExpectReads(const StridedShape& strided, int64_t item, int64_t storage_elements) {
  const std::string storage = StorageBytes(storage_elements * item);
  const auto range =
      StridedRange::Make(strided, item, kBegin, static_cast<int64_t>(storage.size()));
  MUSTER_ASSERT_OK(range);
  const std::string expected = Expected(storage, strided, item);
  ASSERT_EQ(range->size_bytes(), static_cast<int64_t>(expected.size()));
  const auto file = NewMemoryByteSource("x.pt", std::string(kBegin, '?') + storage);
  EXPECT_EQ(ReadPart(*file, *range, 0, range->size_bytes()), expected);
  // Every part of it, in steps that divide nothing.
  const int64_t step = std::max<int64_t>(1, range->size_bytes() / 17);
  for (int64_t begin = 0; begin < range->size_bytes(); begin += step) {
    for (int64_t end = begin; end <= range->size_bytes(); end += step) {
      ASSERT_EQ(ReadPart(*file, *range, begin, end - begin),
                expected.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    }
  }
}

TEST(StridedRangeTest, EveryPartOfEveryShapeIsRead) {
  for (const int64_t item : {1, 2, 4, 8, 16}) {
    ExpectReads({2, {3, 5}, {5, 1}}, item, 17);        // as it lies
    ExpectReads({0, {5, 3}, {1, 5}}, item, 15);        // transposed
    ExpectReads({1, {4, 3}, {6, 2}}, item, 30);        // every other column
    ExpectReads({3, {7}, {4}}, item, 30);              // one column
    ExpectReads({1, {3, 4}, {0, 1}}, item, 6);         // expanded
    ExpectReads({0, {2, 3, 4}, {1, 8, 2}}, item, 24);  // permuted
    ExpectReads({0, {4, 3}, {1, 1}}, item, 8);         // windows that overlap
    ExpectReads({5, {1, 1}, {9, 100}}, item, 6);       // one element
    ExpectReads({0, {}, {}}, item, 1);                 // a scalar
    ExpectReads({2, {6}, {0}}, item, 3);               // one element repeated
    ExpectReads({0, {3, 0, 2}, {1, 50, 9}}, item, 2);  // nothing
  }
}

TEST(StridedRangeTest, SparseAndBigTensorsAreReadByParts) {
  ExpectReads({0, {40, 3}, {3'000, 1'000}}, 2, 120'000);
  ExpectReads({7, {500, 600}, {1, 500}}, 4, 300'007);
}

TEST(StridedRangeTest, AnyShapeReadsAsCountingIndicesDoes) {
  const auto random = NewSeededRandom(17);
  for (int round = 0; round < 200; ++round) {
    StridedShape strided;
    strided.offset = static_cast<int64_t>(random->Below(5));
    int64_t elements = strided.offset + 1;
    for (uint64_t i = random->Below(4); i-- > 0;) {
      strided.shape.push_back(1 + static_cast<int64_t>(random->Below(6)));
      strided.strides.push_back(static_cast<int64_t>(random->Below(30)));
      elements += (strided.shape.back() - 1) * strided.strides.back();
    }
    ExpectReads(strided, 1 + static_cast<int64_t>(random->Below(2)), elements);
  }
}

TEST(StridedRangeTest, ElementsMustLieInTheStorage) {
  const auto make = [](StridedShape strided) {
    return StridedRange::Make(strided, 4, kBegin, 40).status();
  };
  MUSTER_EXPECT_OK(make({0, {10}, {1}}));
  MUSTER_EXPECT_OK(make({9, {1, 1}, {50, 50}}));
  MUSTER_EXPECT_OK(make({10, {0}, {1}}));
  EXPECT_THAT(make({0, {11}, {1}}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(make({10, {1}, {1}}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(make({0, {4, 2}, {3, 1}}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(make({0, {2}, {-1}}), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace muster
