#include "server/rpc/work_pool.h"

#include <atomic>
#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/waiting_reads.h"
#include "storage/base/mutex.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

TEST(WorkPoolTest, EndRunsWhatIsQueued) {
  std::atomic<int> ran = 0;
  {
    WorkPool pool("reads", 2, 100);
    for (int i = 0; i < 50; ++i) MUSTER_EXPECT_OK(pool.Submit([&] { ++ran; }));
  }
  EXPECT_EQ(ran, 50);
}

TEST(WorkPoolTest, FullQueueRefuses) {
  Mutex mutex;
  CondVar changed;
  bool begun = false, released = false;
  std::atomic<int> ran = 0;
  auto pool = std::make_unique<WorkPool>("reads", 1, 2);
  MUSTER_ASSERT_OK(pool->Submit([&] {
    MutexLock lock(mutex);
    begun = true;
    changed.NotifyAll();
    AwaitOrFail(mutex, changed, "the end of the test's calls", [&] { return released; });
  }));
  {
    MutexLock lock(mutex);
    AwaitOrFail(mutex, changed, "the first call to begin", [&] { return begun; });
  }
  MUSTER_EXPECT_OK(pool->Submit([&] { ++ran; }));
  MUSTER_EXPECT_OK(pool->Submit([&] { ++ran; }));

  EXPECT_THAT(pool->Submit([&] { ++ran; }),
              ErrorIs(absl::StatusCode::kResourceExhausted, "READERS_BUSY"));

  {
    MutexLock lock(mutex);
    released = true;
    changed.NotifyAll();
  }
  pool.reset();
  EXPECT_EQ(ran, 2);
}

TEST(WorkPoolTest, CallerHasOneAtATime) {
  Mutex mutex;
  CondVar changed;
  bool released = false;
  std::atomic<int> ran = 0;
  WorkPool pool("plans", 1, 100);
  MUSTER_ASSERT_OK(pool.SubmitFor("ipv4:10.0.0.1:7", [&] {
    MutexLock lock(mutex);
    AwaitOrFail(mutex, changed, "the end of the test's calls", [&] { return released; });
  }));

  EXPECT_THAT(pool.SubmitFor("ipv4:10.0.0.1:7", [&] { ++ran; }),
              ErrorIs(absl::StatusCode::kResourceExhausted, "READERS_BUSY"));
  MUSTER_EXPECT_OK(pool.SubmitFor("ipv4:10.0.0.2:7", [&] { ++ran; }));
  {
    MutexLock lock(mutex);
    released = true;
    changed.NotifyAll();
  }
  // Once its work is done.
  AwaitOrFail("the caller to be let in again",
              [&] { return pool.SubmitFor("ipv4:10.0.0.1:7", [&] { ++ran; }).ok(); });
  AwaitOrFail("both to run", [&] { return ran == 2; });
}

TEST(WorkPoolTest, CallerThatAFullQueueRefusesMayComeAgain) {
  std::atomic<int> ran = 0;
  WorkPool pool("plans", 1, 0);
  EXPECT_FALSE(pool.SubmitFor("a", [&] { ++ran; }).ok());
  EXPECT_THAT(pool.SubmitFor("a", [&] { ++ran; }),
              StatusIs(absl::StatusCode::kResourceExhausted, testing::HasSubstr("overloaded")));
}

TEST(WaitingReadsTest, AreBoundedInNumberAndBytes) {
  WaitingReads reads({.count_max = 2, .bytes_max = 100});
  size_t alone = 1'000, small = 50, more = 51;
  MUSTER_EXPECT_OK(reads.Enter());
  MUSTER_EXPECT_OK(reads.Keep(alone));
  reads.Leave(alone);

  MUSTER_EXPECT_OK(reads.Enter());
  MUSTER_EXPECT_OK(reads.Keep(small));
  MUSTER_EXPECT_OK(reads.Enter());
  EXPECT_THAT(reads.Keep(more), ErrorIs(absl::StatusCode::kResourceExhausted, "READERS_BUSY"));
  EXPECT_EQ(more, 0u);
  EXPECT_THAT(reads.Enter(), ErrorIs(absl::StatusCode::kResourceExhausted, "READERS_BUSY"));
  reads.Leave(more);
  MUSTER_EXPECT_OK(reads.Enter());
  MUSTER_EXPECT_OK(reads.Keep(small));
}

}  // namespace
}  // namespace muster
