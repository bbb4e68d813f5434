#include "server/registry/event_log.h"

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/registry/event_rows.h"
#include "server/registry/row_keys.h"
#include "storage/metadata/memory_metadata_store.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<MetadataStore::Row> AllRowsOf(MetadataStore& store) {
  auto rows = store.Scan("", std::string(64, '\xff'), 1'000'000);
  MUSTER_EXPECT_OK(rows);
  return *std::move(rows);
}

// "KIND node assembly version shards: old > new (cause)", without what is empty.
std::string TextOf(const v1::Event& event) {
  std::string out = v1::Event::Kind_Name(event.kind());
  for (const std::string* name : {&event.node(), &event.assembly(), &event.model_version()}) {
    if (!name->empty()) absl::StrAppend(&out, " ", *name);
  }
  if (event.shard_count() > 0) absl::StrAppend(&out, " [", absl::StrJoin(event.shards(), ","), "]");
  absl::StrAppend(&out, ": ", event.old_state(), " > ", event.new_state());
  return absl::StrCat(out, " (", event.cause(), ")");
}

std::vector<v1::Event> StoredIn(MetadataStore& store, uint64_t after = 0) {
  std::vector<v1::Event> out;
  for (const MetadataStore::Row& row : AllRowsOf(store)) {
    const auto revision = ParseEventsKey(row.key);
    if (!revision.has_value() || revision->value <= after) continue;
    auto told = UnpackTold(*revision, row.value);
    MUSTER_EXPECT_OK(told);
    for (v1::Event& event : *told) out.push_back(std::move(event));
  }
  return out;
}

