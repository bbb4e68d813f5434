// Pulls into a cache: what is fetched, what is visible when, and what is left after a failure.
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "client/transfer/puller.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using muster::v1::ShardFailure;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ReadCall = ScriptedStore::ReadCall;

class PullToCacheTest : public ::testing::Test {
 protected:
  static constexpr int64_t kSize = 2 * kMiB + 77;

  PullToCacheTest() { store_.Set("a/x", bytes_); }

  std::unique_ptr<ShardCache> OpenCache() { return *ShardCache::Open(dir_.path() + "/c", {}); }
  std::string domain() const { return dir_.path() + "/c/default"; }

  std::string BytesOf(const CachedPullResult& result) const {
    std::string bytes(kSize, '\0');
    EXPECT_THAT(result.entry->Read(0, absl::MakeSpan(bytes)), IsOk());
    return bytes;
  }

  TempDir dir_;
  ObjectStoreRegistry stores_;
  ScriptedStore store_{stores_};
  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(1);
  const std::string bytes_ = TestBytes(kSize, 21);
  const PullShard shard_ = ShardWithPieces(bytes_, {"fake://a/x"});
  const PullShard whole_ = ShardWithoutPieces(bytes_, {"fake://a/x"});
  std::unique_ptr<ShardCache> cache_ = OpenCache();
  Puller puller_{stores_, clock_, *random_, {.connections = 3}};
};

TEST_F(PullToCacheTest, SecondPullIsAHitAndCostsNoFetch) {
  const CachedPullResult first = puller_.PullToCache(shard_, *cache_, {}, {});
  MUSTER_ASSERT_OK(first.pull.status);
  int64_t progress = 0;

  const CachedPullResult second =
      puller_.PullToCache(shard_, *cache_, {}, [&](int64_t bytes) { progress = bytes; });

  MUSTER_ASSERT_OK(second.pull.status);
  EXPECT_FALSE(first.hit);
  EXPECT_TRUE(second.hit);
  EXPECT_TRUE(BytesOf(second) == bytes_);
  EXPECT_EQ(second.pull.fetched_bytes, 0);
  EXPECT_EQ(progress, kSize);
  EXPECT_EQ(store_.reads().size(), 3u);
}

TEST_F(PullToCacheTest, OnlyPartFilesAreThereBeforeTheLastPieceIsVerified) {
  Mutex mutex;
  std::vector<std::string> seen;
  store_.OnRead([&](const ReadCall&) {
    MutexLock lock(mutex);
    for (const std::string& name : NamesIn(domain())) seen.push_back(name);
    return absl::OkStatus();
  });

  MUSTER_ASSERT_OK(puller_.PullToCache(shard_, *cache_, {}, {}).pull.status);
  MUSTER_ASSERT_OK(puller_.PullToCache(whole_, *cache_, {}, {}).pull.status);

  const std::string with_pieces = CheckedShard::Make(shard_)->ContentKey();
  for (const std::string& name : seen) {
    EXPECT_TRUE(absl::EndsWith(name, ".part") || absl::EndsWith(name, ".claims") ||
                absl::EndsWith(name, ".pieces") || absl::EndsWith(name, ".use") ||
                absl::EndsWith(name, ".names") || absl::StartsWith(name, with_pieces))
        << name;
  }
  EXPECT_THAT(seen, ::testing::Contains(with_pieces + ".part"));
}

