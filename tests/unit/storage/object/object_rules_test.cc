#include "storage/object/object_rules.h"

#include <limits>

#include "tests/support/status_matchers.h"

namespace muster {
namespace {

constexpr int64_t kPart = int64_t{1} << 20;

TEST(WriteTrackerTest, HugeAnnouncedSizeTakesNoMemory) {
  const int64_t size = std::numeric_limits<int64_t>::max();
  WriteTracker tracker("uri", {.size_bytes = size, .part_size_bytes = kPart});

  MUSTER_EXPECT_OK(tracker.Begin(size / kPart * kPart, static_cast<size_t>(size % kPart)));
  EXPECT_THAT(tracker.Begin(0, std::numeric_limits<size_t>::max()),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(WriteTrackerTest, FailedRangeMayBeWrittenAgain) {
  WriteTracker tracker("uri", {.size_bytes = kPart, .part_size_bytes = kPart});
  MUSTER_ASSERT_OK(tracker.Begin(0, kPart));

  tracker.Finish(0, kPart, /*stored=*/false);

  EXPECT_THAT(tracker.Close(), StatusIs(absl::StatusCode::kFailedPrecondition));
  MUSTER_EXPECT_OK(tracker.Begin(0, kPart));
  tracker.Finish(0, kPart, /*stored=*/true);
  MUSTER_EXPECT_OK(tracker.Close());
}

TEST(WriteTrackerTest, RangeBeingWrittenBlocksOverlapsAndTheEnd) {
  WriteTracker tracker("uri", {.size_bytes = 4 * kPart, .part_size_bytes = kPart});
  MUSTER_ASSERT_OK(tracker.Begin(kPart, 2 * kPart));

  EXPECT_THAT(tracker.Begin(2 * kPart, kPart), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(tracker.Begin(0, 2 * kPart), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(tracker.Begin(0, 4 * kPart), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(tracker.Close(), StatusIs(absl::StatusCode::kFailedPrecondition));
  MUSTER_EXPECT_OK(tracker.Begin(0, kPart));
  MUSTER_EXPECT_OK(tracker.Begin(3 * kPart, kPart));
}

TEST(WriteTrackerTest, NeighboursMergeInEveryOrder) {
  constexpr int kOrders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const auto& order : kOrders) {
    WriteTracker tracker("uri", {.size_bytes = 3 * kPart, .part_size_bytes = kPart});
    for (const int part : order) {
      MUSTER_ASSERT_OK(tracker.Begin(part * kPart, kPart));
      tracker.Finish(part * kPart, kPart, /*stored=*/true);
    }
    for (int part = 0; part < 3; ++part) {
      EXPECT_THAT(tracker.Begin(part * kPart, kPart), StatusIs(absl::StatusCode::kInvalidArgument));
    }
    MUSTER_EXPECT_OK(tracker.Close());
    EXPECT_THAT(tracker.Close(), StatusIs(absl::StatusCode::kFailedPrecondition));
  }
}

}  // namespace
}  // namespace muster
