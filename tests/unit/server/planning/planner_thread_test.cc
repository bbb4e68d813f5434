#include "server/planning/planner_thread.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "muster/store/rows.pb.h"
#include "server/commit/commit_thread.h"
#include "server/commit/tick_thread.h"
#include "server/registry/row_keys.h"
#include "storage/base/mutex.h"
#include "storage/metadata/memory_metadata_store.h"
#include "tests/support/await.h"
#include "tests/support/core_requests.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

TEST(PlannerThreadTest, WantedPlanIsMadeAndApplied) {
  const auto store = NewMemoryMetadataStore(
      {.batch_operations_max = 100, .batch_bytes_max = 1u << 20, .value_bytes_max = 256u << 10});
  FakeClock clock;
  LiveTables live({});
  Registry registry({}, live);
  Feed feed({});
  PlannerThread planner(clock, absl::Milliseconds(100));
  Committer committer(SystemClock(), *store, registry, live, feed, {},
                      [&](AssemblyUid uid) { planner.Want(uid); });
  MUSTER_ASSERT_OK(committer.Load());
  CommitThread thread(committer, [](const absl::Status& status) { ADD_FAILURE() << status; });
  planner.Start(committer, [](const absl::Status& status) { ADD_FAILURE() << status; });
  Mutex mutex;
  CondVar changed;
  bool planned = false;

  Job job;
  job.commands = PublishCommands("models/m/versions/v", 4, 10);
  job.commands.push_back(
      CreateAssemblyRequestOf("assemblies/a", "models/m/versions/v", v1::Assembly::FULL));
  // The versions, shards and assembly take revisions 1 to 7, and the node's is the next one.
  job.commands.push_back(RegisterRequest("nodes/a", 0));
  job.commands.push_back(JoinRequest("assemblies/a", "nodes/a", Epoch(8), v1::Claim::ANY));
  job.done = [&](JobResult result) {
    MUSTER_EXPECT_OK(result.status);
    // The node's uid and epoch are one revision.
    feed.SetListener([&](const std::vector<FeedKey>& touched) {
      if (std::find(touched.begin(), touched.end(), KeyOf(NodeUid(8))) == touched.end()) return;
      MutexLock lock(mutex);
      planned = true;
      changed.NotifyAll();
    });
  };
  committer.Submit(std::move(job));

  MutexLock lock(mutex);
  AwaitOrFail(mutex, changed, "the plan to be applied", [&] { return planned; });
  planner.Stop();
}

// The plan of one assembly takes until that of another one has been made.
TEST(PlannerThreadTest, SlowPlanHoldsUpNoOtherAssembly) {
  const auto store = NewMemoryMetadataStore(
      {.batch_operations_max = 100, .batch_bytes_max = 1u << 20, .value_bytes_max = 256u << 10});
  FakeClock clock;
  LiveTables live({});
  Registry registry({}, live);
  Feed feed({});
  Mutex mutex;
  CondVar changed;
  int slow = 0, quick = 0;
  PlannerThread planner(clock, absl::Milliseconds(100), [&](PlanTask task) {
    const bool is_slow = task.name == "assemblies/a";
    {
      MutexLock lock(mutex);
      if (is_slow) {
        ++slow;
        AwaitOrFail(mutex, changed, "the other plan", [&] { return quick > 0; });
      } else {
        // The slow one is first.
        AwaitOrFail(mutex, changed, "the slow plan to begin", [&] { return slow > 0; });
        ++quick;
      }
      changed.NotifyAll();
    }
    return MakePlanCommands(std::move(task));
  });
  Committer committer(SystemClock(), *store, registry, live, feed, {},
                      [&](AssemblyUid uid) { planner.Want(uid); });
  MUSTER_ASSERT_OK(committer.Load());
  CommitThread thread(committer, [](const absl::Status& status) { ADD_FAILURE() << status; });
  planner.Start(committer, [](const absl::Status& status) { ADD_FAILURE() << status; });
  Job job;
  job.commands = PublishCommands("models/m/versions/v", 4, 10);
  for (const char* assembly : {"assemblies/a", "assemblies/b"}) {
    job.commands.push_back(
        CreateAssemblyRequestOf(assembly, "models/m/versions/v", v1::Assembly::FULL));
  }
  // The version, its shards and the assemblies take revisions 1 to 8.
  job.commands.push_back(RegisterRequest("nodes/a", 0));
  for (const char* assembly : {"assemblies/a", "assemblies/b"}) {
    job.commands.push_back(JoinRequest(assembly, "nodes/a", Epoch(9), v1::Claim::ANY));
  }
  job.done = [&](const JobResult& result) { MUSTER_EXPECT_OK(result.status); };
  committer.Submit(std::move(job));
  {
    MutexLock lock(mutex);
    AwaitOrFail(mutex, changed, "both plans", [&] { return slow > 0 && quick > 0; });
  }
  planner.Stop();
}

