// Which locations a pull reads from where some are bounded or suspect, and what it says of them.
#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/transfer/puller.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/await.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using muster::v1::LocationReport;
using muster::v1::ShardFailure;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ReadCall = ScriptedStore::ReadCall;

constexpr char kA[] = "fake://a/x";
constexpr char kB[] = "fake://b/x";
constexpr char kC[] = "fake://c/x";

// Places that the test gives and takes.
class FakeGate final : public ReadGate {
 public:
  absl::StatusOr<bool> Acquire(const std::string& uri, bool wait,
                               const std::stop_token& stop) override {
    const std::stop_callback wake(stop, [this] {
      MutexLock lock(mutex_);
      changed_.NotifyAll();
    });
    MutexLock lock(mutex_);
    if (errors_.contains(uri)) return errors_.at(uri);
    if (full_.contains(uri)) {
      if (!wait) return false;
      waits_.insert(uri);
      const auto ends = [&] { return !full_.contains(uri) || stop.stop_requested(); };
      AwaitOrFail(mutex_, changed_, absl::StrCat("a place at ", uri), ends, kPatienceOfFakes);
      if (full_.contains(uri)) return absl::CancelledError("stopped");
    }
    held_.insert(uri);
    taken_.push_back(uri);
    return true;
  }
  void Release(const std::string& uri) override {
    MutexLock lock(mutex_);
    EXPECT_EQ(held_.erase(uri), 1) << "gave back what it does not hold: " << uri;
  }

  void SetFull(const std::string& uri, bool full) {
    MutexLock lock(mutex_);
    if (full) full_.insert(uri);
    if (!full) full_.erase(uri);
    changed_.NotifyAll();
  }
  void Refuse(const std::string& uri, absl::Status status) {
    MutexLock lock(mutex_);
    errors_[uri] = std::move(status);
  }
  bool Waits(const std::string& uri) {
    MutexLock lock(mutex_);
    return waits_.contains(uri);
  }
  std::set<std::string> held() {
    MutexLock lock(mutex_);
    return held_;
  }
  std::vector<std::string> taken() {
    MutexLock lock(mutex_);
    return taken_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::set<std::string> full_ MUSTER_GUARDED_BY(mutex_);
  std::set<std::string> waits_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, absl::Status> errors_ MUSTER_GUARDED_BY(mutex_);
  std::set<std::string> held_ MUSTER_GUARDED_BY(mutex_);
  std::vector<std::string> taken_ MUSTER_GUARDED_BY(mutex_);
};

class BoundedPullTest : public ::testing::Test {
 protected:
  static constexpr int64_t kSize = 2 * kMiB + 77;

  BoundedPullTest() {
    for (const char* key : {"a/x", "b/x", "c/x"}) store_.Set(key, bytes_);
  }

  muster::v1::Location& At(int i) { return *shard_.shard.mutable_locations(i); }
  void Bound(int i) { At(i).set_max_readers(1); }
  CachedPullResult Pull(const std::stop_token& stop = {}) {
    const auto cache = *ShardCache::Open(dir_.path() + "/c", {});
    return puller_.PullToCache(shard_, *cache, stop, {}, &gate_);
  }
  void AwaitWaitAt(const char* uri) {
    AwaitOrFail(absl::StrCat("a wait for a place at ", uri), [&] { return gate_.Waits(uri); });
  }
  static std::vector<std::pair<std::string, ShardFailure::Code>> Found(
      const CachedPullResult& result) {
    std::vector<std::pair<std::string, ShardFailure::Code>> found;
    for (const LocationReport& report : result.pull.location_reports) {
      found.emplace_back(report.uri(), report.code());
    }
    return found;
  }

