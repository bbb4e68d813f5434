#include "client/tune/tune_results.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

// A sample of 256 MiB of 1 GiB.
class RecommendTest : public testing::Test {
 protected:
  RecommendTest() {
    results_.sample_bytes = 256 * kMiB;
    results_.source_bytes = 1024 * kMiB;
  }

  void Publish(uint32_t shards, int64_t piece_mib, int ms) {
    results_.Add(PublishTime{shards, piece_mib * kMiB, absl::Milliseconds(ms)});
  }
  void Load(uint32_t shards, int64_t piece_mib, size_t connections, int ms) {
    results_.Add(LoadTime{shards, piece_mib * kMiB, connections, absl::Milliseconds(ms)});
  }

  TuneResults results_;
};

TEST(RateTest, IsBytesInASecond) {
  EXPECT_DOUBLE_EQ(Rate(512 * kMiB, absl::Milliseconds(500)), 1024.0 * kMiB);
  EXPECT_EQ(Rate(1, absl::ZeroDuration()), 0);
}

TEST_F(RecommendTest, FewestConnectionsWithinFivePercentAreTaken) {
  Publish(4, 8, 1000);
  Load(4, 8, 1, 500);
  Load(4, 8, 4, 209);
  Load(4, 8, 16, 200);

  const auto chosen = Recommend(results_);

  MUSTER_ASSERT_OK(chosen);
  EXPECT_EQ(chosen->connections, 4u);
  EXPECT_THAT(chosen->reasons, Contains(HasSubstr("4 connections: within 5 % of the fastest, "
                                                  "which is 16")));
}

TEST_F(RecommendTest, MoreConnectionsAreTakenWhereTheyPay) {
  Publish(4, 8, 1000);
  Load(4, 8, 4, 211);
  Load(4, 8, 16, 200);

  EXPECT_EQ(Recommend(results_)->connections, 16u);
}

TEST_F(RecommendTest, SmallestPiecesAndFewestShardsOfEqualOnesAreTaken) {
  for (const int64_t piece : {1, 8, 32}) {
    for (const uint32_t shards : {1u, 2u, 4u}) {
      // One shard publishes slowly, as one thread hashes it; pieces of 1 MiB cost as well.
      Publish(shards, piece, (shards == 1 ? 2000 : 1000) + (piece == 1 ? 300 : 0));
      Load(shards, piece, 8, 200);
    }
  }

  const auto chosen = Recommend(results_);

  MUSTER_ASSERT_OK(chosen);
  EXPECT_EQ(chosen->piece_size_bytes, 8 * kMiB);
  EXPECT_EQ(chosen->shards, 2u);
  EXPECT_THAT(chosen->reasons, Contains(HasSubstr("pieces of 8 MiB: the fastest")));
  EXPECT_THAT(chosen->reasons, Contains(HasSubstr("2 shards: the fastest")));
}

TEST_F(RecommendTest, CostOfAShardBoundsTheirNumberForTheWholeSource) {
  // 10 ms a shard, half of it when loading.
  for (const uint32_t shards : {1u, 11u, 21u}) {
    Publish(shards, 8, 900 + 5 * static_cast<int>(shards));
    Load(shards, 8, 8, 90 + 5 * static_cast<int>(shards));
  }

  const auto chosen = Recommend(results_);

  MUSTER_ASSERT_OK(chosen);
  EXPECT_EQ(chosen->shards, 1u);
  // 5 % of the whole source's 4 s are 200 ms, which pay for 20 more.
  EXPECT_EQ(chosen->shards_at_most, 21u);
  EXPECT_THAT(chosen->reasons, Contains(HasSubstr("a further shard costs about 10.0 ms")));
}

TEST_F(RecommendTest, ShardsThatCostNothingHaveNoBound) {
  for (const uint32_t shards : {1u, 2u}) {
    Publish(shards, 8, 1000 - static_cast<int>(shards));
    Load(shards, 8, 8, 100);
  }

  EXPECT_EQ(Recommend(results_)->shards_at_most, std::nullopt);
}

TEST_F(RecommendTest, ShardsAreEnoughForThePieceLimitOfTheSource) {
  results_.source_bytes = int64_t{30'001} * kMiB;
  Publish(1, 1, 1000);
  Load(1, 1, 8, 100);

  const auto chosen = Recommend(results_);

  MUSTER_ASSERT_OK(chosen);
  EXPECT_EQ(chosen->shards, 4u);
  EXPECT_EQ(chosen->connections, 8u);
}

TEST_F(RecommendTest, BestTimeOfACombinationCounts) {
  Publish(1, 8, 900);
  Publish(1, 8, 1000);
  Load(1, 8, 4, 300);
  Load(1, 8, 4, 200);

  EXPECT_EQ(results_.publish.size(), 1u);
  EXPECT_EQ(results_.Find(1, 8 * kMiB)->time, absl::Milliseconds(900));
  EXPECT_EQ(results_.Find(1, 8 * kMiB, 4)->time, absl::Milliseconds(200));
  EXPECT_EQ(results_.Find(2, 8 * kMiB), nullptr);
}

TEST_F(RecommendTest, WhatRepeatsDifferByCantTellChoicesApart) {
  // 4 shards publish faster in one of two repeats; the other one is as slow as those of 2 shards.
  Publish(2, 8, 1150);
  Publish(4, 8, 1000);
  Publish(4, 8, 1200);
  Load(2, 8, 4, 100);
  Load(4, 8, 4, 100);

  const auto chosen = Recommend(results_);

  MUSTER_ASSERT_OK(chosen);
  EXPECT_EQ(chosen->shards, 2u);
  EXPECT_THAT(chosen->reasons,
              Contains(HasSubstr("2 shards: within 18 % of the fastest, which is 4, as its own "
                                 "repeats are; fewer")));
}

TEST_F(RecommendTest, FastestSaysWhatItCantBeToldApartFrom) {
  Publish(2, 8, 1000);
  Publish(4, 8, 1010);
  Load(2, 8, 4, 100);
  Load(4, 8, 4, 100);

  EXPECT_THAT(Recommend(results_)->reasons,
              Contains(HasSubstr("2 shards: the fastest; 4 can't be told apart from it (within "
                                 "5 %)")));
}

TEST_F(RecommendTest, WildRepeatsDontMakeAllEqual) {
  Publish(1, 8, 1000);
  Load(1, 8, 1, 1000);
  Load(1, 8, 16, 200);
  Load(1, 8, 16, 1100);

  EXPECT_EQ(Recommend(results_)->connections, 16u);
}

TEST_F(RecommendTest, TogetherIsWhatDecidesAndIsKnownByRow) {
  Publish(2, 8, 600);
  Publish(2, 8, 650);
  Load(2, 8, 1, 500);
  Load(2, 8, 4, 200);
  Load(2, 8, 4, 300);

  const auto together = results_.Together(2, 8 * kMiB);

  ASSERT_TRUE(together.has_value());
  EXPECT_EQ(together->best, absl::Milliseconds(800));
  EXPECT_EQ(together->slowest, absl::Milliseconds(950));
  EXPECT_EQ(results_.Together(4, 8 * kMiB), std::nullopt);
  EXPECT_EQ(results_.Find(2, 8 * kMiB)->repeats, 2);
}

TEST_F(RecommendTest, NothingLoadedIsNothingToRecommend) {
  Publish(1, 8, 900);
  EXPECT_THAT(Recommend(results_), StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace muster