class EventsOfCommandsTest : public testing::Test {
 protected:
  // What was logged since the last call.
  std::vector<std::string> Told() {
    std::vector<std::string> out;
    for (const v1::Event& event : StoredIn(core_.store(), seen_)) out.push_back(TextOf(event));
    seen_ = core_.revision().value;
    return out;
  }
  // A READY assembly of two shards on nodes/a.
  void SetUpReady() {
    core_.Publish(kVersion, 2);
    MUSTER_ASSERT_OK(core_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
    epoch_ = core_.Register("nodes/a");
    MUSTER_ASSERT_OK(core_.Do(Join(kAssembly, "nodes/a", epoch_)));
    generation_ = core_.Plan(kAssembly, {{"nodes/a", {0, 1}}});
    MUSTER_ASSERT_OK(core_.Do(Report(kAssembly, "nodes/a", epoch_, generation_, {0, 1})));
    Told();
  }

  RegistryFixture core_;
  uint64_t seen_ = 0;
  uint64_t epoch_ = 0;
  uint64_t generation_ = 0;
};

TEST_F(EventsOfCommandsTest, LifeOfAModelVersionIsTold) {
  core_.Publish(kVersion, 2);
  MUSTER_ASSERT_OK(core_.Do(DeleteVersion(kVersion)));

  EXPECT_THAT(
      Told(),
      ElementsAre(
          "VERSION_CREATED models/llama/versions/v1 []:  > DRAFT (CreateModelVersion)",
          "VERSION_COMMITTED models/llama/versions/v1 []: DRAFT > COMMITTED (CommitModelVersion)",
          "VERSION_DELETED models/llama/versions/v1 []: COMMITTED > GONE (DeleteModelVersion)"));
}

TEST_F(EventsOfCommandsTest, LifeOfANodeIsTold) {
  core_.Register("nodes/a");
  core_.SetLost("nodes/a", true);
  core_.SetLost("nodes/a", false);
  core_.Register("nodes/a");
  MUSTER_ASSERT_OK(core_.Do(DeregisterNode("nodes/a")));

  EXPECT_THAT(Told(), ElementsAre("NODE_REGISTERED nodes/a:  > LIVE (RegisterNode)",
                                  "NODE_LOST nodes/a: LIVE > LOST (lease expired)",
                                  "NODE_REVIVED nodes/a: LOST > LIVE (Heartbeat)",
                                  "NODE_REGISTERED nodes/a: LIVE > LIVE (RegisterNode)",
                                  "NODE_REMOVED nodes/a: LIVE > GONE (DeregisterNode)"));
}

TEST_F(EventsOfCommandsTest, ReleaseOfALostNodeIsTold) {
  core_.Register("nodes/a");
  core_.SetLost("nodes/a", true);
  Told();
  const Node* node = *std::as_const(core_.registry().nodes()).Find("nodes/a");

  MUSTER_ASSERT_OK(core_.Do(ReleaseNode{node->uid, node->epoch()}));

  EXPECT_THAT(Told(), ElementsAre("NODE_RELEASED nodes/a: LOST > RELEASED (move grace over)"));
}

TEST_F(EventsOfCommandsTest, WayOfAnAssemblyToReadyIsTold) {
  core_.Publish(kVersion, 2);
  epoch_ = core_.Register("nodes/a");
  Told();

  MUSTER_ASSERT_OK(core_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
  MUSTER_ASSERT_OK(core_.Do(Join(kAssembly, "nodes/a", epoch_)));
  const uint64_t generation = core_.Plan(kAssembly, {{"nodes/a", {0, 1}}});
  MUSTER_ASSERT_OK(core_.Do(Report(kAssembly, "nodes/a", epoch_, generation, {0})));
  MUSTER_ASSERT_OK(core_.Do(Report(kAssembly, "nodes/a", epoch_, generation, {1})));

  const std::string names = " assemblies/demo models/llama/versions/v1";
  EXPECT_THAT(
      Told(),
      ElementsAre(
          absl::StrCat("ASSEMBLY_CREATED", names, ":  > WAITING (CreateAssembly)"),
          absl::StrCat("MEMBER_JOINED nodes/a", names, ":  >  (JoinAssembly)"),
          absl::StrCat("ASSEMBLY_STATE", names, ": WAITING > LOADING (JoinAssembly)"),
          absl::StrCat("PLAN_APPLIED", names, " []: 0 > ", generation, " (plan)"),
          absl::StrCat("SHARDS_ASSIGNED nodes/a", names, " [0,1]:  >  (plan)"),
          absl::StrCat("SHARDS_REPORTED nodes/a", names, " [0]: PENDING > READY (ReportShards)"),
          absl::StrCat("SHARDS_REPORTED nodes/a", names, " [1]: PENDING > READY (ReportShards)"),
          absl::StrCat("ASSEMBLY_STATE", names, ": LOADING > READY (ReportShards)")));
}

TEST_F(EventsOfCommandsTest, LossLeaveAndDeletionOfAReadyAssemblyAreTold) {
  SetUpReady();
  core_.SetLost("nodes/a", true);
  MUSTER_ASSERT_OK(core_.Do(Leave(kAssembly, "nodes/a")));
  MUSTER_ASSERT_OK(core_.Do(DeleteAssembly(kAssembly)));

  const std::string names = " assemblies/demo models/llama/versions/v1";
  EXPECT_THAT(
      Told(),
      ElementsAre("NODE_LOST nodes/a: LIVE > LOST (lease expired)",
                  absl::StrCat("ASSEMBLY_STATE", names, ": READY > DEGRADED (lease expired)"),
                  absl::StrCat("MEMBER_LEFT nodes/a", names, ":  >  (LeaveAssembly)"),
                  absl::StrCat("ASSEMBLY_STATE", names, ": DEGRADED > WAITING (LeaveAssembly)"),
                  absl::StrCat("SHARDS_UNASSIGNED nodes/a", names, " [0,1]:  >  (LeaveAssembly)"),
                  absl::StrCat("ASSEMBLY_DELETED", names, ": WAITING > GONE (DeleteAssembly)")));
}

TEST_F(EventsOfCommandsTest, ReportsOfOneCallShareAnEventPerChangeOfState) {
  SetUpReady();
  auto report = Report(kAssembly, "nodes/a", epoch_, generation_, {0, 1});
  for (auto& one : *report.mutable_reports()) one.set_state(v1::ShardReport::FETCHING);
  MUSTER_ASSERT_OK(core_.Do(report));

  const std::vector<std::string> told = Told();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_THAT(told[0], testing::HasSubstr("[0,1]: READY > FETCHING"));
}

TEST_F(EventsOfCommandsTest, FailureIsToldWithItsReason) {
  SetUpReady();
  auto report = Report(kAssembly, "nodes/a", epoch_, generation_, {1});
  report.mutable_reports(0)->set_state(v1::ShardReport::FAILED);
  report.mutable_reports(0)->mutable_failure()->set_code(v1::ShardFailure::MISSING);
  report.mutable_reports(0)->mutable_failure()->set_message("no such object");
  MUSTER_ASSERT_OK(core_.Do(report));

  const std::vector<v1::Event> events = StoredIn(core_.store(), seen_);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind(), v1::Event::SHARD_FAILED);
  EXPECT_EQ(events[0].message(), "MISSING no such object");
  EXPECT_EQ(events[0].old_state(), "READY");
  EXPECT_EQ(events[1].kind(), v1::Event::ASSEMBLY_STATE);
  EXPECT_THAT(events[1].message(), testing::HasSubstr("a: MISSING no such object (shard 1)"));
}

TEST_F(EventsOfCommandsTest, WhatChangesNothingTellsNothing) {
  SetUpReady();

  MUSTER_ASSERT_OK(core_.Do(Report(kAssembly, "nodes/a", epoch_, generation_, {0, 1})));
  EXPECT_FALSE(core_.Do(Leave("assemblies/none", "nodes/a")).ok());
  core_.TickTo(2 * kSecondUs);

  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(EventsOfCommandsTest, StateBeforeARestartIsTheOldState) {
  SetUpReady();
  MUSTER_ASSERT_OK(core_.Restart());

  core_.SetLost("nodes/a", true);

  EXPECT_THAT(Told()[1], testing::HasSubstr("READY > DEGRADED"));
}

// The log alone, over a store.
class EventLogTest : public testing::Test {
 protected:
  explicit EventLogTest() { Reset({}); }

  void Reset(const EventLog::Options& options) {
    options_ = options;
    log_ = std::make_unique<EventLog>(options);
    store_ = NewMemoryMetadataStore({100, 1u << 20, 256u << 10});
    revision_ = Revision(0);
  }
  void Commit(Transaction& tx) {
    MetadataBatch batch;
    batch.operations = tx.TakeOperations();
    for (const MetadataBatch::Operation& operation : batch.operations) {
      const auto* range = std::get_if<MetadataBatch::DeleteRange>(&operation);
      if (range != nullptr) ranges_.push_back(*range);
    }
    MUSTER_ASSERT_OK(store_->Commit(batch));
    revision_ = tx.revision();
  }
  void Tell(int64_t time_us, int events = 1) {
    Transaction tx(revision_, time_us, "test");
    for (int i = 0; i < events; ++i) {
      v1::Event event;
      event.set_kind(v1::Event::NODE_LOST);
      event.set_node(absl::StrCat("nodes/n", i));
      tx.Tell(std::move(event));
    }
    log_->Append(tx);
    Commit(tx);
  }
  void Tick(int64_t time_us) {
    Transaction tx(revision_, time_us);
    log_->Tick(tx);
    EXPECT_FALSE(tx.changed());
    Commit(tx);
  }
  // Another log, loaded from the store.
  std::unique_ptr<EventLog> Loaded() {
    auto log = std::make_unique<EventLog>(options_);
    for (const MetadataStore::Row& row : AllRowsOf(*store_)) {
      if (row.key != EventLogKey()) continue;
      store::EventLogRow head;
      EXPECT_TRUE(head.ParseFromString(row.value));
      log->LoadHead(head);
    }
    for (const MetadataStore::Row& row : AllRowsOf(*store_)) {
      const auto last = ParseEventRunKey(row.key);
      if (!last.has_value()) continue;
      store::EventRunRow run;
      EXPECT_TRUE(run.ParseFromString(row.value));
      log->LoadRun(*last, run);
    }
    const Revision begin = log->loaded_runs_end();
    for (const MetadataStore::Row& row : AllRowsOf(*store_)) {
      const auto revision = ParseEventsKey(row.key);
      if (!revision.has_value() || *revision <= begin) continue;
      MUSTER_EXPECT_OK(log->LoadEvents(*revision, row.key.size(), row.value));
    }
    log->FinishLoad(revision_);
    return log;
  }

  EventLog::Options options_;
  std::unique_ptr<EventLog> log_;
  std::unique_ptr<MetadataStore> store_;
  Revision revision_;
  // Deleted so far.
  std::vector<MetadataBatch::DeleteRange> ranges_;
};

// Those that all begin at one key cost the readers of the store the square of their number.
TEST_F(EventLogTest, EachRangeThatIsDeletedBeginsWhereTheLastOneEnded) {
  Reset({.max_events = 128});
  for (int i = 0; i < 1'000; ++i) {
    Tell(1);
    Tick(1);
    // What a restart knows is enough.
    if (i == 500) log_ = Loaded();
  }

  ASSERT_GT(ranges_.size(), 100u);
  for (size_t i = 1; i < ranges_.size(); ++i) EXPECT_EQ(ranges_[i].begin, ranges_[i - 1].end) << i;
  for (const MetadataStore::Row& row : AllRowsOf(*store_)) {
    const auto run = ParseEventRunKey(row.key);
    EXPECT_TRUE(!run.has_value() || *run > log_->compacted());
  }
}

TEST_F(EventLogTest, OldestGoBeyondTheNumberThatIsKept) {
  Reset({.max_events = 128});
  for (int i = 0; i < 1'000; ++i) Tell(1);
  for (int i = 0; i < 60; ++i) Tick(1);

  const auto events = StoredIn(*store_);
  EXPECT_LE(events.size(), 128u);
  EXPECT_GE(events.size(), 120u);
  EXPECT_EQ(events.front().revision(), log_->compacted().value + 1);
  EXPECT_EQ(events.back().revision(), 1'000u);
}

TEST_F(EventLogTest, OldestGoBeyondTheAgeThatIsKept) {
  Reset({.max_age_us = 64 * kSecondUs});
  for (int second = 1; second <= 200; ++second) {
    Tell(second * kSecondUs);
    Tick(second * kSecondUs);
  }

  const auto events = StoredIn(*store_);
  EXPECT_GE(events.front().time().seconds(), 200 - 64 - 3);
  EXPECT_LE(events.front().time().seconds(), 200 - 64);
}

TEST_F(EventLogTest, LastEventsOfAQuietServerGoToo) {
  Reset({.max_age_us = 64 * kSecondUs});
  Tell(kSecondUs);
  Tick(100 * kSecondUs);
  Tick(200 * kSecondUs);

  EXPECT_THAT(StoredIn(*store_), IsEmpty());
  EXPECT_EQ(log_->compacted(), Revision(1));
}

TEST_F(EventLogTest, OldestGoBeyondTheBytesThatAreKept) {
  Reset({.max_bytes = 8u << 20});
  for (int i = 0; i < 200; ++i) Tell(1, 4'000);
  for (int i = 0; i < 60; ++i) Tick(1);

  size_t bytes = 0;
  for (const MetadataStore::Row& row : AllRowsOf(*store_))
    bytes += row.key.size() + row.value.size();
  // The rows of the runs and the head come on top.
  EXPECT_LE(bytes, (8u << 20) + (64u << 10));
  EXPECT_GE(bytes, 4u << 20);
}

TEST_F(EventLogTest, TickDropsABoundedPart) {
  Reset({.max_events = 64});
  for (int i = 0; i < 1'000; ++i) Tell(1);

  Tick(1);

  EXPECT_EQ(log_->compacted(), Revision(16));
}

TEST_F(EventLogTest, LoadedLogGoesOnAsTheOneBefore) {
  Reset({.max_events = 640});
  for (int i = 1; i <= 1'003; ++i) {
    Tell(i);
    if (i % 7 == 0) Tick(i);
  }
  const std::unique_ptr<EventLog> loaded = Loaded();
  EXPECT_EQ(loaded->Entries(), log_->Entries());
  EXPECT_EQ(loaded->compacted(), log_->compacted());

  // The same rows follow.
  for (int i = 0; i < 50; ++i) {
    for (const bool tick : {false, true}) {
      Transaction a(revision_, 2'000 + i, "test"), b(revision_, 2'000 + i, "test");
      v1::Event event;
      event.set_kind(v1::Event::NODE_LOST);
      if (!tick) a.Tell(event);
      if (!tick) b.Tell(event);
      tick ? log_->Tick(a) : log_->Append(a);
      tick ? loaded->Tick(b) : loaded->Append(b);
      EXPECT_EQ(a.row_count(), b.row_count());
      EXPECT_EQ(a.bytes(), b.bytes());
      Commit(a);
    }
  }
  EXPECT_EQ(loaded->Entries(), log_->Entries());
}

TEST_F(EventLogTest, StoreWithoutALogBeginsItWhereItIs) {
  EventLog log({});
  log.FinishLoad(Revision(77));

  EXPECT_EQ(log.compacted(), Revision(77));
}

TEST(EventLogRunsTest, ReaderIsFarBehindAfterTenThousandEvents) {
  EventLog log(EventLog::Options{});
  store::EventRunRow run;
  run.set_events(4'000);
  for (uint64_t last = 100; last <= 500; last += 100) log.LoadRun(Revision(last), run);

  EXPECT_EQ(log.TailBegin(), Revision(300));
  EXPECT_FALSE(log.IsFarBehind(Revision(500)));
  EXPECT_FALSE(log.IsFarBehind(Revision(300)));
  // It is within a run of which nobody knows how much lies behind.
  EXPECT_FALSE(log.IsFarBehind(Revision(201)));
  EXPECT_TRUE(log.IsFarBehind(Revision(200)));
  EXPECT_TRUE(log.IsFarBehind(Revision(1)));
}

TEST(EventLogRunsTest, ReaderIsFarBehindAfterManyBytes) {
  EventLog log(EventLog::Options{});
  store::EventRunRow run;
  run.set_bytes(9u << 20);
  for (uint64_t last = 100; last <= 300; last += 100) log.LoadRun(Revision(last), run);

  EXPECT_FALSE(log.IsFarBehind(Revision(200)));
  EXPECT_TRUE(log.IsFarBehind(Revision(100)));
}

}  // namespace
}  // namespace muster
