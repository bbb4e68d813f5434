#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/watch/assembly_cursor.h"
#include "server/watch/assignment_cursor.h"
#include "server/watch/events_cursor.h"
#include "server/watch/feed_reader.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "tests/support/core_requests.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr char kVersion[] = "models/m/versions/v";
constexpr char kAssembly[] = "assemblies/a";
constexpr char kNode[] = "nodes/a";

// A node in a FULL assembly of `shards` shards, planned.
class CursorTest : public testing::Test {
 protected:
  void SetUpShards(uint32_t shards) {
    MUSTER_ASSERT_OK(core_.Do(PublishCommands(kVersion, shards, 10)).status);
    MUSTER_ASSERT_OK(
        core_.Do(CreateAssemblyRequestOf(kAssembly, kVersion, v1::Assembly::FULL)).status);
    epoch_ = core_.AddNode(kNode, 0);
    core_.Join(kAssembly, kNode, v1::Claim::ANY);
    core_.Plan();
  }
  absl::StatusOr<AssignmentCursor> Open(uint64_t start) {
    v1::WatchAssignmentsRequest request;
    request.set_node(kNode);
    request.set_epoch(epoch_.value);
    request.set_start_revision(start);
    return AssignmentCursor::Open(request, core_.registry());
  }
  // True: there is a message.
  absl::StatusOr<bool> Next(AssignmentCursor& cursor) { return NextOf(cursor, assignments_); }
  absl::StatusOr<AssemblyCursor> Watch(v1::Assembly::State until, absl::string_view node) {
    v1::WatchAssemblyRequest request;
    request.set_name(kAssembly);
    request.set_until(until);
    request.set_node(std::string(node));
    return AssemblyCursor::Open(request, core_.registry());
  }
  absl::StatusOr<bool> Next(AssemblyCursor& cursor) {
    AssemblyMessage message;
    MUSTER_ASSIGN_OR_RETURN(const bool more, NextOf(cursor, message));
    if (more) state_ = message.Parsed();
    return more;
  }
  absl::StatusOr<bool> Next(EventsCursor& cursor) { return NextOf(cursor, events_); }
  // Drives a cursor as a stream does, reading the event log where it asks for that.
  template <typename Cursor>
  absl::StatusOr<bool> NextOf(Cursor& cursor, typename Cursor::Message& message) {
    while (true) {
      MUSTER_ASSIGN_OR_RETURN(const CursorStep step,
                              cursor.Next(core_.registry(), core_.server().feed(), message));
      if (step == CursorStep::kMessage) return true;
      if (step == CursorStep::kWait && !cursor.more()) return false;
      if (step == CursorStep::kWait) continue;
      ++log_reads_;
      MUSTER_ASSIGN_OR_RETURN(LogPart part,
                              ReadLog(core_.server().store(), cursor.reader().log_span()));
      cursor.reader().Supply(std::move(part));
    }
  }
  void DeleteAssembly() {
    v1::DeleteAssemblyRequest request;
    request.set_name(kAssembly);
    MUSTER_ASSERT_OK(core_.Do(request).status);
  }

  CoreUnderTest core_;
  Epoch epoch_;
  v1::WatchAssignmentsResponse assignments_;
  v1::WatchAssemblyResponse state_;
  v1::WatchEventsResponse events_;
  int log_reads_ = 0;
};

using AssignmentCursorTest = CursorTest;
using AssemblyCursorTest = CursorTest;
using EventsCursorTest = CursorTest;

TEST_F(AssignmentCursorTest, SnapshotOfManyShardsComesInMessagesWithinTheirLimits) {
  SetUpShards(2'500);
  auto cursor = Open(0);
  MUSTER_ASSERT_OK(cursor);

  int shards = 0;
  do {
    ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
    EXPECT_TRUE(assignments_.snapshot());
    EXPECT_LE(assignments_.assigned_size(), kMaxItemsPerCall);
    EXPECT_LE(assignments_.ByteSizeLong(), kMaxPageBytes);
    EXPECT_EQ(assignments_.revision(), core_.registry().revision().value);
    shards += assignments_.assigned_size();
  } while (!assignments_.complete());

  EXPECT_EQ(shards, 2'500);
  EXPECT_THAT(Next(*cursor), IsOkAndHolds(false));
}

TEST_F(AssignmentCursorTest, SnapshotWithoutAssignmentsIsOneEmptyMessage) {
  epoch_ = core_.AddNode(kNode, 0);
  auto cursor = Open(0);
  MUSTER_ASSERT_OK(cursor);

  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));

  EXPECT_TRUE(assignments_.snapshot() && assignments_.complete());
  EXPECT_EQ(assignments_.assigned_size(), 0);
}

