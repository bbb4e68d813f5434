// What a later writer takes over from one that ended: pieces that are right on disk, and no other.
#include "client/cache/cache_part.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <new>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/cache/shard_cache.h"
#include "client/hash/md5_lanes.h"
#include "client/transfer/puller.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "tests/support/await.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ResumeTest : public ::testing::Test {
 protected:
  // Writes pieces 0, 2 and 4 of five, and ends.
  void SetUp() override {
    auto acquired = cache_->Acquire(shard_, {});
    MUSTER_ASSERT_OK(acquired);
    ASSERT_THAT(acquired->part->Present(), Each(false));
    for (const size_t piece : {0, 2, 4}) {
      MUSTER_ASSERT_OK(acquired->part->Write(shard_.PieceOffset(piece), Piece(piece)));
    }
  }

  absl::string_view Piece(size_t piece) const {
    return absl::string_view(bytes_).substr(static_cast<size_t>(shard_.PieceOffset(piece)),
                                            static_cast<size_t>(shard_.PieceLength(piece)));
  }

  std::vector<bool> PresentNow() {
    auto acquired = cache_->Acquire(shard_, {});
    EXPECT_THAT(acquired, IsOk());
    return acquired.ok() && acquired->part ? acquired->part->Present() : std::vector<bool>();
  }

  std::string domain() const { return dir_.path() + "/c/default"; }
  std::string PathOf(const std::string& suffix) const {
    return absl::StrCat(domain(), "/", shard_.ContentKey(), suffix);
  }
  void PutByte(const std::string& path, int64_t offset, char byte) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset);
    file.put(byte);
    ASSERT_TRUE(file.good());
  }

  TempDir dir_;
  const std::string bytes_ = TestBytes(4 * kMiB + 100, 3);
  const CheckedShard shard_ = *CheckedShard::Make(ShardWithPieces(bytes_, {}));
  std::unique_ptr<ShardCache> cache_ = *ShardCache::Open(dir_.path() + "/c", {});
};

TEST_F(ResumeTest, ClaimedPiecesThatAreRightArePresent) {
  EXPECT_THAT(PresentNow(), ElementsAre(true, false, true, false, true));
  // Looking changes nothing.
  EXPECT_THAT(PresentNow(), ElementsAre(true, false, true, false, true));
}

TEST_F(ResumeTest, RestMakesAWholeEntry) {
  auto acquired = cache_->Acquire(shard_, {});
  MUSTER_ASSERT_OK(acquired);
  for (const size_t piece : {1, 3}) {
    MUSTER_ASSERT_OK(acquired->part->Write(shard_.PieceOffset(piece), Piece(piece)));
  }
  MUSTER_ASSERT_OK(acquired->part->Commit());

  EXPECT_TRUE(ContentOf(PathOf("")) == bytes_);
  EXPECT_FALSE(std::filesystem::exists(PathOf(".claims")));
}

// Invariant 3 (docs/design.md).
TEST_F(ResumeTest, PieceThatRottedInThePartIsNotPresent) {
  PutByte(PathOf(".part"), 2 * kMiB + 9, static_cast<char>(bytes_[2 * kMiB + 9] ^ 1));

  EXPECT_THAT(PresentNow(), ElementsAre(true, false, false, false, true));
}

TEST_F(ResumeTest, FalseClaimIsNotBelieved) {
  PutByte(PathOf(".claims"), 1, 'x');

  EXPECT_THAT(PresentNow(), ElementsAre(true, false, true, false, true));
}

TEST_F(ResumeTest, PieceWithoutClaimIsNotTried) {
  PutByte(PathOf(".claims"), 0, '\0');

  EXPECT_THAT(PresentNow(), ElementsAre(false, false, true, false, true));
}

TEST_F(ResumeTest, OddClaimsFilesDoNoHarm) {
  std::ofstream(PathOf(".claims"), std::ios::trunc) << std::string(1000, '\1');
  EXPECT_THAT(PresentNow(), ElementsAre(true, false, true, false, true));

  std::ofstream(PathOf(".claims"), std::ios::trunc) << '\1';
  EXPECT_THAT(PresentNow(), ElementsAre(true, false, false, false, false));
}

TEST_F(ResumeTest, LostClaimsMeanANewStart) {
  std::filesystem::remove(PathOf(".claims"));

  EXPECT_THAT(PresentNow(), Each(false));
  EXPECT_THAT(NamesIn(domain()), IsEmpty());
}

TEST_F(ResumeTest, PartOfAnotherSizeIsNotTakenOver) {
  std::filesystem::resize_file(PathOf(".part"), bytes_.size() - 1);

  EXPECT_THAT(PresentNow(), Each(false));
}

TEST_F(ResumeTest, ClaimsWithoutPartGoAtTheNextOpen) {
  std::filesystem::remove(PathOf(".part"));

  MUSTER_ASSERT_OK(ShardCache::Open(dir_.path() + "/c", {}));

  EXPECT_THAT(NamesIn(domain()), IsEmpty());
}

