#include "client/agent/assignment_table.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

constexpr char kDemo[] = "assemblies/demo";

class AssignmentTableTest : public testing::Test {
 protected:
  using Message = v1::WatchAssignmentsResponse;

  static Message MessageAt(uint64_t revision, bool snapshot, bool complete) {
    Message message;
    message.set_revision(revision);
    message.set_snapshot(snapshot);
    message.set_complete(complete);
    return message;
  }

  static void AddShard(Message& message, uint32_t index, uint64_t generation = 1,
                       const std::string& assembly = kDemo) {
    v1::AssignedShard& assigned = *message.add_assigned();
    assigned.set_assembly(assembly);
    assigned.set_generation(generation);
    assigned.mutable_shard()->set_index(index);
    assigned.mutable_shard()->set_size_bytes(100 + index);
    assigned.mutable_shard()->set_md5(absl::StrCat("md5 of ", index));
  }

  static void RemoveShard(Message& message, uint32_t index) {
    v1::UnassignedShard& unassigned = *message.add_unassigned();
    unassigned.set_assembly(kDemo);
    unassigned.set_shard(index);
  }

  // A whole snapshot of `count` shards at revision 10.
  void AssignShards(uint32_t count) {
    Message message = MessageAt(10, true, true);
    for (uint32_t i = 0; i < count; ++i) AddShard(message, i);
    Apply(message);
  }

  AssignmentTable::Applied Apply(const Message& message) {
    absl::StatusOr<AssignmentTable::Applied> applied = table_.Apply(message);
    EXPECT_THAT(applied, IsOk());
    return *std::move(applied);
  }

  // Gets the next shard, with success.
  void GetOne() {
    const auto work = table_.TakeWork(now_);
    ASSERT_TRUE(work.has_value());
    ASSERT_TRUE(table_.BeginFetch(*work));
    ASSERT_TRUE(table_.FinishReady(*work, {}));
  }

  // "0 READY, 1 FETCHING": what is to be reported next.
  std::string NextReports() {
    std::string text;
    for (const v1::ShardReport& report : table_.NextReports().reports) {
      absl::StrAppend(&text, text.empty() ? "" : ", ", report.shard(), " ",
                      v1::ShardReport::State_Name(report.state()));
    }
    return text;
  }

  std::unique_ptr<Random> random_ = NewSeededRandom(5);
  AssignmentTable table_{*random_, {absl::Seconds(1), absl::Seconds(60), 2.0}};
  absl::Duration now_;
};

TEST_F(AssignmentTableTest, WorkComesInShardOrderAndEachOnce) {
  AssignShards(3);

  for (uint32_t i = 0; i < 3; ++i) {
    const auto work = table_.TakeWork(now_);
    ASSERT_TRUE(work.has_value());
    EXPECT_EQ(work->key.index, i);
  }
  EXPECT_FALSE(table_.TakeWork(now_).has_value());
}

TEST_F(AssignmentTableTest, OnlyTheLastStateIsReported) {
  AssignShards(2);
  GetOne();
  const auto second = table_.TakeWork(now_);
  EXPECT_EQ(NextReports(), "0 READY");

  table_.BeginFetch(*second);

  EXPECT_EQ(NextReports(), "0 READY, 1 FETCHING");
}

TEST_F(AssignmentTableTest, ReportedStateIsNotReportedAgain) {
  AssignShards(1);
  GetOne();

  table_.Reported(table_.NextReports());

  EXPECT_FALSE(table_.HasReports());
}

TEST_F(AssignmentTableTest, StateThatChangedWhileItsReportWasUnderWayIsReported) {
  AssignShards(1);
  const auto work = table_.TakeWork(now_);
  table_.BeginFetch(*work);
  const auto batch = table_.NextReports();
  table_.FinishReady(*work, {});

  table_.Reported(batch);

  EXPECT_EQ(NextReports(), "0 READY");
}

