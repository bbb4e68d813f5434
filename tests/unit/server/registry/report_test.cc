// Reports of nodes about their shards (invariant 4, docs/design.md: what is of an older epoch or
// assignment has no effect).

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;
using testing::ElementsAre;

constexpr char kNode[] = "nodes/n1";

// One node that holds shards 0 and 1 of three.
class ReportTest : public testing::Test {
 protected:
  ReportTest() {
    fixture_.Publish(kVersion, 3);
    epoch_ = fixture_.Register(kNode);
    EXPECT_THAT(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)), IsOk());
    EXPECT_THAT(fixture_.Do(Join(kAssembly, kNode, epoch_)), IsOk());
    generation_ = fixture_.Plan(kAssembly, {{kNode, {0, 1}}});
  }
  v1::ReportShardsRequest Failed(uint32_t shard, const std::string& message) {
    v1::ReportShardsRequest request = Report(kAssembly, kNode, epoch_, generation_, {shard});
    request.mutable_reports(0)->set_state(v1::ShardReport::FAILED);
    request.mutable_reports(0)->mutable_failure()->set_code(v1::ShardFailure::CORRUPT);
    request.mutable_reports(0)->mutable_failure()->set_message(message);
    return request;
  }
  const v1::ShardFailure& FailureOf(uint32_t shard) {
    const auto assembly = fixture_.registry().assemblies().Find(kAssembly);
    return (*assembly)->FindMember(kNode)->failures.at(shard);
  }
  absl::Status DoesNothing(const Command& command) {
    const std::string before = Describe(fixture_.registry());
    const absl::Status status = fixture_.Do(command);
    EXPECT_EQ(Describe(fixture_.registry()), before);
    return status;
  }

  RegistryFixture fixture_;
  uint64_t epoch_, generation_;
};

TEST_F(ReportTest, RepeatChangesNothing) {
  MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, kNode, epoch_, generation_, {0})));
  MUSTER_EXPECT_OK(DoesNothing(Report(kAssembly, kNode, epoch_, generation_, {0})));
}

