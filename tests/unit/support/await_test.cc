#include "tests/support/await.h"

#include <atomic>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace muster {
namespace {

TEST(AwaitTest, WhatIsThereIsNotWaitedFor) {
  Mutex mutex;
  CondVar changed;
  MutexLock lock(mutex);

  EXPECT_TRUE(AwaitOrFail(
      mutex, changed, "it", [] { return true; }, absl::ZeroDuration()));
  EXPECT_TRUE(AwaitOrFail(
      "it", [] { return true; }, absl::ZeroDuration()));
}

TEST(AwaitTest, WhatAnotherThreadDoesIsSeen) {
  Mutex mutex;
  CondVar changed;
  bool done = false;
  std::atomic<bool> asked = false;
  std::thread other([&] {
    AwaitOrFail("the first look", [&] { return asked.load(); });
    MutexLock lock(mutex);
    done = true;
    changed.NotifyAll();
  });
  {
    MutexLock lock(mutex);

    EXPECT_TRUE(AwaitOrFail(mutex, changed, "the other thread", [&] {
      asked = true;
      return done;
    }));
  }
  other.join();
}

TEST(AwaitTest, WhatDoesNotComeFailsTheTestByName) {
  testing::TestPartResultArray results;
  const int line = __LINE__ + 7;
  {
    const testing::ScopedFakeTestPartResultReporter catch_failures(&results);
    Mutex mutex;
    CondVar changed;
    MutexLock lock(mutex);
    const absl::Duration short_time = absl::Milliseconds(1);
    AwaitOrFail(
        mutex, changed, "Godot", [] { return false; }, short_time);
    AwaitOrFail(
        "his boy", [] { return false; }, short_time);
  }

  ASSERT_EQ(results.size(), 2);
  EXPECT_THAT(results.GetTestPartResult(0).message(),
              testing::HasSubstr("waited 1ms in vain for Godot"));
  EXPECT_THAT(results.GetTestPartResult(1).message(),
              testing::HasSubstr("waited 1ms in vain for his boy"));
  EXPECT_THAT(results.GetTestPartResult(0).file_name(), testing::HasSubstr("await_test.cc"));
  EXPECT_EQ(results.GetTestPartResult(0).line_number(), line);
  EXPECT_TRUE(results.GetTestPartResult(1).nonfatally_failed());
}

}  // namespace
}  // namespace muster