// Its plan takes eight steps, in two jobs.
TEST(PlannerThreadTest, BigPlanIsInBeforeItsAssemblyIsPlannedAgain) {
  constexpr uint64_t kNodes = 300;
  const auto store = NewMemoryMetadataStore(
      {.batch_operations_max = 100, .batch_bytes_max = 1u << 20, .value_bytes_max = 256u << 10});
  FakeClock clock;
  LiveTables live({});
  Registry registry({}, live);
  Feed feed({});
  Mutex mutex;
  CondVar changed;
  // Of each plan: the members that have something when it is begun.
  std::vector<uint64_t> holders;
  PlannerThread planner(clock, absl::ZeroDuration(), [&](PlanTask task) {
    MutexLock lock(mutex);
    holders.push_back(static_cast<uint64_t>(
        std::count_if(task.taken.begin(), task.taken.end(),
                      [](const auto& taken) { return !taken.assignments.empty(); })));
    changed.NotifyAll();
    return MakePlanCommands(std::move(task));
  });
  Committer committer(SystemClock(), *store, registry, live, feed, {},
                      [&](AssemblyUid uid) { planner.Want(uid); });
  MUSTER_ASSERT_OK(committer.Load());
  CommitThread thread(committer, [](const absl::Status& status) { ADD_FAILURE() << status; });
  planner.Start(committer, [](const absl::Status& status) { ADD_FAILURE() << status; });
  Job job;
  job.commands = PublishCommands("models/m/versions/v", 1, 10);
  v1::CreateAssemblyRequest create =
      CreateAssemblyRequestOf("assemblies/a", "models/m/versions/v", v1::Assembly::FULL);
  create.mutable_assembly()->set_min_nodes(kNodes);
  job.commands.push_back(create);
  // The version with its shard takes revisions 1 to 3, the assembly 4.
  for (uint64_t i = 0; i < kNodes; ++i) {
    job.commands.push_back(RegisterRequest(absl::StrCat("nodes/n", i), 0));
  }
  for (uint64_t i = 0; i < kNodes; ++i) {
    job.commands.push_back(
        JoinRequest("assemblies/a", absl::StrCat("nodes/n", i), Epoch(5 + i), v1::Claim::ANY));
  }
  job.done = [&](const JobResult& result) { MUSTER_EXPECT_OK(result.status); };
  committer.Submit(std::move(job));
  {
    MutexLock lock(mutex);
    AwaitOrFail(mutex, changed, "the first plan", [&] { return !holders.empty(); });
  }
  planner.Want(AssemblyUid(4));
  {
    MutexLock lock(mutex);
    AwaitOrFail(mutex, changed, "the second plan", [&] { return holders.size() > 1; });
    EXPECT_EQ(holders[0], 0u);
    EXPECT_EQ(holders[1], kNodes) << "not before the first one is in as a whole";
  }
  planner.Stop();
}

