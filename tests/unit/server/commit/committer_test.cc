#include "server/commit/committer.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/commit/commit_thread.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/metadata/memory_metadata_store.h"
#include "tests/support/await.h"
#include "tests/support/core_requests.h"
#include "tests/support/fault_injecting_metadata_store.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr MetadataStore::Limits kLimits = {
    .batch_operations_max = 100, .batch_bytes_max = 1u << 20, .value_bytes_max = 256u << 10};

// A store whose commits wait until the test lets them go.
class BlockingMetadataStore final : public MetadataStore {
 public:
  explicit BlockingMetadataStore(MetadataStore& wrapped) : wrapped_(wrapped) {}

  // Lets `count` more commits go.
  void Release(int count) {
    MutexLock lock(mutex_);
    released_ += count;
    changed_.NotifyAll();
  }
  // Waits until a commit waits.
  void AwaitCommit() {
    MutexLock lock(mutex_);
    AwaitOrFail(mutex_, changed_, "a commit", [this] { return waiting_; });
  }
  int commits() {
    MutexLock lock(mutex_);
    return commits_;
  }

  Limits limits() const override { return wrapped_.limits(); }
  absl::StatusOr<std::string> Get(absl::string_view key) override { return wrapped_.Get(key); }
  absl::StatusOr<std::vector<Row>> Scan(absl::string_view begin, absl::string_view end,
                                        size_t limit) override {
    return wrapped_.Scan(begin, end, limit);
  }
  absl::Status Commit(const MetadataBatch& batch) override {
    {
      MutexLock lock(mutex_);
      waiting_ = true;
      changed_.NotifyAll();
      AwaitOrFail(
          mutex_, changed_, "Release", [this] { return released_ > 0; }, kPatienceOfFakes);
      --released_;
      ++commits_;
      waiting_ = false;
    }
    return wrapped_.Commit(batch);
  }
  absl::Status CheckLeadership() override { return wrapped_.CheckLeadership(); }
  absl::StatusOr<std::optional<int64_t>> FreeBytes() override { return wrapped_.FreeBytes(); }

 private:
  MetadataStore& wrapped_;
  Mutex mutex_;
  CondVar changed_;
  int released_ MUSTER_GUARDED_BY(mutex_) = 0;
  int commits_ MUSTER_GUARDED_BY(mutex_) = 0;
  bool waiting_ MUSTER_GUARDED_BY(mutex_) = false;
};

// Set once, by any thread.
class Flag {
 public:
  void Set() {
    MutexLock lock(mutex_);
    set_ = true;
    changed_.NotifyAll();
  }
  void Await(absl::string_view what) {
    MutexLock lock(mutex_);
    AwaitOrFail(mutex_, changed_, what, [this] { return set_; });
  }
  bool is_set() {
    MutexLock lock(mutex_);
    return set_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool set_ MUSTER_GUARDED_BY(mutex_) = false;
};

struct Core {
  explicit Core(MetadataStore& store, size_t queue_limit = 100, size_t queue_bytes = 64 << 20)
      : live({}),
        registry({}, live),
        feed({}),
        committer(SystemClock(), store, registry, live, feed, {queue_limit, queue_bytes},
                  [](AssemblyUid) {}) {
    MUSTER_EXPECT_OK(committer.Load());
  }