TEST_F(AssignmentTableTest, BatchHoldsOneAssemblyAndAtMostAThousand) {
  Message message = MessageAt(10, true, true);
  for (uint32_t i = 0; i < 1'200; ++i) AddShard(message, i);
  AddShard(message, 5'000, 1, "assemblies/other");
  Apply(message);
  for (int i = 0; i < 1'201; ++i) GetOne();

  const auto first = table_.NextReports();
  table_.Reported(first);
  const auto second = table_.NextReports();
  table_.Reported(second);
  const auto third = table_.NextReports();

  EXPECT_EQ(first.reports.size(), 1'000);
  EXPECT_EQ(second.reports.size(), 200);
  EXPECT_EQ(second.assembly, kDemo);
  EXPECT_EQ(third.assembly, "assemblies/other");
}

TEST_F(AssignmentTableTest, FailedShardWaitsLongerEachTimeUpToTheMaximum) {
  AssignShards(1);
  absl::Duration expected = absl::Seconds(1);

  for (int attempt = 0; attempt < 10; ++attempt) {
    const auto work = table_.TakeWork(now_);
    ASSERT_TRUE(work.has_value());
    EXPECT_EQ(work->failures, attempt);
    table_.BeginFetch(*work);
    ASSERT_TRUE(table_.FinishFailed(*work, v1::ShardFailure(), {}, now_));
    const absl::Duration wait = *table_.NextRetry() - now_;
    EXPECT_GE(wait, expected / 2);
    EXPECT_LE(wait, expected);
    EXPECT_FALSE(table_.TakeWork(now_).has_value());
    now_ = *table_.NextRetry();
    expected = std::min(expected * 2, absl::Seconds(60));
  }
}

TEST_F(AssignmentTableTest, FailureIsReportedWithItsReason) {
  AssignShards(1);
  const auto work = table_.TakeWork(now_);
  v1::ShardFailure failure;
  failure.set_code(v1::ShardFailure::CORRUPT);
  failure.set_expected_md5("aa");

  table_.FinishFailed(*work, failure, {}, now_);

  const auto batch = table_.NextReports();
  ASSERT_EQ(batch.reports.size(), 1);
  EXPECT_EQ(batch.reports[0].failure().expected_md5(), "aa");
  EXPECT_EQ(batch.reports[0].generation(), 1);
}

TEST_F(AssignmentTableTest, UnassignedShardIsForgottenAndItsAttemptStopped) {
  AssignShards(2);
  const auto work = table_.TakeWork(now_);
  table_.BeginFetch(*work);
  Message message = MessageAt(11, false, true);
  RemoveShard(message, 0);

  auto applied = Apply(message);

  ASSERT_EQ(applied.cancelled.size(), 1);
  applied.cancelled[0].request_stop();
  EXPECT_TRUE(work->stop.stop_requested());
  EXPECT_FALSE(table_.FinishReady(*work, {}));
  EXPECT_FALSE(table_.HasReports());
  EXPECT_EQ(table_.TotalsOf(kDemo).shards, 1);
}

TEST_F(AssignmentTableTest, SnapshotReplacesWhatItDoesNotList) {
  AssignShards(3);
  Message part = MessageAt(20, true, false);
  AddShard(part, 2);
  Apply(part);
  EXPECT_EQ(table_.TotalsOf(kDemo).shards, 3);
  Message rest = MessageAt(20, true, true);
  AddShard(rest, 7);

  const auto applied = Apply(rest);

  EXPECT_EQ(table_.TotalsOf(kDemo).shards, 2);
  ASSERT_EQ(applied.changes.size(), 1);
  EXPECT_EQ(applied.changes[0].assigned, 1);
  EXPECT_EQ(applied.changes[0].unassigned, 2);
  EXPECT_EQ(applied.changes[0].total_bytes, 102 + 107);
}

TEST_F(AssignmentTableTest, BrokenSnapshotDropsNothing) {
  AssignShards(3);
  Message part = MessageAt(20, true, false);
  AddShard(part, 2);
  Apply(part);

  table_.BeginStream();
  Message delta = MessageAt(21, false, true);
  Apply(delta);

  EXPECT_EQ(table_.TotalsOf(kDemo).shards, 3);
  EXPECT_EQ(table_.applied_revision(), 21);
}

TEST_F(AssignmentTableTest, RevisionCountsOnlyOnceItIsWhole) {
  AssignShards(1);
  Apply(MessageAt(15, false, false));
  EXPECT_EQ(table_.applied_revision(), 10);
  Apply(MessageAt(15, false, false));
  EXPECT_EQ(table_.applied_revision(), 10);

  Apply(MessageAt(17, false, false));

  EXPECT_EQ(table_.applied_revision(), 15);
}

TEST_F(AssignmentTableTest, HigherRevisionEndsASnapshot) {
  AssignShards(3);
  Message part = MessageAt(20, true, false);
  AddShard(part, 2);
  Apply(part);
  Message progress = MessageAt(25, false, false);
  progress.set_progress(true);

  Apply(progress);

  EXPECT_EQ(table_.TotalsOf(kDemo).shards, 1);
  EXPECT_EQ(table_.applied_revision(), 25);
}

TEST_F(AssignmentTableTest, RepeatedAssignmentChangesNothing) {
  AssignShards(1);
  GetOne();
  table_.Reported(table_.NextReports());
  Message again = MessageAt(30, true, true);
  AddShard(again, 0);

  const auto applied = Apply(again);

  EXPECT_TRUE(applied.changes.empty());
  EXPECT_FALSE(table_.HasReports());
  EXPECT_FALSE(table_.TakeWork(now_).has_value());
}

TEST_F(AssignmentTableTest, ReadyShardIsReportedAgainUnderAnotherGeneration) {
  AssignShards(1);
  GetOne();
  table_.Reported(table_.NextReports());
  Message plan = MessageAt(30, false, true);
  AddShard(plan, 0, /*generation=*/30);

  Apply(plan);

  EXPECT_EQ(NextReports(), "0 READY");
  EXPECT_EQ(table_.NextReports().reports[0].generation(), 30);
  EXPECT_FALSE(table_.TakeWork(now_).has_value());
}

TEST_F(AssignmentTableTest, OtherContentUnderTheSameIndexIsFetchedAnew) {
  AssignShards(1);
  GetOne();
  Message other = MessageAt(30, false, true);
  AddShard(other, 0, /*generation=*/30);
  other.mutable_assigned(0)->mutable_shard()->set_md5("another");

  Apply(other);

  EXPECT_FALSE(table_.HasReports());
  const auto work = table_.TakeWork(now_);
  ASSERT_TRUE(work.has_value());
  EXPECT_EQ(work->shard.md5(), "another");
}

TEST_F(AssignmentTableTest, EqualContentIsWorkedOnOnceAtATime) {
  Message message = MessageAt(10, true, true);
  AddShard(message, 0);
  AddShard(message, 0, 1, "assemblies/other");
  Apply(message);

  const auto first = table_.TakeWork(now_);
  EXPECT_FALSE(table_.TakeWork(now_).has_value());
  table_.FinishReady(*first, {});

  const auto second = table_.TakeWork(now_);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->key.assembly, "assemblies/other");
}

TEST_F(AssignmentTableTest, EpochSendsReadyShardsBackToTheCacheCheck) {
  AssignShards(3);
  GetOne();
  const auto fetching = table_.TakeWork(now_);
  table_.BeginFetch(*fetching);
  const auto failing = table_.TakeWork(now_);
  table_.FinishFailed(*failing, v1::ShardFailure(), {}, now_);
  table_.Reported(table_.NextReports());

  table_.BeginEpoch();

  EXPECT_EQ(NextReports(), "1 FETCHING, 2 FAILED");
  const auto work = table_.TakeWork(now_);
  ASSERT_TRUE(work.has_value());
  EXPECT_EQ(work->key.index, 0);
  EXPECT_TRUE(table_.FinishReady(*work, {}));
  EXPECT_EQ(NextReports(), "0 READY, 1 FETCHING, 2 FAILED");
}

TEST_F(AssignmentTableTest, AssemblyIsNewlyReadyOnceTheServerKnows) {
  AssignShards(1);
  EXPECT_TRUE(table_.TakeNewlyReady().empty());
  GetOne();
  EXPECT_TRUE(table_.TakeNewlyReady().empty());

  table_.Reported(table_.NextReports());

  EXPECT_THAT(table_.TakeNewlyReady(), testing::ElementsAre(kDemo));
  EXPECT_TRUE(table_.TakeNewlyReady().empty());
}

TEST_F(AssignmentTableTest, ProgressCoversTheFetchesUnderWay) {
  AssignShards(3);
  const auto first = table_.TakeWork(now_);
  const auto second = table_.TakeWork(now_);
  table_.BeginFetch(*first);
  table_.BeginFetch(*second);
  table_.SetProgress(*second, 55);
  table_.SetProgress(*first, 1'000'000);

  const auto progress = table_.Progress(10);

  ASSERT_EQ(progress.size(), 2);
  EXPECT_EQ(progress[0].done_bytes(), 100);
  EXPECT_EQ(progress[1].shard(), 1);
  EXPECT_EQ(progress[1].done_bytes(), 55);
  EXPECT_EQ(table_.Progress(1).size(), 1);
}

TEST_F(AssignmentTableTest, AssignmentWithoutAnIndexIsRefusedWithNothingChanged) {
  Message message = MessageAt(10, true, true);
  AddShard(message, 0);
  AddShard(message, 1);
  message.mutable_assigned(1)->mutable_shard()->clear_index();

  EXPECT_THAT(table_.Apply(message), StatusIs(absl::StatusCode::kInternal));

  EXPECT_EQ(table_.TotalsOf(kDemo).shards, 0);
  EXPECT_EQ(table_.applied_revision(), 0);
}

TEST_F(AssignmentTableTest, OnlyWhatIsWantedIsTakenAndTheRestIsToldOnce) {
  table_.Want({kDemo});
  Message message = MessageAt(10, true, true);
  AddShard(message, 0);
  AddShard(message, 1, 1, "assemblies/other");
  EXPECT_EQ(Apply(message).refused, std::vector<std::string>{"assemblies/other"});
  message = MessageAt(11, false, true);
  AddShard(message, 2, 1, "assemblies/other");
  EXPECT_TRUE(Apply(message).refused.empty());

  EXPECT_EQ(table_.Assemblies(), std::set<std::string>{kDemo});
  EXPECT_TRUE(table_.MayHaveRefused("assemblies/other"));
  EXPECT_FALSE(table_.MayHaveRefused(kDemo));

  table_.Want({kDemo, "assemblies/other"});
  EXPECT_FALSE(table_.MayHaveRefused("assemblies/other"));
  message = MessageAt(12, false, true);
  AddShard(message, 3, 1, "assemblies/other");
  Apply(message);
  EXPECT_EQ(table_.Assemblies().size(), 2u);
}

TEST_F(AssignmentTableTest, WhatIsThereStaysUntilItIsUnassigned) {
  AssignShards(2);
  table_.Want({});
  Message message = MessageAt(11, false, true);
  AddShard(message, 0, 2);
  AddShard(message, 5);
  RemoveShard(message, 1);
  Apply(message);

  ASSERT_EQ(table_.ShardsOf(kDemo).size(), 1u);
  EXPECT_EQ(table_.ShardsOf(kDemo)[0].index(), 0u);
}

TEST_F(AssignmentTableTest, RememberedRefusalsAreBounded) {
  table_.Want({kDemo});
  size_t told = 0;
  for (size_t i = 0; i <= AssignmentTable::kMaxRefused; ++i) {
    Message message = MessageAt(10 + i, i == 0, true);
    AddShard(message, 0, 1, absl::StrCat("assemblies/a", i));
    told += Apply(message).refused.size();
  }
  EXPECT_EQ(told, AssignmentTable::kMaxRefused);
  EXPECT_TRUE(table_.MayHaveRefused("assemblies/never-seen"));
}

}  // namespace
}  // namespace muster