TEST_F(ResumeTest, CancelWhileHashingLeavesThePartToTheNextWriter) {
  std::stop_source stop;
  stop.request_stop();

  EXPECT_THAT(cache_->Acquire(shard_, stop.get_token()), StatusIs(absl::StatusCode::kCancelled));

  EXPECT_THAT(PresentNow(), ElementsAre(true, false, true, false, true));
}

TEST_F(ResumeTest, WriteOverSeveralPiecesClaimsThoseThatLieWholeInIt) {
  {
    auto acquired = cache_->Acquire(shard_, {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(
        acquired->part->Write(kMiB / 2, absl::string_view(bytes_).substr(kMiB / 2, 3 * kMiB)));
  }

  EXPECT_THAT(PresentNow(), ElementsAre(true, true, true, false, true));
}

TEST_F(ResumeTest, ShardWithoutPiecesBeginsAnew) {
  const CheckedShard whole = *CheckedShard::Make(ShardWithoutPieces(bytes_, {}));
  {
    auto acquired = cache_->Acquire(whole, {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
  }

  EXPECT_FALSE(std::filesystem::exists(absl::StrCat(domain(), "/", whole.ContentKey(), ".part")));
}

// A process with a real puller is killed again and again, over all seeds about a hundred times,
// while it pulls one shard. What it fetched is counted in memory that outlives it.
class KilledPullTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  static constexpr int64_t kPieces = 64;
  static constexpr size_t kConnections = 3;

  KilledPullTest() {
    void* const shared = mmap(nullptr, sizeof(std::atomic<int64_t>), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(shared, MAP_FAILED);
    fetched_ = new (shared) std::atomic<int64_t>(0);
    // Before the forks, so that no child copies it.
    store_.Set("a/x", bytes_);
  }
  ~KilledPullTest() override { munmap(fetched_, sizeof(*fetched_)); }

  // Ends with 0 once the shard is in the cache.
  void PullAndExit() {
    store_.OnRead([this](const ScriptedStore::ReadCall& call) {
      *fetched_ += call.length;
      return absl::OkStatus();
    });
    FakeClock clock;
    const auto random = NewSeededRandom(1);
    auto cache = ShardCache::Open(dir_.path() + "/c", {});
    Puller puller(stores_, clock, *random, {.connections = kConnections});
    const auto result = puller.PullToCache(shard_, **cache, {}, {});
    _exit(result.pull.status.ok() ? 0 : 1);
  }

  TempDir dir_;
  ObjectStoreRegistry stores_;
  ScriptedStore store_{stores_};
  const std::string bytes_ = TestBytes(kPieces * kMiB, GetParam());
  const PullShard shard_ = ShardWithPieces(bytes_, {"fake://a/x"});
  std::atomic<int64_t>* fetched_ = nullptr;
};

TEST_P(KilledPullTest, FetchesNoMoreAgainThanThePiecesInFlight) {
  SCOPED_TRACE(absl::StrCat("seed ", GetParam()));
  const auto random = NewSeededRandom(GetParam());
  int64_t kills = 0;
  for (bool done = false; !done;) {
    const int64_t target = *fetched_ + static_cast<int64_t>(random->Below(24)) * kMiB;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) PullAndExit();
    int status = 0;
    pid_t ended = 0;
    // Between the look at the count and the kill anything may happen: that is the point.
    AwaitOrFail("the child to fetch or to end", [&] {
      return *fetched_ >= target || (ended = waitpid(child, &status, WNOHANG)) != 0;
    });
    if (ended == 0) {
      kill(child, SIGKILL);
      ASSERT_EQ(waitpid(child, &status, 0), child);
    }
    done = WIFEXITED(status);
    ASSERT_TRUE(!done || WEXITSTATUS(status) == 0);
    if (!done) ++kills;
  }

  RecordProperty("kills", std::to_string(kills));
  EXPECT_GT(kills, 0);
  EXPECT_GE(*fetched_, kPieces * kMiB);
  // Pieces that wait to be hashed need no connection; two cores hash.
  const auto in_flight = static_cast<int64_t>(kConnections + 2 * Md5LaneCount());
  EXPECT_LE(*fetched_, (kPieces + kills * in_flight) * kMiB) << kills << " kills";
  const auto cache = *ShardCache::Open(dir_.path() + "/c", {});
  const auto entry = cache->Lookup(*CheckedShard::Make(shard_), {});
  MUSTER_ASSERT_OK(entry);
  EXPECT_TRUE(ContentOf(entry->path()) == bytes_);
}

INSTANTIATE_TEST_SUITE_P(Seeds, KilledPullTest, ::testing::Range<uint64_t>(1, 12));

}  // namespace
}  // namespace muster