// Goal: an assembly that can't be planned says so. A store of 0.1.0 may hold such a version.
TEST(PlannerThreadTest, PlanThatCannotBeMadeIsAReasonUntilSomethingChanges) {
  CoreUnderTest core;
  MUSTER_ASSERT_OK(core.Do(PublishCommands("models/m/versions/v", 2, 10)).status);
  MUSTER_ASSERT_OK(
      core.Do(CreateAssemblyRequestOf("assemblies/a", "models/m/versions/v", v1::Assembly::FULL))
          .status);
  core.AddNode("nodes/a", 0);
  core.Join("assemblies/a", "nodes/a", v1::Claim::ANY);
  const VersionUid uid = core.AssemblyOf("assemblies/a").version().uid;
  MetadataBatch batch;
  for (const uint32_t shard : {0u, 1u}) {
    const std::string key = ShardKey(uid, ShardIndex(shard));
    store::ShardRow row;
    ASSERT_TRUE(row.ParseFromString(*core.server().store().Get(key)));
    row.set_content_size_bytes(uint64_t{1} << 62);
    batch.operations.push_back(MetadataBatch::Put{key, row.SerializeAsString()});
  }
  MUSTER_ASSERT_OK(core.server().store().Commit(batch));
  core.server().Stop();
  FakeClock clock;
  LiveTables live({});
  Registry registry({}, live);
  Feed feed({});
  PlannerThread planner(clock, absl::Milliseconds(100));
  Committer committer(SystemClock(), core.server().store(), registry, live, feed, {},
                      [&](AssemblyUid assembly) { planner.Want(assembly); });
  MUSTER_ASSERT_OK(committer.Load());
  CommitThread thread(committer, [](const absl::Status& status) { ADD_FAILURE() << status; });
  std::atomic<int> failures = 0;
  const auto first_reason = [&] {
    v1::AssemblyReason reason;
    committer.Read(
        [&](const Registry& read) {
          const v1::Assembly shown =
              read.DescribeAssembly(**read.assemblies().Find("assemblies/a"));
          if (shown.reasons_size() > 0) reason = shown.reasons(0);
        },
        [](Revision) {});
    return reason;
  };

  planner.Start(committer, [&](const absl::Status&) { ++failures; });

  AwaitOrFail("the reason",
              [&] { return first_reason().code() == v1::AssemblyReason::PLAN_FAILED; });
  EXPECT_THAT(first_reason().message(), testing::HasSubstr("the shards add up to more than"));
  EXPECT_EQ(failures, 1) << "tried again though nothing has changed";
  planner.Stop();
}

TEST(TickThreadTest, TickBringsTheTimeAndExpiresLeases) {
  CoreUnderTest core;
  core.AddNode("nodes/a", 0);
  for (int i = 0; i < 10; ++i) core.AdvanceAndTick(absl::Seconds(1));
  EXPECT_TRUE((*core.registry().nodes().Find("nodes/a"))->live());

  core.AdvanceAndTick(absl::Milliseconds(100));

  EXPECT_FALSE((*core.registry().nodes().Find("nodes/a"))->live());
}

TEST(TickThreadTest, StallGivesEveryLeaseItsWholeTtl) {
  CoreUnderTest core;
  core.AddNode("nodes/a", 0);
  core.AdvanceAndTick(absl::Seconds(60));
  EXPECT_TRUE((*core.registry().nodes().Find("nodes/a"))->live());
  for (int i = 0; i < 10; ++i) core.AdvanceAndTick(absl::Seconds(1));
  EXPECT_TRUE((*core.registry().nodes().Find("nodes/a"))->live());

  core.AdvanceAndTick(absl::Milliseconds(100));

  EXPECT_FALSE((*core.registry().nodes().Find("nodes/a"))->live());
}

TEST(TickThreadTest, HeartbeatBetweenTheTickAndItsCommitKeepsTheLease) {
  CoreUnderTest core;
  const Epoch epoch = core.AddNode("nodes/a", 0);
  for (int i = 0; i < 10; ++i) core.AdvanceAndTick(absl::Seconds(1));
  core.clock().Advance(absl::Milliseconds(100));
  core.server().SubmitTick();
  v1::HeartbeatRequest beat;
  beat.set_name("nodes/a");
  beat.set_epoch(epoch.value);

  MUSTER_ASSERT_OK(core.server().leases().Heartbeat(beat).status());
  MUSTER_ASSERT_OK(core.server().Run());

  EXPECT_TRUE((*core.registry().nodes().Find("nodes/a"))->live());
}

}  // namespace
}  // namespace muster