  TempDir dir_;
  ObjectStoreRegistry stores_;
  ScriptedStore store_{stores_};
  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(1);
  const std::string bytes_ = TestBytes(kSize, 31);
  PullShard shard_ = ShardWithPieces(bytes_, {kA, kB, kC});
  FakeGate gate_;
  Puller puller_{stores_, clock_, *random_, {.connections = 3}};
};

TEST_F(BoundedPullTest, UnboundedLocationsNeedNoPlace) {
  MUSTER_EXPECT_OK(Pull().pull.status);

  EXPECT_THAT(gate_.taken(), IsEmpty());
}

TEST_F(BoundedPullTest, PlaceIsTakenBeforeTheFirstReadAndGivenBackAfterTheLast) {
  Bound(0);
  std::atomic<int> outside = 0;
  store_.OnRead([&](const ReadCall& call) {
    if (call.key == "a/x" && !gate_.held().contains(kA)) ++outside;
    return absl::OkStatus();
  });

  MUSTER_EXPECT_OK(Pull().pull.status);

  EXPECT_THAT(gate_.taken(), ElementsAre(kA));
  EXPECT_THAT(gate_.held(), IsEmpty());
  EXPECT_EQ(outside, 0);
  EXPECT_EQ(store_.reads_of("a/x"), 3);
}

TEST_F(BoundedPullTest, UnboundedLocationIsReadInsteadOfWaitingForABetterOne) {
  Bound(0);
  gate_.SetFull(kA, true);

  MUSTER_EXPECT_OK(Pull().pull.status);

  EXPECT_EQ(store_.reads_of("a/x"), 0);
  EXPECT_EQ(store_.reads_of("b/x"), 3);
}

TEST_F(BoundedPullTest, WhereAllAreFullItWaitsForTheBest) {
  for (int i = 0; i < 3; ++i) Bound(i);
  for (const char* uri : {kA, kB, kC}) gate_.SetFull(uri, true);
  CachedPullResult result;
  std::thread pull([&] { result = Pull(); });
  AwaitWaitAt(kA);

  gate_.SetFull(kA, false);
  pull.join();

  MUSTER_EXPECT_OK(result.pull.status);
  EXPECT_EQ(store_.reads_of("a/x"), 3);
}

TEST_F(BoundedPullTest, StopEndsTheWait) {
  for (int i = 0; i < 3; ++i) Bound(i);
  for (const char* uri : {kA, kB, kC}) gate_.SetFull(uri, true);
  std::stop_source stop;
  CachedPullResult result;
  std::thread pull([&] { result = Pull(stop.get_token()); });
  AwaitWaitAt(kA);

  stop.request_stop();
  pull.join();

  EXPECT_THAT(result.pull.status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_TRUE(store_.reads().empty());
}

// Only one place at a time is held, so that two pulls never wait for each other's.
TEST_F(BoundedPullTest, BadBoundedLocationIsGivenBackBeforeTheNextIsTaken) {
  for (int i = 0; i < 3; ++i) Bound(i);
  store_.FlipByte("a/x", kMiB + 5);
  std::atomic<size_t> most = 0;
  store_.OnRead([&](const ReadCall&) {
    most = std::max(most.load(), gate_.held().size());
    return absl::OkStatus();
  });

  const CachedPullResult result = Pull();

  MUSTER_EXPECT_OK(result.pull.status);
  EXPECT_THAT(gate_.taken(), ElementsAre(kA, kB));
  EXPECT_THAT(gate_.held(), IsEmpty());
  EXPECT_EQ(most, 1);
  EXPECT_THAT(Found(result), ElementsAre(Pair(kA, ShardFailure::CORRUPT),
                                         Pair(kB, ShardFailure::CODE_UNSPECIFIED)));
}

TEST_F(BoundedPullTest, LocationWhosePlaceIsRefusedIsPassedOver) {
  shard_ = ShardWithPieces(bytes_, {kA, kB});
  Bound(0);
  Bound(1);
  gate_.Refuse(kA, absl::NotFoundError("no such location"));

  MUSTER_EXPECT_OK(Pull().pull.status);

  EXPECT_EQ(store_.reads_of("b/x"), 3);
}

TEST_F(BoundedPullTest, EveryPlaceRefusedIsAFailureOfTheNode) {
  shard_ = ShardWithPieces(bytes_, {kA});
  Bound(0);
  gate_.Refuse(kA, absl::NotFoundError("no such location"));

  const CachedPullResult result = Pull();

  EXPECT_THAT(result.pull.status, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(result.pull.failure->code, ShardFailure::NODE_ERROR);
}

TEST_F(BoundedPullTest, SuspectLocationIsTriedAfterAllOthers) {
  At(0).set_suspect(true);
  At(1).set_priority(900);
  At(2).set_priority(1'000);
  store_.Erase("b/x");

  const CachedPullResult result = Pull();

  MUSTER_EXPECT_OK(result.pull.status);
  EXPECT_EQ(store_.reads_of("a/x"), 0);
  EXPECT_THAT(Found(result), ElementsAre(Pair(kB, ShardFailure::MISSING),
                                         Pair(kC, ShardFailure::CODE_UNSPECIFIED)));
}

TEST_F(BoundedPullTest, SuspectLocationServesWhereNothingElseDoes) {
  At(0).set_suspect(true);
  store_.Erase("b/x");
  store_.Erase("c/x");

  const CachedPullResult result = Pull();

  MUSTER_EXPECT_OK(result.pull.status);
  EXPECT_EQ(store_.reads_of("a/x"), 3);
}

TEST_F(BoundedPullTest, SuspectUnboundedLocationIsNoReasonNotToWaitForATrustedOne) {
  At(0).set_suspect(true);
  Bound(1);
  Bound(2);
  gate_.SetFull(kB, true);
  gate_.SetFull(kC, true);
  CachedPullResult result;
  std::thread pull([&] { result = Pull(); });
  AwaitWaitAt(kB);

  gate_.SetFull(kB, false);
  pull.join();

  MUSTER_EXPECT_OK(result.pull.status);
  EXPECT_EQ(store_.reads_of("b/x"), 3);
}

TEST_F(BoundedPullTest, ReadThatWentWellOnItsSecondTryIsNoComplaint) {
  std::atomic<bool> failed = false;
  store_.OnRead([&](const ReadCall& call) {
    return call.key == "a/x" && !failed.exchange(true) ? absl::UnavailableError("busy")
                                                       : absl::OkStatus();
  });
  shard_ = ShardWithPieces(bytes_, {kA});

  const CachedPullResult result = Pull();

  MUSTER_EXPECT_OK(result.pull.status);
  EXPECT_THAT(Found(result), ElementsAre(Pair(kA, ShardFailure::CODE_UNSPECIFIED)));
}

}  // namespace
}  // namespace muster