  LiveTables live;
  Registry registry;
  Feed feed;
  Committer committer;
};

Job RegisterJob(absl::string_view node, std::function<void(JobResult)> done) {
  Job job;
  job.commands.push_back(RegisterRequest(node, 0));
  job.done = std::move(done);
  return job;
}

TEST(CommitterTest, JobIsAnsweredOnlyAfterItsCommit) {
  const auto memory = NewMemoryMetadataStore(kLimits);
  BlockingMetadataStore store(*memory);
  Core core(store);
  Flag answered;
  CommitThread thread(core.committer, [](const absl::Status&) {});

  core.committer.Submit(RegisterJob("nodes/a", [&](JobResult) { answered.Set(); }));
  store.AwaitCommit();
  EXPECT_FALSE(answered.is_set());
  EXPECT_EQ(core.committer.durable(), Revision(0));

  store.Release(1);
  answered.Await("the answer to the job");
  EXPECT_TRUE(memory->Get("!revision").ok());
}

TEST(CommitterTest, ReadThatSeesAnUnstoredStateWaitsForIt) {
  const auto memory = NewMemoryMetadataStore(kLimits);
  BlockingMetadataStore store(*memory);
  Core core(store);
  Flag answered;
  Revision seen;
  CommitThread thread(core.committer, [](const absl::Status&) {});
  core.committer.Submit(RegisterJob("nodes/a", [](JobResult) {}));
  store.AwaitCommit();

  core.committer.Read([&](const Registry& registry) { seen = registry.revision(); },
                      [&](Revision durable) {
                        EXPECT_GE(durable, Revision(1));
                        answered.Set();
                      });
  EXPECT_EQ(seen, Revision(1));
  EXPECT_FALSE(answered.is_set());

  store.Release(1);
  answered.Await("the answer to the read");
}

TEST(CommitterTest, ReadOfAStoredStateIsAnsweredAtOnce) {
  const auto store = NewMemoryMetadataStore(kLimits);
  Core core(*store);
  bool answered = false;

  core.committer.Read([](const Registry&) {}, [&](Revision) { answered = true; });

  EXPECT_TRUE(answered);
}

TEST(CommitterTest, WhatQueuesUpDuringACommitIsOneBatchInOrder) {
  const auto memory = NewMemoryMetadataStore(kLimits);
  BlockingMetadataStore store(*memory);
  Core core(store);
  Flag last;
  std::vector<int> order;
  CommitThread thread(core.committer, [](const absl::Status&) {});
  core.committer.Submit(RegisterJob("nodes/first", [](JobResult) {}));
  store.AwaitCommit();
  for (int i = 0; i < 20; ++i) {
    core.committer.Submit(RegisterJob(absl::StrCat("nodes/n", i), [&, i](JobResult result) {
      MUSTER_EXPECT_OK(result.status);
      order.push_back(i);
      if (i == 19) last.Set();
    }));
  }

  store.Release(2);
  last.Await("the answer to the last job");

  EXPECT_EQ(store.commits(), 2);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(order[i], i);
}

TEST(CommitterTest, FullQueueRefusesJobsButNotTheServersOwn) {
  const auto store = NewMemoryMetadataStore(kLimits);
  Core core(*store, 2);
  std::vector<absl::Status> statuses;
  const auto done = [&](JobResult result) { statuses.push_back(result.status); };
  core.committer.Submit(RegisterJob("nodes/a", done));
  core.committer.Submit(RegisterJob("nodes/b", done));

  core.committer.Submit(RegisterJob("nodes/c", done));

  ASSERT_EQ(statuses.size(), 1u);
  EXPECT_THAT(statuses[0], ErrorIs(absl::StatusCode::kResourceExhausted, "QUEUE_FULL"));
  EXPECT_TRUE(DetailOf(statuses[0]).retry_delay.has_value());
  core.committer.SubmitInternal(RegisterJob("nodes/d", done));
  MUSTER_EXPECT_OK(core.committer.RunOnce());
  ASSERT_EQ(statuses.size(), 4u);
  for (size_t i = 1; i < 4; ++i) MUSTER_EXPECT_OK(statuses[i]);
}

TEST(CommitterTest, StopRefusesFurtherJobsAndFinishesThoseThatWait) {
  const auto store = NewMemoryMetadataStore(kLimits);
  Core core(*store);
  std::vector<absl::Status> statuses;
  const auto done = [&](JobResult result) { statuses.push_back(result.status); };
  core.committer.Submit(RegisterJob("nodes/a", done));

  core.committer.Stop();
  core.committer.Submit(RegisterJob("nodes/b", done));

  ASSERT_EQ(statuses.size(), 1u);
  EXPECT_THAT(statuses[0], ErrorIs(absl::StatusCode::kUnavailable, "SHUTTING_DOWN"));
  EXPECT_TRUE(core.committer.WaitForWork());
  MUSTER_EXPECT_OK(core.committer.RunOnce());
  EXPECT_FALSE(core.committer.WaitForWork());
  ASSERT_EQ(statuses.size(), 2u);
  MUSTER_EXPECT_OK(statuses[1]);
}

TEST(CommitterTest, JobsBeyondTheBytesOfTheQueueAreRefused) {
  const auto store = NewMemoryMetadataStore(kLimits);
  Core core(*store, 100, 100'000);
  std::vector<absl::Status> statuses;
  const auto submit = [&](const std::string& node) {
    Job job = RegisterJob(node, [&](JobResult result) { statuses.push_back(result.status); });
    std::get<v1::RegisterNodeRequest>(job.commands[0]).set_cached_digests(std::string(64'000, 'd'));
    core.committer.Submit(std::move(job));
  };
  submit("nodes/a");
  EXPECT_TRUE(statuses.empty());
  submit("nodes/b");
  ASSERT_EQ(statuses.size(), 1u);
  EXPECT_THAT(statuses[0], ErrorIs(absl::StatusCode::kResourceExhausted, "QUEUE_FULL"));
  core.committer.SubmitInternal(RegisterJob("nodes/own", [](JobResult) {}));

  MUSTER_ASSERT_OK(core.committer.RunOnce());

  submit("nodes/b");
  MUSTER_ASSERT_OK(core.committer.RunOnce());
  ASSERT_EQ(statuses.size(), 3u);
  MUSTER_EXPECT_OK(statuses[1]);
  MUSTER_EXPECT_OK(statuses[2]);
}

TEST(CommitterTest, FailingStoreAnswersNobodyAndEndsTheProcess) {
  const auto memory = NewMemoryMetadataStore(kLimits);
  FaultInjectingMetadataStore store(*memory);
  Core core(store);
  store.FailCommit(1, FaultInjectingMetadataStore::Fault::kAfterApply);
  std::atomic<int> answers = 0;
  Flag fatal;
  core.committer.Submit(RegisterJob("nodes/a", [&](JobResult) { ++answers; }));
  {
    CommitThread thread(core.committer, [&](const absl::Status& status) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
      fatal.Set();
    });
    fatal.Await("the fatal error");
    core.committer.Read([](const Registry&) {}, [&](Revision) { ++answers; });
  }
  EXPECT_EQ(answers, 0);
}

TEST(CommitterTest, LostLeadershipAnswersNobody) {
  const auto memory = NewMemoryMetadataStore(kLimits);
  FaultInjectingMetadataStore store(*memory);
  Core core(store);
  store.LoseLeadership();
  int answers = 0;
  // It changes nothing, so that there is nothing to commit either.
  v1::RegisterNodeRequest check = RegisterRequest("nodes/a", 0);
  check.set_validate_only(true);
  Job job;
  job.commands.push_back(check);
  job.done = [&](JobResult) { ++answers; };
  core.committer.Submit(std::move(job));

  EXPECT_THAT(core.committer.RunOnce(), StatusIs(absl::StatusCode::kAborted));

  EXPECT_EQ(answers, 0);
}

TEST(CommitterTest, JobEndsAtItsFirstFailure) {
  const auto store = NewMemoryMetadataStore(kLimits);
  Core core(*store);
  Job job;
  job.commands = {RegisterRequest("nodes/a", 0), RegisterRequest("bad name", 0),
                  RegisterRequest("nodes/b", 0)};
  JobResult result;
  job.done = [&](JobResult answer) { result = std::move(answer); };
  core.committer.Submit(std::move(job));

  MUSTER_ASSERT_OK(core.committer.RunOnce());

  EXPECT_THAT(result.status, ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_NAME"));
  EXPECT_EQ(result.changed, 1u);
  EXPECT_TRUE(core.registry.nodes().Find("nodes/a").ok());
  EXPECT_FALSE(core.registry.nodes().Find("nodes/b").ok());
}

TEST(CommitterTest, GroupBeyondTheStoresLimitsBecomesSeveralBatches) {
  const auto memory = NewMemoryMetadataStore(kLimits);
  FaultInjectingMetadataStore store(*memory);
  Core core(store);
  int answers = 0;
  for (int i = 0; i < 250; ++i) {
    core.committer.SubmitInternal(
        RegisterJob(absl::StrCat("nodes/n", i), [&](JobResult) { ++answers; }));
  }

  MUSTER_ASSERT_OK(core.committer.RunOnce());

  EXPECT_EQ(answers, 250);
  // Two rows each: the node's and its event's.
  EXPECT_EQ(store.commits(), 6u);
  EXPECT_EQ(core.committer.durable(), Revision(250));
}

TEST(CommitterTest, LoadGoesOnWhereTheStoreEnds) {
  const auto store = NewMemoryMetadataStore(kLimits);
  {
    Core core(*store);
    core.committer.Submit(RegisterJob("nodes/a", [](JobResult) {}));
    MUSTER_ASSERT_OK(core.committer.RunOnce());
  }

  Core core(*store);
  EXPECT_EQ(core.committer.durable(), Revision(1));
  EXPECT_EQ(core.feed.durable(), Revision(1));
  EXPECT_TRUE(core.registry.nodes().Find("nodes/a").ok());
}

TEST(CommitterTest, ReadersAndWritersRunSideBySide) {
  const auto store = NewMemoryMetadataStore(kLimits);
  Core core(*store);
  std::atomic<int> answers = 0;
  std::vector<std::thread> threads;
  auto thread = std::make_unique<CommitThread>(core.committer, [](const absl::Status&) {});
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        core.committer.SubmitInternal(
            RegisterJob(absl::StrCat("nodes/n", t, "-", i), [&](JobResult) { ++answers; }));
        auto seen = std::make_shared<Revision>();
        core.committer.Read([seen](const Registry& registry) { *seen = registry.revision(); },
                            [&answers, seen](Revision durable) {
                              EXPECT_GE(durable, *seen);
                              ++answers;
                            });
      }
    });
  }
  for (std::thread& each : threads) each.join();
  thread.reset();
  EXPECT_EQ(answers, 600);
}

}  // namespace
}  // namespace muster
