#include "client/agent/model_warmer.h"

#include <chrono>
#include <future>

#include "client/cache/checked_shard.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(AvailableMemoryTest, IsReadFromTheSystemsText) {
  const auto parsed = ParseAvailableMemory(
      "MemTotal:       24683656 kB\nMemFree:          123456 kB\nMemAvailable:   21000000 kB\n");
  MUSTER_ASSERT_OK(parsed);
  EXPECT_EQ(*parsed, int64_t{21'000'000} * 1024);
  EXPECT_GT(*AvailableMemory(), 0);
}

TEST(AvailableMemoryTest, TextWithoutItIsAnError) {
  for (const char* const text :
       {"", "MemTotal: 5 kB\n", "MemAvailable: many kB\n", "MemAvailable: 5\n",
        "MemAvailable: -5 kB\n", "MemAvailable: 9223372036854775807 kB\n"}) {
    EXPECT_THAT(ParseAvailableMemory(text), StatusIs(absl::StatusCode::kInternal)) << text;
  }
}

// A cache with three shards of 8, 4 and 2 MiB.
class ModelWarmerTest : public testing::Test {
 protected:
  ModelWarmerTest() {
    for (const int64_t size : {8 * kMiB, 4 * kMiB, 2 * kMiB}) {
      const std::string bytes(static_cast<size_t>(size), static_cast<char>('a' + size / kMiB));
      v1::Shard& shard = shards_.emplace_back();
      shard.set_size_bytes(bytes.size());
      shard.set_md5(Md5ToHex(Md5Of(bytes)));
      auto acquired = cache_->Acquire(*CheckedShard::Make({shard, {}}), {});
      MUSTER_EXPECT_OK(acquired);
      MUSTER_EXPECT_OK(acquired->part->Write(0, bytes));
      MUSTER_EXPECT_OK(acquired->part->Commit());
    }
  }

  WarmReport Warm(int64_t available, int64_t reserve) {
    return WarmShards(*cache_, shards_, {reserve, [available] { return available; }}, {});
  }

  TemporaryDirectory directory_;
  const std::unique_ptr<ShardCache> cache_ = *ShardCache::Open(directory_.Join("cache"), {});
  std::vector<v1::Shard> shards_;
};

TEST_F(ModelWarmerTest, EverythingIsWarmWhereMemorySuffices) {
  if (cache_->InMemory()) GTEST_SKIP() << "the temporary directory is memory";
  const WarmReport report = Warm(64 * kMiB, 50 * kMiB);

  MUSTER_EXPECT_OK(report.status);
  EXPECT_EQ(report.warm_bytes, 14 * kMiB);
  EXPECT_EQ(report.left_bytes, 0);
}

TEST_F(ModelWarmerTest, FirstShardsComeFirstAndTheReserveIsLeft) {
  if (cache_->InMemory()) GTEST_SKIP() << "the temporary directory is memory";
  const WarmReport report = Warm(60 * kMiB, 50 * kMiB);

  MUSTER_EXPECT_OK(report.status);
  EXPECT_EQ(report.warm_bytes, 8 * kMiB) << "the second shard doesn't fit, and the third waits";
  EXPECT_EQ(report.left_bytes, 6 * kMiB);
  EXPECT_EQ(Warm(40 * kMiB, 50 * kMiB).warm_bytes, 0);
}

TEST_F(ModelWarmerTest, ShardThatIsGoneIsSkipped) {
  if (cache_->InMemory()) GTEST_SKIP() << "the temporary directory is memory";
  MUSTER_ASSERT_OK(cache_->Evict({0, {ContentKeyOf(shards_[0])}}, {}));

  const WarmReport report = Warm(64 * kMiB, 0);

  MUSTER_EXPECT_OK(report.status);
  EXPECT_EQ(report.warm_bytes, 6 * kMiB);
}

TEST_F(ModelWarmerTest, UnknownMemoryIsSaid) {
  if (cache_->InMemory()) GTEST_SKIP() << "the temporary directory is memory";
  const WarmReport report =
      WarmShards(*cache_, shards_, {0, [] { return absl::InternalError("no idea"); }}, {});

  EXPECT_THAT(report.status, StatusIs(absl::StatusCode::kInternal));
  EXPECT_EQ(report.warm_bytes, 0);
}

TEST_F(ModelWarmerTest, WarmerAsksForTheShardsThatAreAssignedThen) {
  std::promise<std::string> warmed;
  ModelWarmer warmer(
      *cache_, {0, [] { return 64 * kMiB; }}, [&](const std::string&) { return shards_; },
      [&](const std::string& assembly, const WarmReport& report) {
        MUSTER_EXPECT_OK(report.status);
        warmed.set_value(assembly);
      });

  warmer.Warm("assemblies/demo");

  std::future<std::string> report = warmed.get_future();
  ASSERT_TRUE(AwaitOrFail("the warmer's report", [&] {
    return report.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }));
  EXPECT_EQ(report.get(), "assemblies/demo");
}

}  // namespace
}  // namespace muster