TEST_F(AssignmentCursorTest, DeletionOfTheAssemblyTakesItsShardsAway) {
  SetUpShards(3);
  auto cursor = Open(0);
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));

  DeleteAssembly();

  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_FALSE(assignments_.snapshot());
  EXPECT_EQ(assignments_.unassigned_size(), 3);
  EXPECT_TRUE(assignments_.complete());
}

TEST_F(AssignmentCursorTest, NewRegistrationEndsTheWatch) {
  SetUpShards(3);
  auto cursor = Open(0);
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));

  core_.AddNode(kNode, 0);

  EXPECT_THAT(Next(*cursor), ErrorIs(absl::StatusCode::kAborted, "NODE_FENCED"));
  EXPECT_THAT(Open(0), ErrorIs(absl::StatusCode::kAborted, "NODE_FENCED"));
}

TEST_F(AssignmentCursorTest, AnotherHistoryIsToldBeforeTheEpochAndAlsoWithoutARevision) {
  SetUpShards(3);
  v1::WatchAssignmentsRequest request;
  request.set_node(kNode);
  request.set_epoch(epoch_.value - 1);
  request.set_history_id("another");
  EXPECT_THAT(AssignmentCursor::Open(request, core_.registry()).status(),
              ErrorIs(absl::StatusCode::kOutOfRange, "HISTORY_CHANGED"));
  request.set_epoch(epoch_.value + 1'000);
  request.set_history_id(core_.registry().history_id());
  EXPECT_THAT(AssignmentCursor::Open(request, core_.registry()).status(),
              ErrorIs(absl::StatusCode::kNotFound, "NODE_UNKNOWN"));
}

TEST_F(AssignmentCursorTest, FirstMessageSaysTheHistory) {
  SetUpShards(2'500);
  auto cursor = Open(0);
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(assignments_.history_id(), core_.registry().history_id());
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(assignments_.history_id(), "");
}

TEST_F(AssignmentCursorTest, DeregistrationEndsTheWatch) {
  SetUpShards(3);
  auto cursor = Open(0);
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  v1::DeregisterNodeRequest request;
  request.set_name(kNode);
  MUSTER_ASSERT_OK(core_.Do(request).status);

  EXPECT_THAT(Next(*cursor), ErrorIs(absl::StatusCode::kNotFound, "NODE_UNKNOWN"));
  EXPECT_THAT(Open(0), ErrorIs(absl::StatusCode::kNotFound, "NODE_UNKNOWN"));
}

TEST_F(AssignmentCursorTest, ResumeReadsPastTheEventsOfOlderEpochs) {
  SetUpShards(3);
  const uint64_t before = epoch_.value - 1;
  core_.AddNode(kNode, 0);
  epoch_ = core_.AddNode(kNode, 0);

  auto cursor = Open(before);

  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(assignments_.assigned_size(), 3);
}

TEST_F(AssignmentCursorTest, RevisionThatTheServerDoesNotKnowIsCompacted) {
  SetUpShards(3);

  EXPECT_THAT(Open(core_.registry().revision().value + 1),
              ErrorIs(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED"));
}

TEST_F(AssignmentCursorTest, ResumeGoesOnOverARestart) {
  SetUpShards(3);
  const uint64_t before = epoch_.value;
  core_.Restart();

  auto cursor = Open(before);

  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(assignments_.assigned_size(), 3);
  EXPECT_TRUE(assignments_.complete());
  EXPECT_FALSE(assignments_.snapshot());
  // The feed has the tail of the log.
  EXPECT_EQ(log_reads_, 0);
  EXPECT_THAT(Next(*cursor), IsOkAndHolds(false));
}

TEST_F(AssignmentCursorTest, ResumeFromBeforeTheTailOfTheLogReadsIt) {
  SetUpShards(3);
  const uint64_t before = epoch_.value;
  for (int i = 0; i < 40; ++i) core_.AddNode(absl::StrCat("nodes/other", i), 0);
  core_.Restart();

  auto cursor = Open(before);

  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(assignments_.assigned_size(), 3);
  EXPECT_GT(log_reads_, 0);
}

TEST_F(AssignmentCursorTest, ResumeOverARestartSeesWhatFollows) {
  SetUpShards(3);
  core_.Restart();
  auto cursor = Open(epoch_.value);
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));

  DeleteAssembly();

  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(assignments_.unassigned_size(), 3);
}

TEST_F(AssignmentCursorTest, ProgressIsASafePlaceToResumeFrom) {
  SetUpShards(3);
  auto cursor = Open(0);
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  core_.AddNode("nodes/other", 0);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(false));

  const auto progress = cursor->Progress(core_.server().feed().durable());

  EXPECT_TRUE(progress.progress());
  EXPECT_EQ(progress.revision(), core_.registry().revision().value);
  DeleteAssembly();
  auto resumed = Open(progress.revision());
  MUSTER_ASSERT_OK(resumed);
  ASSERT_THAT(Next(*resumed), IsOkAndHolds(true));
  EXPECT_EQ(assignments_.unassigned_size(), 3);
}

TEST_F(AssignmentCursorTest, RequestWithoutAnEpochIsInvalid) {
  SetUpShards(1);
  v1::WatchAssignmentsRequest request;
  request.set_node(kNode);

  EXPECT_THAT(AssignmentCursor::Open(request, core_.registry()),
              ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_FIELD"));
}

TEST_F(AssemblyCursorTest, WatchEndsWhenTheStateIsReached) {
  SetUpShards(3);
  auto cursor = Watch(v1::Assembly::READY, "");
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(state_.assembly().state(), v1::Assembly::LOADING);
  EXPECT_THAT(Next(*cursor), IsOkAndHolds(false));

  MUSTER_ASSERT_OK(core_.ReportAll(kAssembly, kNode, v1::ShardReport::READY).status);

  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(state_.assembly().state(), v1::Assembly::READY);
  EXPECT_TRUE(cursor->reached());
}

TEST_F(AssemblyCursorTest, NodesOwnReadinessIsEnoughWhenItWasAskedFor) {
  SetUpShards(3);
  core_.AddNode("nodes/b", 0);
  core_.Join(kAssembly, "nodes/b", v1::Claim::ANY);
  core_.Plan();
  auto cursor = Watch(v1::Assembly::READY, kNode);
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_FALSE(cursor->reached());

  MUSTER_ASSERT_OK(core_.ReportAll(kAssembly, kNode, v1::ShardReport::READY).status);

  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_TRUE(cursor->reached());
  EXPECT_TRUE(state_.member().ready());
  EXPECT_EQ(state_.assembly().state(), v1::Assembly::LOADING);
}

TEST_F(AssemblyCursorTest, DeletionEndsTheWatch) {
  SetUpShards(3);
  auto cursor = Watch(v1::Assembly::STATE_UNSPECIFIED, "");
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));

  DeleteAssembly();

  EXPECT_THAT(Next(*cursor), ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
}

TEST_F(AssemblyCursorTest, NameGivenToAnotherAssemblyEndsTheWatch) {
  SetUpShards(3);
  auto cursor = Watch(v1::Assembly::STATE_UNSPECIFIED, "");
  MUSTER_ASSERT_OK(cursor);
  DeleteAssembly();
  MUSTER_ASSERT_OK(
      core_.Do(CreateAssemblyRequestOf(kAssembly, kVersion, v1::Assembly::FULL)).status);

  EXPECT_THAT(Next(*cursor), ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
}

TEST_F(AssemblyCursorTest, FirstMessageSaysTheHistoryAndAnotherIsRefused) {
  SetUpShards(3);
  auto cursor = Watch(v1::Assembly::STATE_UNSPECIFIED, "");
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(state_.history_id(), core_.registry().history_id());
  EXPECT_EQ(state_.assembly().name(), kAssembly);

  v1::WatchAssemblyRequest request;
  request.set_name(kAssembly);
  request.set_start_revision(state_.revision());
  request.set_history_id("another");
  EXPECT_THAT(AssemblyCursor::Open(request, core_.registry()).status(),
              ErrorIs(absl::StatusCode::kOutOfRange, "HISTORY_CHANGED"));
}

TEST_F(AssemblyCursorTest, NodeWithoutReadyIsInvalid) {
  SetUpShards(1);

  EXPECT_THAT(Watch(v1::Assembly::DEGRADED, kNode),
              ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_FIELD"));
  EXPECT_THAT(Watch(v1::Assembly::READY, "bad"),
              ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_NAME"));
}

TEST_F(AssemblyCursorTest, ResumeGoesOnOverARestart) {
  SetUpShards(3);
  const uint64_t before = core_.registry().revision().value;
  MUSTER_ASSERT_OK(core_.ReportAll(kAssembly, kNode, v1::ShardReport::READY).status);
  core_.Restart();
  v1::WatchAssemblyRequest request;
  request.set_name(kAssembly);
  request.set_node(kNode);
  request.set_until(v1::Assembly::READY);
  request.set_start_revision(before);
  auto cursor = AssemblyCursor::Open(request, core_.registry());
  MUSTER_ASSERT_OK(cursor);

  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));

  EXPECT_EQ(state_.assembly().state(), v1::Assembly::READY);
  EXPECT_EQ(state_.revision(), before + 1);
  // The event log leaves the claim out.
  EXPECT_EQ(state_.member().claim().kind(), v1::Claim::ANY);
  EXPECT_TRUE(cursor->reached());
}

TEST_F(AssemblyCursorTest, WatchersOfOneEventShareItsBytes) {
  SetUpShards(3);
  auto first = Watch(v1::Assembly::STATE_UNSPECIFIED, "");
  auto second = Watch(v1::Assembly::STATE_UNSPECIFIED, "");
  ASSERT_THAT(Next(*first), IsOkAndHolds(true));
  ASSERT_THAT(Next(*second), IsOkAndHolds(true));
  MUSTER_ASSERT_OK(core_.ReportAll(kAssembly, kNode, v1::ShardReport::READY).status);

  AssemblyMessage a, b;
  ASSERT_THAT(NextOf(*first, a), IsOkAndHolds(true));
  ASSERT_THAT(NextOf(*second, b), IsOkAndHolds(true));

  ASSERT_NE(a.shared, nullptr);
  EXPECT_EQ(a.shared, b.shared);
  EXPECT_EQ(a.own, "");
}

TEST_F(EventsCursorTest, WatchFromNowBeginsWithItsRevision) {
  SetUpShards(3);
  auto cursor = EventsCursor::Open({}, core_.registry());
  MUSTER_ASSERT_OK(cursor);

  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));

  EXPECT_TRUE(events_.progress());
  EXPECT_EQ(events_.revision(), core_.registry().revision().value);
  EXPECT_THAT(Next(*cursor), IsOkAndHolds(false));
}