TEST_F(ReportTest, OlderEpochIsFenced) {
  EXPECT_THAT(DoesNothing(Report(kAssembly, kNode, epoch_ - 1, generation_, {0})),
              ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
}

TEST_F(ReportTest, UnknownNodeOrAssemblyIsNotFound) {
  EXPECT_THAT(DoesNothing(Report(kAssembly, "nodes/n9", epoch_, generation_, {0})),
              ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
  EXPECT_THAT(DoesNothing(Report("assemblies/x", kNode, epoch_, generation_, {0})),
              ErrorIs(StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
}

TEST_F(ReportTest, GoneAssignmentsAreRefusedWithTheirShards) {
  const absl::Status other_generation =
      DoesNothing(Report(kAssembly, kNode, epoch_, generation_ - 1, {1, 0}));
  EXPECT_THAT(other_generation, ErrorIs(StatusCode::kAborted, "ASSIGNMENT_GONE"));
  EXPECT_EQ(DetailOf(other_generation).metadata.at("shards"), "0-1");
  EXPECT_THAT(DoesNothing(Report(kAssembly, kNode, epoch_, generation_, {2})),
              ErrorIs(StatusCode::kAborted, "ASSIGNMENT_GONE"));
  EXPECT_THAT(DoesNothing(Report(kAssembly, kNode, epoch_, generation_, {4'000'000'000})),
              ErrorIs(StatusCode::kAborted, "ASSIGNMENT_GONE"));
}

TEST_F(ReportTest, NodeThatIsNoMemberHoldsNothing) {
  const uint64_t epoch = fixture_.Register("nodes/n2");
  EXPECT_THAT(DoesNothing(Report(kAssembly, "nodes/n2", epoch, generation_, {0})),
              ErrorIs(StatusCode::kAborted, "ASSIGNMENT_GONE"));
}

TEST_F(ReportTest, PartOfABatchThatIsGoneIsListedAndTheRestCounts) {
  const auto reply =
      fixture_.Ask<v1::ReportShardsResponse>(Report(kAssembly, kNode, epoch_, generation_, {0, 2}));
  EXPECT_THAT(reply.rejected(), ElementsAre(2));
  EXPECT_EQ(reply.revision(), fixture_.revision().value);
  EXPECT_EQ(fixture_.Shown(kAssembly).replicas_ready(), 1u);
}

TEST_F(ReportTest, FailureIsShownAndItsEndForgetsIt) {
  MUSTER_EXPECT_OK(fixture_.Do(Failed(0, "bad bytes")));
  EXPECT_EQ(fixture_.Member(kAssembly, kNode).shards_failed(), 1u);
  bool shown = false;
  const v1::Assembly assembly = fixture_.Shown(kAssembly);
  for (const auto& reason : assembly.reasons()) {
    if (reason.code() != v1::AssemblyReason::SHARD_FAILED) continue;
    shown = true;
    EXPECT_EQ(reason.node(), kNode);
    EXPECT_THAT(reason.shards(), ElementsAre(0));
    EXPECT_THAT(reason.message(), testing::HasSubstr("CORRUPT bad bytes"));
  }
  EXPECT_TRUE(shown);
  MUSTER_EXPECT_OK(DoesNothing(Failed(0, "bad bytes")));
  MUSTER_EXPECT_OK(fixture_.Do(Failed(0, "worse bytes")));
  EXPECT_EQ(FailureOf(0).message(), "worse bytes");
  MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, kNode, epoch_, generation_, {0})));
  EXPECT_EQ(fixture_.Member(kAssembly, kNode).shards_failed(), 0u);
}

TEST_F(ReportTest, FailureTextIsCutBetweenCharacters) {
  std::string text(kMaxFailureMessageBytes - 1, 'x');
  text += "\u00e4\u00e4\u00e4";
  MUSTER_EXPECT_OK(fixture_.Do(Failed(0, text)));
  EXPECT_EQ(FailureOf(0).message(), std::string(kMaxFailureMessageBytes - 1, 'x'));
  MUSTER_EXPECT_OK(fixture_.Do(Failed(1, std::string(kMaxFailureMessageBytes, 'x'))));
  EXPECT_EQ(FailureOf(1).message().size(), kMaxFailureMessageBytes);
}

TEST_F(ReportTest, ReadyThatIsTakenBackEndsTheBarrier) {
  fixture_.Plan(kAssembly, {{kNode, {0, 1, 2}}});
  MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, kNode, epoch_, generation_, {0, 1})));
  const uint64_t second = fixture_.Shown(kAssembly).generation();
  MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, kNode, epoch_, second, {2})));
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::READY);
  v1::ReportShardsRequest fetching = Report(kAssembly, kNode, epoch_, second, {2});
  fetching.mutable_reports(0)->set_state(v1::ShardReport::FETCHING);
  MUSTER_EXPECT_OK(fixture_.Do(fetching));
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::DEGRADED);
}

TEST_F(ReportTest, LateReportDoesNotUndoALaterOne) {
  v1::ReportShardsRequest early = Report(kAssembly, kNode, epoch_, generation_, {0});
  early.mutable_reports(0)->set_state(v1::ShardReport::FETCHING);
  early.set_sequence(1);
  v1::ReportShardsRequest ready = Report(kAssembly, kNode, epoch_, generation_, {0});
  ready.set_sequence(2);
  MUSTER_EXPECT_OK(fixture_.Do(ready));
  EXPECT_THAT(DoesNothing(early), ErrorIs(absl::StatusCode::kAborted, "REPORT_SUPERSEDED"));
  // The same one again is not a late one.
  MUSTER_EXPECT_OK(DoesNothing(ready));
  EXPECT_EQ(fixture_.Member(kAssembly, kNode).shards_ready(), 1u);
}

TEST_F(ReportTest, NumbersOfReportsBeginAnewWithAnEpoch) {
  v1::ReportShardsRequest report = Report(kAssembly, kNode, epoch_, generation_, {0});
  report.set_sequence(7);
  MUSTER_EXPECT_OK(fixture_.Do(report));
  const uint64_t epoch = fixture_.Register(kNode);
  report = Report(kAssembly, kNode, epoch, generation_, {0});
  report.set_sequence(1);
  MUSTER_EXPECT_OK(fixture_.Do(report));
}

}  // namespace
}  // namespace muster
