#include "client/encoding/element_runs.h"

#include "client/encoding/byte_planes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/encoding/encoding_fixtures.h"

namespace muster {
namespace {

TEST(BytePlanesTest, FirstBytesComeFirst) {
  std::string planes(12, '\0');

  SplitPlanes(4, "abcdABCD0123", planes.data());

  EXPECT_EQ(planes, "aA0bB1cC2dD3");
}

// Counts around the widths of vectors, so that whole vectors and rests are met.
TEST(BytePlanesTest, JoinedPlanesAreTheElements) {
  const std::string bytes = Weights(8 * 300);
  for (const size_t width : {2, 4, 8}) {
    for (const size_t count : {0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 300}) {
      const absl::string_view elements = absl::string_view(bytes).substr(0, width * count);
      std::string planes(elements.size(), '\0');
      std::string joined(elements.size(), '\0');
      SplitPlanes(width, elements, planes.data());
      JoinPlanes(width, planes, joined.data());
      for (size_t i = 0; i < elements.size(); ++i) {
        ASSERT_EQ(planes[i % width * count + i / width], elements[i]);
      }
      ASSERT_EQ(joined, elements);
    }
  }
}

TEST(ElementRunsTest, GroupsWholeElementsAndCopiesTheRest) {
  const auto runs = ElementRuns::Make({{1, 3}, {2, 7}, {4, 8}});
  MUSTER_ASSERT_OK(runs);
  std::string grouped(18, '\0');

  runs->Group(0, "hdrAaBbCcXabcdABCD", grouped.data());

  // The run of 2-byte elements ends within one.
  EXPECT_EQ(grouped, "hdrABCabcXaAbBcCdD") << "this is a part of the stored format";
}

// Whatever range of the content a frame is, it comes back.
TEST(ElementRunsTest, EveryRangeComesBack) {
  const auto runs = ElementRuns::Make({{1, 5}, {8, 29}, {2, 1}, {4, 30}, {2, 64}, {1, 2}});
  MUSTER_ASSERT_OK(runs);
  const std::string content = Weights(runs->size_bytes());
  for (size_t begin = 0; begin < content.size(); ++begin) {
    for (size_t end = begin; end <= content.size(); ++end) {
      const absl::string_view range = absl::string_view(content).substr(begin, end - begin);
      std::string grouped(range.size(), '\0');
      std::string back(range.size(), '\0');
      runs->Group(static_cast<int64_t>(begin), range, grouped.data());
      runs->Ungroup(static_cast<int64_t>(begin), grouped, back.data());
      ASSERT_EQ(back, range) << begin << " to " << end;
    }
  }
}

TEST(ElementRunsTest, ImpossibleRunsAreRefused) {
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ElementRuns::Make({{3, 9}}), refused);
  EXPECT_THAT(ElementRuns::Make({{0, 9}}), refused);
  EXPECT_THAT(ElementRuns::Make({{1, 0}}), refused);
  EXPECT_THAT(ElementRuns::Make({{1, -1}}), refused);
  EXPECT_THAT(ElementRuns::Make({{1, INT64_MAX}, {1, 1}}), refused);
  EXPECT_THAT(ElementRuns::Make(std::vector<ElementRun>(ElementRuns::kMaxRuns + 1, {1, 1})),
              refused);
}

}  // namespace
}  // namespace muster
