// Pulls from scripted locations: which bytes come from where, and what a failure says.
#include "client/transfer/puller.h"

#include <atomic>
#include <filesystem>
#include <iterator>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "tests/support/await.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using muster::v1::ShardFailure;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ReadCall = ScriptedStore::ReadCall;

// Keeps ranges, and counts how often each came.
class CountingSink final : public PieceSink {
 public:
  CountingSink(int64_t size, bool holds_back) : holds_back_(holds_back), bytes_(size, '\0') {}
  absl::Status Write(int64_t offset, absl::string_view bytes) override {
    MutexLock lock(mutex_);
    if (!error.ok()) return error;
    ++writes[offset];
    bytes_.replace(static_cast<size_t>(offset), bytes.size(), bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  bool HoldsBack() const override { return holds_back_; }
  const std::string& bytes() const { return bytes_; }

  absl::Status error;
  std::map<int64_t, int> writes;

 private:
  const bool holds_back_;
  Mutex mutex_;
  std::string bytes_;
};

class PullerTest : public ::testing::Test {
 protected:
  static constexpr int64_t kSize = 3 * kMiB + 1000;

  // A piece is fetched only when the one before is done with.
  static PullerOptions OneAtATime() { return {.connections = 1, .memory_budget_bytes = kMiB}; }

  PullerTest() {
    store_.Set("a/x", bytes_);
    store_.Set("b/x", bytes_);
  }

  PullResult Pull(const PullShard& shard, PullerOptions options = {}) {
    Puller puller(stores_, clock_, *random_, std::move(options));
    return puller.Pull(shard, sink_, {}, {});
  }
  bool SinkIsRight() const { return sink_.bytes() == bytes_; }

  ObjectStoreRegistry stores_;
  ScriptedStore store_{stores_};
  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(1);
  const std::string bytes_ = TestBytes(kSize, 11);
  const PullShard both_ = ShardWithPieces(bytes_, {"fake://a/x", "fake://b/x"});
  const PullShard one_ = ShardWithPieces(bytes_, {"fake://a/x"});
  const PullShard whole_ = ShardWithoutPieces(bytes_, {"fake://a/x", "fake://b/x"});
  CountingSink sink_{kSize, /*holds_back=*/false};
};

TEST_F(PullerTest, ObjectOfAnotherVersionThanRegisteredIsNotRead) {
  PullShard pinned = both_;
  pinned.shard.mutable_locations(0)->set_version("an older one");
  const PullResult result = Pull(pinned);

  MUSTER_ASSERT_OK(result.status);
  EXPECT_TRUE(SinkIsRight());
  EXPECT_EQ(store_.reads_of("a/x"), 0);
  ASSERT_EQ(result.location_reports.size(), 2u);
  EXPECT_EQ(result.location_reports[0].code(), ShardFailure::CORRUPT);
}

TEST_F(PullerTest, EveryPieceIsFetchedOnceFromTheFirstLocation) {
  const PullResult result = Pull(both_);

  MUSTER_ASSERT_OK(result.status);
  EXPECT_TRUE(SinkIsRight());
  EXPECT_EQ(store_.reads_of("a/x"), 4);
  EXPECT_EQ(store_.reads_of("b/x"), 0);
  EXPECT_EQ(result.fetched_bytes, kSize);
  EXPECT_THAT(result.location_failures, IsEmpty());
  EXPECT_FALSE(result.failure.has_value());
}

TEST_F(PullerTest, EqualLocationsShareThePieces) {
  PullShard equal = both_;
  for (auto& location : *equal.shard.mutable_locations()) location.set_priority(0);
  std::set<std::string> first;
  for (int node = 0; node < 20; ++node) {
    Puller puller(stores_, clock_, *random_, OneAtATime());
    CountingSink sink(kSize, false);
    const size_t before = store_.reads().size();

    MUSTER_ASSERT_OK(puller.Pull(equal, sink, {}, {}).status);

    const std::vector<ReadCall> reads = store_.reads();
    ASSERT_EQ(reads.size(), before + 4);
    first.insert(reads[before].key);
    for (size_t i = before; i + 1 < reads.size(); ++i) EXPECT_NE(reads[i].key, reads[i + 1].key);
  }
  // Nodes don't all begin at the same one.
  EXPECT_EQ(first.size(), 2u);
}

// A location that is better takes all.
TEST_F(PullerTest, PiecesAreSpreadWithinATierOnly) {
  store_.Set("c/x", bytes_);
  PullShard three = ShardWithPieces(bytes_, {"fake://a/x", "fake://b/x", "fake://c/x"});
  for (const int i : {0, 2}) three.shard.mutable_locations(i)->set_priority(1);
  three.shard.mutable_locations(1)->set_priority(0);
  MUSTER_ASSERT_OK(Pull(three, OneAtATime()).status);
  EXPECT_EQ(store_.reads_of("b/x"), 4);

  three.shard.mutable_locations(1)->set_priority(2);
  CountingSink sink(kSize, false);
  Puller puller(stores_, clock_, *random_, OneAtATime());
  MUSTER_ASSERT_OK(puller.Pull(three, sink, {}, {}).status);
  EXPECT_EQ(store_.reads_of("b/x"), 4);
  EXPECT_EQ(store_.reads_of("a/x"), 2);
  EXPECT_EQ(store_.reads_of("c/x"), 2);
}

size_t ThreadsOfThisProcess() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

TEST_F(PullerTest, ThreadsBeginWithWork) {
  const size_t before = ThreadsOfThisProcess();
  Puller puller(stores_, clock_, *random_, {.connections = kMaxPullConnections});
  EXPECT_EQ(ThreadsOfThisProcess(), before);

  MUSTER_ASSERT_OK(puller.Pull(both_, sink_, {}, {}).status);

  // One for each of the four pieces, and one that waits for more.
  EXPECT_LE(ThreadsOfThisProcess(), before + 5);
}

TEST_F(PullerTest, ProgressCountsUpToTheSize) {
  Puller puller(stores_, clock_, *random_, {});
  std::vector<int64_t> progress;

  MUSTER_ASSERT_OK(
      puller.Pull(both_, sink_, {}, [&](int64_t bytes) { progress.push_back(bytes); }).status);

  ASSERT_EQ(progress.size(), 4u);
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
  EXPECT_EQ(progress.back(), kSize);
}

TEST_F(PullerTest, FlippedByteInAnyPieceIsFetchedAgainAloneFromTheOther) {
  for (int piece = 0; piece < 4; ++piece) {
    ObjectStoreRegistry stores;
    ScriptedStore store(stores);
    store.Set("a/x", bytes_);
    store.Set("b/x", bytes_);
    store.FlipByte("a/x", piece * kMiB + 999);
    Puller puller(stores, clock_, *random_, OneAtATime());
    CountingSink sink(kSize, false);

    const PullResult result = puller.Pull(both_, sink, {}, {});

    MUSTER_ASSERT_OK(result.status);
    EXPECT_TRUE(sink.bytes() == bytes_);
    // The bad piece and, as "a" then sinks behind "b", all after it; no good piece twice.
    EXPECT_EQ(store.reads_of("a/x"), piece + 1);
    EXPECT_EQ(store.reads_of("b/x"), 4 - piece);
    ASSERT_THAT(result.location_failures,
                ElementsAre(AllOf(Field(&PullFailure::code, ShardFailure::CORRUPT),
                                  Field(&PullFailure::location, "fake://a/x"))));
    EXPECT_EQ(result.location_failures[0].expected_md5, Md5ToHex(both_.pieces[piece]));
  }
}

TEST_F(PullerTest, PiecesThatAreBadInDifferentLocationsComeFromTheOther) {
  store_.FlipByte("a/x", 5);
  store_.FlipByte("b/x", 2 * kMiB + 5);

  const PullResult result = Pull(both_);

  MUSTER_ASSERT_OK(result.status);
  EXPECT_TRUE(SinkIsRight());
  EXPECT_THAT(sink_.writes, ElementsAre(std::pair(0, 1), std::pair(kMiB, 1), std::pair(2 * kMiB, 1),
                                        std::pair(3 * kMiB, 1)));
}

TEST_F(PullerTest, FlippedByteInTheOnlyLocationIsCorrupt) {
  store_.FlipByte("a/x", kMiB + 1);
  std::string bad = bytes_;
  bad[kMiB + 1] ^= 1;

  const PullResult result = Pull(one_);

  EXPECT_THAT(result.status, ErrorIs(absl::StatusCode::kDataLoss, "SHARD_CORRUPT"));
  ASSERT_TRUE(result.failure.has_value());
  EXPECT_EQ(result.failure->code, ShardFailure::CORRUPT);
  EXPECT_EQ(result.failure->location, "fake://a/x");
  EXPECT_EQ(result.failure->expected_md5, Md5ToHex(one_.pieces[1]));
  EXPECT_EQ(result.failure->found_md5, Md5ToHex(Md5Of(bad.substr(kMiB, kMiB))));
  EXPECT_EQ(sink_.writes.count(kMiB), 0u);
}

TEST_F(PullerTest, MissingObjectIsFoundElsewhereAndReported) {
  store_.Erase("a/x");

  const PullResult result = Pull(both_);

  MUSTER_ASSERT_OK(result.status);
  EXPECT_THAT(result.location_failures,
              ElementsAre(AllOf(Field(&PullFailure::code, ShardFailure::MISSING),
                                Field(&PullFailure::location, "fake://a/x"))));
}

TEST_F(PullerTest, MissingEverywhereIsNotFound) {
  store_.Erase("a/x");
  store_.Erase("b/x");

  const PullResult result = Pull(both_);

  EXPECT_THAT(result.status,
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none of its 2 locations")));
  EXPECT_EQ(result.failure->code, ShardFailure::MISSING);
}

TEST_F(PullerTest, TruncatedObjectIsMissingWithoutARead) {
  store_.Set("a/x", bytes_.substr(0, kSize - 1));

  const PullResult result = Pull(one_);

  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kNotFound,
                                      HasSubstr(absl::StrCat("registered are ", kSize))));
  EXPECT_EQ(result.failure->code, ShardFailure::MISSING);
  EXPECT_THAT(store_.reads(), IsEmpty());
}

TEST_F(PullerTest, LongerObjectIsCorruptWithoutARead) {
  store_.Set("a/x", bytes_ + "x");

  const PullResult result = Pull(one_);

  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(result.failure->code, ShardFailure::CORRUPT);
  EXPECT_THAT(store_.reads(), IsEmpty());
}

TEST_F(PullerTest, ObjectTruncatedAfterItWasOpenedIsMissing) {
  store_.OnRead([](const ReadCall&) { return absl::OutOfRangeError("ends early"); });

  EXPECT_EQ(Pull(one_).failure->code, ShardFailure::MISSING);
}

TEST_F(PullerTest, ObjectReplacedDuringThePullIsNotReadOn) {
  std::atomic<int> reads = 0;
  store_.OnRead([&](const ReadCall& call) {
    if (call.key == "a/x" && ++reads == 2) store_.Set("a/x", TestBytes(kSize, 99));
    return absl::OkStatus();
  });

  const PullResult result = Pull(both_, OneAtATime());

  MUSTER_ASSERT_OK(result.status);
  EXPECT_TRUE(SinkIsRight());
  EXPECT_EQ(store_.reads_of("a/x"), 1);
  EXPECT_EQ(store_.reads_of("b/x"), 3);
  EXPECT_THAT(result.location_failures,
              ElementsAre(AllOf(Field(&PullFailure::code, ShardFailure::CORRUPT),
                                Field(&PullFailure::message, HasSubstr("replaced")))));
}

TEST_F(PullerTest, UnavailableLocationIsTriedAgainAfterAPause) {
  std::atomic<int> failures = 3;
  store_.OnRead([&](const ReadCall&) {
    return failures-- > 0 ? absl::UnavailableError("busy") : absl::OkStatus();
  });

  const PullResult result = Pull(one_, OneAtATime());

  MUSTER_ASSERT_OK(result.status);
  EXPECT_GT(clock_.Monotonic(), absl::Milliseconds(50 + 100 + 200));
  EXPECT_LT(clock_.Monotonic(), absl::Milliseconds(100 + 200 + 400 + 1));
  EXPECT_THAT(result.location_failures,
              ElementsAre(Field(&PullFailure::code, ShardFailure::UNREADABLE)));
}

// The store has tried several connections by then; more rounds would hold a node for minutes.
TEST_F(PullerTest, LocationThatIsTooSlowIsReportedAfterOneRound) {
  std::atomic<int> reads = 0;
  store_.OnRead([&](const ReadCall&) {
    ++reads;
    return MakeError(absl::StatusCode::kDeadlineExceeded, reasons::kStorageSlow,
                     "too slow: 6 bytes");
  });
  const PullResult result = Pull(one_, OneAtATime());

  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("too slow")));
  EXPECT_EQ(reads, 1);
  ASSERT_EQ(result.location_reports.size(), 1u);
  EXPECT_EQ(result.location_reports[0].code(), ShardFailure::SLOW);
  EXPECT_EQ(result.failure->code, ShardFailure::SLOW);
}