TEST_F(PullToCacheTest, FailedPullLeavesNoEntry) {
  store_.FlipByte("a/x", kSize - 1);

  for (const PullShard& shard : {shard_, whole_}) {
    const CachedPullResult result = puller_.PullToCache(shard, *cache_, {}, {});

    EXPECT_THAT(result.pull.status, StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_EQ(result.pull.failure->code, ShardFailure::CORRUPT);
    EXPECT_FALSE(result.entry.has_value());
    EXPECT_THAT(cache_->Lookup(*CheckedShard::Make(shard), {}),
                StatusIs(absl::StatusCode::kNotFound));
  }
}

TEST_F(PullToCacheTest, PullAfterAFailedOneFetchesOnlyWhatIsMissing) {
  store_.FlipByte("a/x", kSize - 1);
  const CachedPullResult failed = puller_.PullToCache(shard_, *cache_, {}, {});
  ASSERT_THAT(failed.pull.status, StatusIs(absl::StatusCode::kDataLoss));
  store_.FlipByte("a/x", kSize - 1);
  std::vector<int64_t> progress;
  // Another cache, as a process that starts later has.
  const CachedPullResult again = puller_.PullToCache(
      shard_, *OpenCache(), {}, [&](int64_t bytes) { progress.push_back(bytes); });

  MUSTER_ASSERT_OK(again.pull.status);
  EXPECT_EQ(again.pull.fetched_bytes, 77);
  EXPECT_THAT(progress, ElementsAre(2 * kMiB, kSize));
  EXPECT_TRUE(BytesOf(again) == bytes_);
}

TEST_F(PullToCacheTest, PartWithAllPiecesNeedsNoLocation) {
  {
    auto acquired = cache_->Acquire(*CheckedShard::Make(shard_), {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
  }
  store_.Erase("a/x");

  const CachedPullResult result = puller_.PullToCache(shard_, *cache_, {}, {});

  MUSTER_ASSERT_OK(result.pull.status);
  EXPECT_EQ(result.pull.fetched_bytes, 0);
  EXPECT_TRUE(BytesOf(result) == bytes_);
}

TEST_F(PullToCacheTest, CancelledPullLeavesNoEntry) {
  std::stop_source stop;
  store_.OnRead([&](const ReadCall&) {
    stop.request_stop();
    return absl::OkStatus();
  });

  const CachedPullResult result = puller_.PullToCache(shard_, *cache_, stop.get_token(), {});

  EXPECT_THAT(result.pull.status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(cache_->Lookup(*CheckedShard::Make(shard_), {}),
              StatusIs(absl::StatusCode::kNotFound));
}

// Invariant 3 (docs/design.md).
TEST_F(PullToCacheTest, EntryAlteredOnDiskIsFetchedAgainAndReported) {
  const CachedPullResult first = puller_.PullToCache(shard_, *cache_, {}, {});
  MUSTER_ASSERT_OK(first.pull.status);
  ASSERT_EQ(chmod(first.entry->path().c_str(), 0600), 0);
  {
    std::fstream file(first.entry->path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(kMiB + 5);
    file.put(static_cast<char>(bytes_[kMiB + 5] ^ 1));
  }

  const CachedPullResult second = puller_.PullToCache(shard_, *cache_, {}, {});

  MUSTER_ASSERT_OK(second.pull.status);
  EXPECT_FALSE(second.hit);
  EXPECT_TRUE(BytesOf(second) == bytes_);
  ASSERT_TRUE(second.pull.rotted.has_value());
  EXPECT_EQ(second.pull.rotted->expected_md5, Md5ToHex(shard_.pieces[1]));
  EXPECT_EQ(store_.reads().size(), 6u);
}

TEST_F(PullToCacheTest, TwoCachesOnOneDirectoryFetchOnce) {
  const auto other_cache = OpenCache();
  Puller other_puller(stores_, clock_, *random_, {});
  Gate both_started;
  store_.OnRead([&](const ReadCall&) {
    both_started.Wait("both pulls to start");
    return absl::OkStatus();
  });
  std::atomic<int> hits = 0;
  const auto pull = [&](Puller& puller, ShardCache& cache) {
    const CachedPullResult result = puller.PullToCache(shard_, cache, {}, {});
    EXPECT_THAT(result.pull.status, IsOk());
    EXPECT_TRUE(BytesOf(result) == bytes_);
    if (result.hit) ++hits;
  };
  std::thread a([&] { pull(puller_, *cache_); });
  std::thread b([&] { pull(other_puller, *other_cache); });
  both_started.Open();
  a.join();
  b.join();

  EXPECT_EQ(hits, 1);
  EXPECT_EQ(store_.reads().size(), 3u);
}

TEST_F(PullToCacheTest, OneShardTwiceInOnePullerFetchesOnce) {
  Puller narrow(stores_, clock_, *random_, {.connections = 1});
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back(
        [&] { MUSTER_EXPECT_OK(narrow.PullToCache(shard_, *cache_, {}, {}).pull.status); });
  }
  for (std::thread& caller : callers) caller.join();

  EXPECT_EQ(store_.reads().size(), 3u);
}

TEST_F(PullToCacheTest, CancelEndsAPullThatWaitsForAnotherProcess) {
  const auto held = OpenCache()->Acquire(*CheckedShard::Make(shard_), {});
  MUSTER_ASSERT_OK(held);
  auto puller = std::make_unique<Puller>(stores_, clock_, *random_, PullerOptions{});
  Puller* running = puller.get();
  Gate started;
  absl::Status status;
  // The waiting call counts as under way once the gate's thread has entered it; until then the
  // puller stays.
  std::stop_source stop;
  std::thread caller([&] {
    started.Open();
    status = running->PullToCache(shard_, *cache_, stop.get_token(), {}).pull.status;
  });
  started.Wait("the caller's thread");
  stop.request_stop();
  caller.join();
  puller.reset();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace muster
