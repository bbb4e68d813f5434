#include "server/rpc/store_readers.h"

#include <atomic>
#include <memory>

#include "gtest/gtest.h"
#include "storage/base/mutex.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

TEST(StoreReadersTest, EndRunsWhatIsQueued) {
  std::atomic<int> ran = 0;
  {
    StoreReaders pool(2, 100);
    for (int i = 0; i < 50; ++i) MUSTER_EXPECT_OK(pool.Submit([&] { ++ran; }));
  }
  EXPECT_EQ(ran, 50);
}

TEST(StoreReadersTest, FullQueueRefuses) {
  Mutex mutex;
  CondVar changed;
  bool begun = false, released = false;
  std::atomic<int> ran = 0;
  auto pool = std::make_unique<StoreReaders>(1, 2);
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

}  // namespace
}  // namespace muster