TEST_F(PullerTest, UnavailableForTooLongFails) {
  std::atomic<int> reads = 0;
  store_.OnRead([&](const ReadCall&) {
    ++reads;
    return absl::UnavailableError("busy");
  });

  const PullResult result = Pull(one_, OneAtATime());

  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(result.failure->code, ShardFailure::UNREADABLE);
  EXPECT_EQ(reads, PullRetry().attempts);
}

TEST_F(PullerTest, BadPieceIsNotFetchedAgainWhileAnotherLocationIsTriedAgain) {
  store_.FlipByte("a/x", 0);
  store_.OnRead([](const ReadCall& call) {
    return call.key == "b/x" ? absl::UnavailableError("busy") : absl::OkStatus();
  });

  const PullResult result = Pull(both_, OneAtATime());

  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(result.failure->location, "fake://a/x");
  EXPECT_EQ(store_.reads_of("a/x"), 1);
}

TEST_F(PullerTest, UnavailableStatMovesOnToTheNextLocation) {
  store_.FailStat("a/x", absl::UnavailableError("busy"));

  MUSTER_EXPECT_OK(Pull(both_).status);
  EXPECT_EQ(store_.reads_of("b/x"), 4);
}

TEST_F(PullerTest, UnknownSchemeIsPassedOver) {
  const PullResult result = Pull(ShardWithPieces(bytes_, {"gopher://g/x", "fake://b/x"}));

  MUSTER_ASSERT_OK(result.status);
  EXPECT_THAT(result.location_failures,
              ElementsAre(AllOf(Field(&PullFailure::code, ShardFailure::UNREADABLE),
                                Field(&PullFailure::message, HasSubstr("gopher")))));
}

