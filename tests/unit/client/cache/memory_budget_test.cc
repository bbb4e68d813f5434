#include "client/cache/memory_budget.h"

#include <atomic>
#include <optional>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

TEST(MemoryBudgetTest, WhatIsTakenIsGivenBack) {
  MemoryBudget budget(10);
  EXPECT_TRUE(budget.TryTake(6));
  EXPECT_FALSE(budget.TryTake(5));
  {
    const auto share = budget.Take(4, {});
    MUSTER_ASSERT_OK(share);
    EXPECT_FALSE(budget.TryTake(1));
  }
  EXPECT_TRUE(budget.TryTake(4));
  budget.GiveBack(10);
  EXPECT_TRUE(budget.TryTake(10));
}

// More than there is at all waits until it is alone.
TEST(MemoryBudgetTest, WhoNeedsMoreThanThereIsGetsAll) {
  MemoryBudget budget(10);
  ASSERT_TRUE(budget.TryTake(1));
  std::atomic<bool> there = false;
  std::thread waiter([&] {
    const auto share = budget.Take(1000, {});
    MUSTER_ASSERT_OK(share);
    there = true;
  });
  // Nobody else gets anything while somebody waits.
  AwaitOrFail("the other thread to wait", [&] {
    const bool taken = budget.TryTake(1);
    if (taken) budget.GiveBack(1);
    return !taken;
  });
  EXPECT_FALSE(there);
  budget.GiveBack(1);
  waiter.join();
  EXPECT_TRUE(there);
  EXPECT_TRUE(budget.TryTake(10));
}

TEST(MemoryBudgetTest, StopEndsTheWait) {
  MemoryBudget budget(10);
  ASSERT_TRUE(budget.TryTake(10));
  std::stop_source stop;
  std::thread waiter([&] {
    EXPECT_THAT(budget.Take(1, stop.get_token()), StatusIs(absl::StatusCode::kCancelled));
  });
  stop.request_stop();
  waiter.join();
  budget.GiveBack(10);
  EXPECT_TRUE(budget.TryTake(1));
}

}  // namespace
}  // namespace muster
