#include "client/cli/repeated_failures.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace muster {
namespace {

constexpr char kDemo[] = "assemblies/demo";

v1::ShardFailure Failure(v1::ShardFailure::Code code, const std::string& reason) {
  v1::ShardFailure failure;
  failure.set_code(code);
  failure.set_reason(reason);
  return failure;
}

class RepeatedFailuresTest : public testing::Test {
 protected:
  RepeatedFailures::Verdict Full(uint32_t shard) {
    return failures_.Failed(kDemo, shard, Failure(v1::ShardFailure::NO_SPACE, "CACHE_FULL"));
  }
  RepeatedFailures::Verdict Corrupt(uint32_t shard) {
    return failures_.Failed(kDemo, shard, Failure(v1::ShardFailure::CORRUPT, "DATA_LOSS"));
  }

  FakeClock clock_;
  RepeatedFailures failures_{clock_};
};

TEST_F(RepeatedFailuresTest, FullCacheIsToldOnceAndThenCountedEveryTenSeconds) {
  int lines = 0;
  EXPECT_TRUE(Full(0).in_full);
  for (int second = 0; second < 60; ++second) {
    clock_.Advance(absl::Seconds(1));
    for (uint32_t shard = 0; shard < 16; ++shard) {
      const auto verdict = Full(shard);
      EXPECT_FALSE(verdict.in_full);
      if (!verdict.count.has_value()) continue;
      ++lines;
      EXPECT_EQ(verdict.count->code, v1::ShardFailure::NO_SPACE);
      EXPECT_EQ(verdict.count->reason, "CACHE_FULL");
      EXPECT_EQ(verdict.count->shards, 16u);
      EXPECT_GT(verdict.count->count, 100u);
    }
  }
  EXPECT_EQ(lines, 6) << "960 failures in a minute";
}

TEST_F(RepeatedFailuresTest, TriesAreNewsUntilOneHasFailed) {
  EXPECT_TRUE(failures_.IsNews(kDemo, 0));
  Corrupt(0);
  EXPECT_FALSE(failures_.IsNews(kDemo, 0));
  EXPECT_TRUE(failures_.IsNews(kDemo, 1)) << "a bad copy says nothing of others";
  Full(2);
  EXPECT_FALSE(failures_.IsNews(kDemo, 1)) << "no shard fits";
  EXPECT_TRUE(failures_.IsNews("assemblies/other", 1));
}

TEST_F(RepeatedFailuresTest, BadCopiesAreToldShardByShardUpToABound) {
  for (uint32_t shard = 0; shard < RepeatedFailures::kMaxToldShards; ++shard) {
    EXPECT_TRUE(Corrupt(shard).in_full);
    EXPECT_FALSE(Corrupt(shard).in_full) << "again";
  }
  EXPECT_FALSE(Corrupt(1'000).in_full);
}

TEST_F(RepeatedFailuresTest, WhatIsOverIsCountedAndIsNewsTheNextTime) {
  Full(0);
  Full(1);
  Full(1);
  EXPECT_FALSE(failures_.Mended(kDemo, 7).has_value());
  EXPECT_FALSE(failures_.Mended(kDemo, 0).has_value());
  const auto over = failures_.Mended(kDemo, 1);
  ASSERT_TRUE(over.has_value());
  EXPECT_EQ(over->count, 2u);
  EXPECT_EQ(over->shards, 0u);
  EXPECT_TRUE(Full(1).in_full);
}

TEST_F(RepeatedFailuresTest, AnotherCauseIsTold) {
  Full(0);
  EXPECT_TRUE(
      failures_.Failed(kDemo, 0, Failure(v1::ShardFailure::NODE_ERROR, "KEY_MISSING")).in_full);
  EXPECT_TRUE(Corrupt(0).in_full);
  failures_.Forget(kDemo);
  EXPECT_TRUE(failures_.IsNews(kDemo, 0));
}

}  // namespace
}  // namespace muster
