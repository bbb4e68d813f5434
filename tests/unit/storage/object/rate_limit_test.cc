#include "storage/object/rate_limit.h"

#include <functional>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace muster {
namespace {

double SecondsFor(FakeClock& clock, const std::function<void()>& what) {
  const absl::Duration begin = clock.Monotonic();
  what();
  return absl::ToDoubleSeconds(clock.Monotonic() - begin);
}

TEST(RateLimitTest, BytesPassAtTheRateHoweverTheyAreCut) {
  FakeClock clock;
  RateLimit limit(clock, 1000);

  EXPECT_NEAR(SecondsFor(clock, [&] { limit.Take(5000, {}); }), 5, 0.001);
  EXPECT_NEAR(SecondsFor(clock,
                         [&] {
                           for (int i = 0; i < 100; ++i) limit.Take(50, {});
                         }),
              5, 0.001);
}

TEST(RateLimitTest, IdleTimeIsNotSavedUpBeyondTheBurst) {
  FakeClock clock;
  RateLimit limit(clock, 1000);
  clock.Advance(absl::Hours(1));

  EXPECT_NEAR(SecondsFor(clock, [&] { limit.Take(1000, {}); }), 0.9, 0.001);
}

TEST(RateLimitTest, StopEndsAWait) {
  FakeClock clock;
  RateLimit limit(clock, 1);
  std::stop_source source;
  source.request_stop();

  EXPECT_FALSE(limit.Take(1'000'000, source.get_token()));
  EXPECT_EQ(clock.Monotonic(), absl::ZeroDuration());
}

TEST(RateLimitTest, SeveralReadersShareTheRate) {
  RateLimit limit(SystemClock(), 1'000'000);
  const absl::Duration begin = SystemClock().Monotonic();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) limit.Take(2'500, {});
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_GE(SystemClock().Monotonic() - begin, absl::Milliseconds(99));
}

}  // namespace
}  // namespace muster