TEST_F(EventsCursorTest, WatchResumesInItsOwnHistoryOnly) {
  SetUpShards(3);
  v1::WatchEventsRequest request;
  request.set_history_id("another");
  // Nothing of it is relied on.
  MUSTER_EXPECT_OK(EventsCursor::Open(request, core_.registry()).status());
  request.set_start_revision(1);
  const absl::Status refused = EventsCursor::Open(request, core_.registry()).status();
  EXPECT_THAT(refused, ErrorIs(absl::StatusCode::kOutOfRange, "HISTORY_CHANGED"));
  EXPECT_EQ(DetailOf(refused).metadata.at("history_id"), core_.registry().history_id());

  request.set_history_id(core_.registry().history_id());
  auto cursor = EventsCursor::Open(request, core_.registry());
  MUSTER_ASSERT_OK(cursor);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  EXPECT_EQ(events_.history_id(), core_.registry().history_id());
}

TEST_F(EventsCursorTest, EventsOfARevisionComeTogetherAndOnce) {
  SetUpShards(3);
  auto cursor = EventsCursor::Open({}, core_.registry());
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));

  MUSTER_ASSERT_OK(core_.ReportAll(kAssembly, kNode, v1::ShardReport::READY).status);

  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  ASSERT_EQ(events_.events_size(), 2);
  EXPECT_EQ(events_.events(0).kind(), v1::Event::SHARDS_REPORTED);
  EXPECT_EQ(events_.events(1).kind(), v1::Event::ASSEMBLY_STATE);
  EXPECT_EQ(events_.events(1).sequence(), 1u);
  EXPECT_TRUE(events_.complete());
  EXPECT_THAT(Next(*cursor), IsOkAndHolds(false));
}