TEST_F(PullerTest, NoLocationIsNotFound) {
  EXPECT_THAT(Pull(ShardWithPieces(bytes_, {})).status,
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no location")));
}

TEST_F(PullerTest, OwnZoneComesFirstThenPriority) {
  PullShard shard = both_;
  *shard.shard.add_locations() = shard.shard.locations(0);
  shard.shard.mutable_locations(2)->set_uri("fake://c/x");
  shard.shard.mutable_locations(0)->set_priority(5);
  shard.shard.mutable_locations(1)->set_priority(2);
  shard.shard.mutable_locations(2)->set_zone("z");
  shard.shard.mutable_locations(2)->set_priority(9);
  store_.Set("c/x", bytes_);

  MUSTER_ASSERT_OK(Pull(shard, {.zone = "z"}).status);
  EXPECT_EQ(store_.reads_of("c/x"), 4);
  MUSTER_ASSERT_OK(Pull(shard).status);
  EXPECT_EQ(store_.reads_of("b/x"), 4);
}

TEST_F(PullerTest, SinkErrorsAreTheNodes) {
  sink_.error = absl::ResourceExhaustedError("disk full");
  const PullResult full = Pull(both_);
  sink_.error = absl::InternalError("disk broken");
  const PullResult broken = Pull(both_);

  EXPECT_THAT(full.status, ErrorIs(absl::StatusCode::kResourceExhausted, "NODE_NO_SPACE"));
  EXPECT_EQ(full.failure->code, ShardFailure::NO_SPACE);
  EXPECT_EQ(broken.failure->code, ShardFailure::NODE_ERROR);
  EXPECT_THAT(full.location_failures, IsEmpty());
}

TEST_F(PullerTest, HostileDescriptionIsRefusedBeforeAnyRead) {
  PullShard shard = both_;
  shard.pieces.pop_back();

  EXPECT_THAT(Pull(shard).status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store_.reads(), IsEmpty());
}

TEST_F(PullerTest, WholeMd5ShardNeedsASinkThatHoldsBack) {
  EXPECT_THAT(Pull(whole_).status, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(store_.reads(), IsEmpty());
}

TEST_F(PullerTest, WholeMd5ShardIsGivenOutOnlyWhenItMatches) {
  Puller puller(stores_, clock_, *random_, {});
  store_.FlipByte("a/x", kSize - 1);

  const MemoryPullResult good = puller.PullToMemory(whole_, kSize, {}, {});
  store_.FlipByte("b/x", 0);
  const MemoryPullResult bad = puller.PullToMemory(whole_, kSize, {}, {});

  MUSTER_ASSERT_OK(good.pull.status);
  EXPECT_TRUE(absl::string_view(good.bytes.get(), kSize) == bytes_);
  EXPECT_EQ(good.pull.location_failures[0].expected_md5, Md5ToHex(Md5Of(bytes_)));
  EXPECT_THAT(bad.pull.status, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(bad.bytes, nullptr);
}

TEST_F(PullerTest, WholeMd5ShardGoesOnWhereAReadFailed) {
  const std::string bytes = TestBytes(20 * kMiB, 5);
  store_.Set("a/big", bytes);
  std::atomic<int> failures = 2;
  store_.OnRead([&](const ReadCall& call) {
    return call.offset > 0 && failures-- > 0 ? absl::UnavailableError("busy") : absl::OkStatus();
  });
  Puller puller(stores_, clock_, *random_, {});

  const auto result =
      puller.PullToMemory(ShardWithoutPieces(bytes, {"fake://a/big"}), 20 * kMiB, {}, {});

  MUSTER_ASSERT_OK(result.pull.status);
  EXPECT_EQ(result.pull.fetched_bytes, 20 * kMiB);
}

TEST_F(PullerTest, ShardBeyondTheMemoryAllowedIsRefused) {
  Puller puller(stores_, clock_, *random_, {});

  EXPECT_THAT(puller.PullToMemory(both_, kSize - 1, {}, {}).pull.status,
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(PullerTest, MemoryBudgetBoundsThePiecesInFlight) {
  const std::string bytes = TestBytes(16 * kMiB, 6);
  store_.Set("a/big", bytes);
  Mutex mutex;
  CondVar changed;
  int inside = 0;
  int most = 0;
  std::vector<std::string> warnings;
  // The first two reads wait for each other, so that the budget is used up.
  store_.OnRead([&](const ReadCall&) {
    MutexLock lock(mutex);
    most = std::max(most, ++inside);
    changed.NotifyAll();
    AwaitOrFail(mutex, changed, "the second read", [&] { return most >= 2; });
    return absl::OkStatus();
  });
  class LeavingSink final : public PieceSink {
   public:
    LeavingSink(Mutex& mutex, int& inside) : mutex_(mutex), inside_(inside) {}
    absl::Status Write(int64_t, absl::string_view) override {
      MutexLock lock(mutex_);
      --inside_;
      return absl::OkStatus();
    }
    bool HoldsBack() const override { return false; }

   private:
    Mutex& mutex_;
    int& inside_;
  } sink(mutex, inside);
  Puller puller(stores_, clock_, *random_,
                {.memory_budget_bytes = 2 * kMiB + 1,
                 .warn = [&](absl::string_view text) { warnings.emplace_back(text); }});

  const PullShard shard = ShardWithPieces(bytes, {"fake://a/big"});
  MUSTER_ASSERT_OK(puller.Pull(shard, sink, {}, {}).status);
  MUSTER_ASSERT_OK(puller.Pull(shard, sink, {}, {}).status);

  EXPECT_EQ(most, 2);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("from 8 to 2")));
}

TEST_F(PullerTest, PieceBeyondTheMemoryBudgetIsRefused) {
  EXPECT_THAT(Pull(both_, {.memory_budget_bytes = kMiB - 1}).status,
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("memory budget")));
}

TEST_F(PullerTest, PiecesForMemoryNeedNoBuffersWhereNoneIsReadTwice) {
  std::atomic<int> reads = 0;
  store_.OnRead([&](const ReadCall&) {
    return ++reads == 2 ? absl::UnavailableError("once") : absl::OkStatus();
  });
  Puller puller(stores_, clock_, *random_, {.memory_budget_bytes = 1});

  const MemoryPullResult result = puller.PullToMemory(one_, kSize, {}, {});

  MUSTER_ASSERT_OK(result.pull.status);
  EXPECT_EQ(absl::string_view(result.bytes.get(), kSize), bytes_);
}

TEST_F(PullerTest, CancelEndsThePull) {
  std::stop_source stop;
  store_.OnRead([&](const ReadCall&) {
    stop.request_stop();
    return absl::OkStatus();
  });
  Puller puller(stores_, clock_, *random_, {.connections = 1});

  const PullResult result = puller.Pull(both_, sink_, stop.get_token(), {});

  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_LE(store_.reads().size(), 1u);
}

TEST_F(PullerTest, CancelEndsAPullWhosePiecesAreAllQueued) {
  Gate reading;
  Gate go_on;
  store_.OnRead([&](const ReadCall& call) {
    if (call.key == "a/x") {
      reading.Open();
      go_on.Wait("the end of the pull that is queued");
    }
    return absl::OkStatus();
  });
  Puller puller(stores_, clock_, *random_, {.connections = 1});
  std::thread first([&] { MUSTER_EXPECT_OK(puller.Pull(one_, sink_, {}, {}).status); });
  reading.Wait("the first read");
  std::stop_source stop;
  stop.request_stop();
  CountingSink other(kSize, false);

  const PullResult queued =
      puller.Pull(ShardWithPieces(bytes_, {"fake://b/x"}), other, stop.get_token(), {});

  EXPECT_THAT(queued.status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(store_.reads_of("b/x"), 0);
  go_on.Open();
  first.join();
}

TEST_F(PullerTest, DestructorCancelsPullsUnderWay) {
  Gate reading;
  store_.OnRead([&](const ReadCall&) {
    reading.Open();
    return absl::UnavailableError("busy");
  });
  auto puller = std::make_unique<Puller>(
      stores_, clock_, *random_,
      PullerOptions{.retry = {.attempts = 1 << 30, .backoff = {.initial = absl::Milliseconds(1)}}});
  PullResult result;
  Puller* running = puller.get();
  std::thread caller([&] { result = running->Pull(one_, sink_, {}, {}); });
  reading.Wait("the first read");

  puller.reset();
  caller.join();

  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(PullerTest, ManyShardsPullAtOnce) {
  Puller puller(stores_, clock_, *random_, {.connections = 3});
  std::vector<std::thread> callers;
  std::atomic<int> good = 0;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      CountingSink sink(kSize, false);
      if (puller.Pull(both_, sink, {}, {}).status.ok() && sink.bytes() == bytes_) ++good;
    });
  }
  for (std::thread& caller : callers) caller.join();

  EXPECT_EQ(good, 8);
}

}  // namespace
}  // namespace muster
