// A store that sleeps: its commit moves the clock and has the watch look, as the watch's own thread would meanwhile.
#include "server/store_watch.h"

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SleepingStore final : public MetadataStore {
 public:
  // What happens during the next commits.
  std::function<void()> sleep = [] {};

  Limits limits() const override { return {1, 1, 1}; }
  absl::StatusOr<std::string> Get(absl::string_view) override { return "value"; }
  absl::StatusOr<std::vector<Row>> Scan(absl::string_view, absl::string_view, size_t) override {
    return std::vector<Row>{{"key", "value"}};
  }
  absl::Status Commit(const MetadataBatch&) override {
    sleep();
    return absl::AbortedError("as the store says");
  }
  absl::Status CheckLeadership() override { return absl::OkStatus(); }
  absl::StatusOr<std::optional<int64_t>> FreeBytes() override { return 7; }
};

class StoreWatchTest : public testing::Test {
 protected:
  StoreWatch::Actions Note() {
    StoreWatch::Actions actions;
    actions.slow = [this](absl::Duration age) {
      told_.push_back(absl::StrCat("slow ", absl::FormatDuration(age)));
    };
    actions.serving = [this](bool serving, absl::Duration) {
      told_.push_back(serving ? "serving" : "not serving");
    };
    actions.hopeless = [this](absl::Duration) { told_.push_back("hopeless"); };
    return actions;
  }

  // A commit during which the watch looks after each of these.
  void CommitThrough(StoreWatch& watch, const std::vector<absl::Duration>& steps) {
    sleeping_.sleep = [&] {
      for (const absl::Duration step : steps) {
        clock_.Advance(step);
        watch.Look();
      }
    };
    EXPECT_THAT(timed_.Commit({}), StatusIs(absl::StatusCode::kAborted));
  }

  FakeClock clock_;
  SleepingStore sleeping_;
  TimedStore timed_{sleeping_, clock_};
  std::vector<std::string> told_;
};

TEST_F(StoreWatchTest, QuickCommitsAreNotToldOf) {
  StoreWatch watch(timed_, {}, Note());
  watch.Look();
  for (int i = 0; i < 100; ++i) CommitThrough(watch, {absl::Milliseconds(900)});
  clock_.Advance(absl::Hours(1));
  watch.Look();
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(StoreWatchTest, SlowCommitIsToldOfOnce) {
  StoreWatch watch(timed_, {}, Note());
  CommitThrough(watch, {absl::Milliseconds(1'250), absl::Seconds(2), absl::Seconds(2)});
  watch.Look();
  CommitThrough(watch, {absl::Milliseconds(1'500)});
  EXPECT_THAT(told_, ElementsAre("slow 1.25s", "slow 1.5s"));
}

TEST_F(StoreWatchTest, StuckCommitTakesTheHealthUntilItEnds) {
  StoreWatch watch(timed_, {}, Note());
  CommitThrough(watch,
                {absl::Seconds(2), absl::Seconds(7), absl::Milliseconds(250), absl::Hours(1)});
  EXPECT_THAT(told_, ElementsAre("slow 2s", "not serving"));

  watch.Look();
  EXPECT_THAT(told_, ElementsAre("slow 2s", "not serving", "serving"));
}

TEST_F(StoreWatchTest, HopelessCommitIsGivenUpWhereThatIsWanted) {
  StoreWatch::Options options;
  options.hopeless = absl::Minutes(1);
  StoreWatch watch(timed_, options, Note());
  CommitThrough(watch, {absl::Seconds(60)});
  EXPECT_THAT(told_, ElementsAre("slow 1m", "not serving"));

  CommitThrough(watch, {absl::Seconds(61)});
  EXPECT_EQ(told_.back(), "hopeless");
}

TEST_F(StoreWatchTest, StoreAnswersThroughIt) {
  EXPECT_EQ(timed_.limits().value_bytes_max, 1u);
  EXPECT_EQ(*timed_.Get("key"), "value");
  EXPECT_EQ(timed_.Scan("a", "z", 1)->size(), 1u);
  EXPECT_EQ(**timed_.FreeBytes(), 7);
  MUSTER_EXPECT_OK(timed_.CheckLeadership());
}

}  // namespace
}  // namespace muster