TEST_F(EventsCursorTest, FilterLeavesOutWhatDoesNotMatch) {
  SetUpShards(3);
  v1::WatchEventsRequest request;
  request.mutable_filter()->set_node("nodes/other");
  auto cursor = EventsCursor::Open(request, core_.registry());
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  MUSTER_ASSERT_OK(core_.ReportAll(kAssembly, kNode, v1::ShardReport::READY).status);
  ASSERT_THAT(Next(*cursor), IsOkAndHolds(false));

  core_.AddNode("nodes/other", 0);

  ASSERT_THAT(Next(*cursor), IsOkAndHolds(true));
  ASSERT_EQ(events_.events_size(), 1);
  EXPECT_EQ(events_.events(0).kind(), v1::Event::NODE_REGISTERED);
}

TEST_F(EventsCursorTest, ResumeOverARestartGivesTheSameEvents) {
  SetUpShards(3);
  v1::WatchEventsRequest request;
  request.set_start_revision(1);
  std::vector<std::string> seen[2];
  for (auto& events : seen) {
    auto cursor = EventsCursor::Open(request, core_.registry());
    MUSTER_ASSERT_OK(cursor);
    while (true) {
      const auto more = Next(*cursor);
      MUSTER_ASSERT_OK(more);
      if (!*more) break;
      for (const v1::Event& event : events_.events()) events.push_back(event.SerializeAsString());
    }
    core_.Restart();
  }

  EXPECT_GT(seen[0].size(), 3u);
  EXPECT_EQ(seen[0], seen[1]);
}

}  // namespace
}  // namespace muster
