#include "storage/base/backoff.h"

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace muster {
namespace {

TEST(BackoffTest, StepsGrowToTheMaximumWithinTheirJitter) {
  const auto random = NewSeededRandom(1);
  Backoff backoff(*random, {absl::Seconds(1), absl::Seconds(5), 2.0});

  for (const absl::Duration step :
       {absl::Seconds(1), absl::Seconds(2), absl::Seconds(4), absl::Seconds(5), absl::Seconds(5)}) {
    const absl::Duration wait = backoff.Next();
    EXPECT_GE(wait, step / 2);
    EXPECT_LE(wait, step);
  }
}

TEST(BackoffTest, ResetBeginsAgainAtTheSmallestStep) {
  const auto random = NewSeededRandom(1);
  Backoff backoff(*random, {absl::Seconds(1), absl::Seconds(64), 2.0});
  for (int i = 0; i < 6; ++i) backoff.Next();

  backoff.Reset();

  EXPECT_LE(backoff.Next(), absl::Seconds(1));
}

TEST(SleepUnlessStoppedTest, SleepsTheWholeDuration) {
  FakeClock clock;

  EXPECT_TRUE(SleepUnlessStopped(clock, absl::Seconds(3), std::stop_token()));

  EXPECT_EQ(clock.Monotonic(), absl::Seconds(3));
}

TEST(SleepUnlessStoppedTest, RequestedStopEndsItAtOnce) {
  FakeClock clock;
  std::stop_source stop;
  stop.request_stop();

  EXPECT_FALSE(SleepUnlessStopped(clock, absl::Seconds(3), stop.get_token()));

  EXPECT_EQ(clock.Monotonic(), absl::ZeroDuration());
}

}  // namespace
}  // namespace muster
