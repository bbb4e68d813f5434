#include "client/transfer/step_race.h"

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace muster {
namespace {

constexpr int64_t kBytes = 1000;

class StepRaceTest : public testing::Test {
 protected:
  // A step that was read in the given time.
  void Read(size_t step, absl::Duration time, int64_t bytes = kBytes) {
    race_.Begin(step, {});
    race_.ReadFrom(step, 0, bytes);
    clock_.Advance(time);
    race_.ReadDone(step);
    EXPECT_TRUE(race_.Win(step, false));
    race_.End(step);
  }
  std::vector<size_t> Slow() {
    std::vector<size_t> steps;
    for (const StepRace::Slow& slow : race_.FindSlow()) steps.push_back(slow.step);
    return steps;
  }

  FakeClock clock_;
  StepRace race_{clock_, {}};
};

TEST_F(StepRaceTest, StepIsSlowBeyondThreeTimesTheMedianOfItsPeers) {
  for (size_t step = 0; step < 5; ++step) Read(step, absl::Seconds(1));
  Read(5, absl::Seconds(60));
  race_.Begin(6, {});
  race_.ReadFrom(6, 2, kBytes);

  clock_.Advance(absl::Milliseconds(2999));
  EXPECT_THAT(Slow(), testing::IsEmpty());
  clock_.Advance(absl::Milliseconds(2));

  EXPECT_THAT(Slow(), testing::ElementsAre(6));
  EXPECT_EQ(race_.FindSlow()[0].location, 2u);
  EXPECT_EQ(race_.FindSlow()[0].bytes, kBytes);
}

TEST_F(StepRaceTest, TimesAreComparedPerByte) {
  for (size_t step = 0; step < 5; ++step) Read(step, absl::Seconds(1), 10 * kBytes);
  race_.Begin(6, {});
  race_.ReadFrom(6, 0, kBytes);

  clock_.Advance(absl::Milliseconds(301));

  EXPECT_THAT(Slow(), testing::ElementsAre(6));
}

TEST_F(StepRaceTest, FastPeersDoNotMakeAHiccupSlow) {
  for (size_t step = 0; step < 5; ++step) Read(step, absl::Microseconds(10));
  race_.Begin(6, {});
  race_.ReadFrom(6, 0, kBytes);

  clock_.Advance(absl::Milliseconds(199));
  EXPECT_THAT(Slow(), testing::IsEmpty());
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_THAT(Slow(), testing::ElementsAre(6));
}

TEST_F(StepRaceTest, PieceThatIsBeingHashedIsNotSlow) {
  race_.Begin(0, {});
  race_.ReadFrom(0, 0, kBytes);
  race_.ReadDone(0);

  clock_.Advance(absl::Hours(1));

  EXPECT_THAT(Slow(), testing::IsEmpty());
}

TEST_F(StepRaceTest, WithoutPeersAFixedTimeCounts) {
  race_.Begin(0, {});
  EXPECT_THAT(Slow(), testing::IsEmpty()) << "not read yet";
  race_.ReadFrom(0, 0, kBytes);

  clock_.Advance(absl::Milliseconds(2999));
  EXPECT_THAT(Slow(), testing::IsEmpty());
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_THAT(Slow(), testing::ElementsAre(0));
}

TEST_F(StepRaceTest, SecondReaderThatWinsStopsTheFirst) {
  const std::stop_token first = race_.Begin(0, {});
  race_.ReadFrom(0, 0, kBytes);
  const auto second = race_.BeginSecond(0, {});
  ASSERT_TRUE(second.has_value());

  EXPECT_TRUE(race_.Win(0, true));

  EXPECT_TRUE(first.stop_requested());
  EXPECT_FALSE(second->stop_requested());
  EXPECT_FALSE(race_.Win(0, false)) << "only one hands on what it read";
  race_.End(0);
  race_.EndSecond(0);
}

TEST_F(StepRaceTest, FirstReaderThatWinsStopsTheSecond) {
  const std::stop_token first = race_.Begin(0, {});
  race_.ReadFrom(0, 0, kBytes);
  const auto second = race_.BeginSecond(0, {});

  EXPECT_TRUE(race_.Win(0, false));
  race_.End(0);

  EXPECT_FALSE(first.stop_requested());
  EXPECT_TRUE(second->stop_requested());
  EXPECT_FALSE(race_.Win(0, true));
  race_.EndSecond(0);
  EXPECT_EQ(race_.BeginSecond(0, {}), std::nullopt) << "the step is gone";
}

TEST_F(StepRaceTest, StepHasOneSecondReaderAtMost) {
  race_.Begin(0, {});
  race_.ReadFrom(0, 0, kBytes);
  clock_.Advance(absl::Hours(1));

  EXPECT_TRUE(race_.BeginSecond(0, {}).has_value());
  EXPECT_FALSE(race_.BeginSecond(0, {}).has_value());
  EXPECT_THAT(Slow(), testing::IsEmpty());
  race_.EndSecond(0);

  EXPECT_FALSE(race_.BeginSecond(0, {}).has_value());
  race_.End(0);
}

TEST_F(StepRaceTest, FailedFirstReaderWaitsForTheSecond) {
  race_.Begin(0, {});
  race_.ReadFrom(0, 0, kBytes);
  ASSERT_TRUE(race_.BeginSecond(0, {}).has_value());
  std::thread second([&] {
    race_.Win(0, true);
    race_.EndSecond(0);
  });

  EXPECT_TRUE(race_.LostAfterFailure(0));
  second.join();
  race_.End(0);
}

TEST_F(StepRaceTest, FailedFirstReaderGoesOnWhenTheSecondFailedToo) {
  race_.Begin(0, {});
  race_.ReadFrom(0, 0, kBytes);
  EXPECT_FALSE(race_.LostAfterFailure(0));
  ASSERT_TRUE(race_.BeginSecond(0, {}).has_value());
  race_.EndSecond(0);

  EXPECT_FALSE(race_.LostAfterFailure(0));
  race_.End(0);
}

TEST_F(StepRaceTest, BothStopWithThePull) {
  std::stop_source pull;
  const std::stop_token first = race_.Begin(0, pull.get_token());
  race_.ReadFrom(0, 0, kBytes);
  const auto second = race_.BeginSecond(0, pull.get_token());

  pull.request_stop();

  EXPECT_TRUE(first.stop_requested());
  EXPECT_TRUE(second->stop_requested());
  race_.EndSecond(0);
  race_.End(0);
}

TEST(HedgeBudgetTest, ExtraBytesAreAPartOfAllBytes) {
  HedgeBudget budget(0.05);
  EXPECT_FALSE(budget.Take(1));
  budget.Add(1000);

  EXPECT_FALSE(budget.Take(51));
  EXPECT_TRUE(budget.Take(30));
  EXPECT_FALSE(budget.Take(30));
  EXPECT_TRUE(budget.Take(20));
  budget.Add(1000);
  EXPECT_TRUE(budget.Take(50));
}

}  // namespace
}  // namespace muster
