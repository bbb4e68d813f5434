// A time of day that jumps: nothing expires by it, nothing stands still by it, and what is shown goes
// with it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/commit/tick_thread.h"
#include "storage/base/limits.h"
#include "tests/support/core_requests.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr char kDraft[] = "models/m/versions/v";
constexpr char kNode[] = "nodes/n1";

v1::CreateModelVersionRequest CreateDraft(absl::string_view name, const std::string& id = "") {
  v1::CreateModelVersionRequest request;
  request.mutable_model_version()->set_name(std::string(name));
  request.mutable_model_version()->set_shard_count(2);
  request.set_request_id(id);
  return request;
}

absl::Time CreateTimeOf(const CoreUnderTest& core, absl::string_view name) {
  const auto version = core.registry().catalogue().Find(name);
  return absl::FromUnixMicros((*version)->row.create_time_us());
}

class TimeOfDayTest : public testing::TestWithParam<absl::Duration> {
 protected:
  TimeOfDayTest() {
    MUSTER_EXPECT_OK(core_.Do(CreateDraft(kDraft, "id")).status);
    core_.AddNode(kNode, 0);
    v1::DrainNodeRequest drain;
    drain.set_name(kNode);
    drain.mutable_deadline()->set_seconds(3'600);
    MUSTER_EXPECT_OK(core_.Do(CreateDraft("models/m/versions/other")).status);
    MUSTER_EXPECT_OK(core_.Do(drain).status);
  }

  bool HasDraft() const { return core_.registry().catalogue().Find(kDraft).ok(); }
  // Whether the call that made the draft is still known under its id.
  bool KnowsTheCall() {
    const Revision before = core_.registry().revision();
    const bool ok = core_.Do(CreateDraft(kDraft, "id")).status.ok();
    return ok && core_.registry().revision() == before;
  }
  v1::Drain::State DrainState() const {
    return core_.registry().nodes().by_name().at(kNode)->row.drain_state();
  }
  // Ticks that no lease runs out by.
  void Step(absl::Duration by) {
    core_.clock().StepTimeOfDay(by);
    core_.AdvanceAndTick(absl::Milliseconds(100));
    core_.AdvanceAndTick(absl::Milliseconds(100));
  }
  void ExpectNothingGone() {
    EXPECT_TRUE(HasDraft());
    EXPECT_TRUE(KnowsTheCall());
    EXPECT_NE(DrainState(), v1::Drain::OVERDUE);
    EXPECT_EQ(core_.registry().event_log().compacted(), Revision(0));
  }
  void ExpectAllExpiresInTime() {
    core_.AdvanceAndTick(absl::Microseconds(kRequestIdTtlUs));
    EXPECT_FALSE(KnowsTheCall());
    EXPECT_TRUE(HasDraft());
    core_.AdvanceAndTick(absl::Hours(24) + absl::Seconds(1));
    EXPECT_FALSE(HasDraft());
    core_.AdvanceAndTick(absl::Hours(2));
    core_.AdvanceAndTick(absl::Hours(2));
    EXPECT_GT(core_.registry().event_log().compacted(), Revision(0));
  }

  CoreUnderTest core_;
};

TEST_P(TimeOfDayTest, StepDeletesNothingAndFreezesNothing) {
  Step(GetParam());

  ExpectNothingGone();
  ExpectAllExpiresInTime();
}

TEST_P(TimeOfDayTest, StepAndBackDeletesNothingAndFreezesNothing) {
  Step(GetParam());
  Step(-GetParam());

  ExpectNothingGone();
  ExpectAllExpiresInTime();
}

TEST_P(TimeOfDayTest, StartWithAWrongClockDeletesNothingAndFreezesNothing) {
  core_.clock().StepTimeOfDay(GetParam());
  core_.Restart();
  ExpectNothingGone();
  core_.clock().StepTimeOfDay(-GetParam());
  core_.Restart();

  ExpectNothingGone();
  ExpectAllExpiresInTime();
}

TEST_P(TimeOfDayTest, TimesThatAreShownAreTrueAgainOnceTheClockIs) {
  Step(GetParam());
  MUSTER_ASSERT_OK(core_.Do(CreateDraft("models/m/versions/wrong")).status);
  EXPECT_EQ(CreateTimeOf(core_, "models/m/versions/wrong"), core_.clock().Now());
  Step(-GetParam());
  MUSTER_ASSERT_OK(core_.Do(CreateDraft("models/m/versions/right")).status);
  EXPECT_EQ(CreateTimeOf(core_, "models/m/versions/right"), core_.clock().Now());
  core_.Restart();

  MUSTER_ASSERT_OK(core_.Do(CreateDraft("models/m/versions/restarted")).status);

  EXPECT_EQ(CreateTimeOf(core_, "models/m/versions/restarted"), core_.clock().Now());
}

INSTANTIATE_TEST_SUITE_P(Steps, TimeOfDayTest,
                         testing::Values(absl::Hours(48), -absl::Hours(48), absl::Hours(720),
                                         -absl::Hours(720)),
                         [](const auto& step) {
                           return absl::StrCat(step.param < absl::ZeroDuration() ? "Back" : "Ahead",
                                               absl::ToInt64Hours(absl::AbsDuration(step.param)),
                                               "Hours");
                         });

TEST(TimeOfDayDrainTest, DrainIsOverdueByTheServersOwnTime) {
  CoreUnderTest core;
  MUSTER_ASSERT_OK(core.Do(PublishCommands(kDraft, 1, 1)).status);
  MUSTER_ASSERT_OK(
      core.Do(CreateAssemblyRequestOf("assemblies/a", kDraft, v1::Assembly::BALANCED)).status);
  core.AddNode(kNode, 0);
  core.Join("assemblies/a", kNode, v1::Claim::ANY);
  core.Plan();
  v1::DrainNodeRequest drain;
  drain.set_name(kNode);
  drain.mutable_deadline()->set_seconds(2);
  MUSTER_ASSERT_OK(core.Do(drain).status);
  const auto state = [&core] {
    return core.registry().nodes().by_name().at(kNode)->row.drain_state();
  };
  core.clock().StepTimeOfDay(absl::Hours(720));

  core.AdvanceAndTick(absl::Milliseconds(900));
  core.AdvanceAndTick(absl::Milliseconds(900));
  EXPECT_EQ(state(), v1::Drain::DRAINING);
  core.clock().StepTimeOfDay(absl::Hours(-1'440));
  core.AdvanceAndTick(absl::Milliseconds(300));
  EXPECT_EQ(state(), v1::Drain::OVERDUE);
}

TEST(TimeOfDayWatchTest, TellsOfAStepOnceAndNotOfAClockThatIsSlewed) {
  TimeOfDayWatch watch;
  FakeClock clock;
  const auto step = [&] {
    clock.Advance(absl::Milliseconds(100));
    return watch.Step(clock.Now(), clock.Monotonic());
  };
  EXPECT_EQ(step(), absl::ZeroDuration());
  for (int i = 0; i < 1'000; ++i) {
    clock.StepTimeOfDay(absl::Milliseconds(50));
    EXPECT_EQ(step(), absl::ZeroDuration());
  }
  clock.StepTimeOfDay(absl::Hours(48));
  EXPECT_EQ(step(), absl::Hours(48));
  EXPECT_EQ(step(), absl::ZeroDuration());
  clock.StepTimeOfDay(absl::Hours(-48));
  EXPECT_EQ(step(), absl::Hours(-48));
}

}  // namespace
}  // namespace muster
