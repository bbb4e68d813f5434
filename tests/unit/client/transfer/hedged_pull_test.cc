// Pulls from locations that are slow, and pulls that are bounded in their rate and connections.
#include <atomic>
#include <thread>

#include "client/transfer/host_slots.h"
#include "client/transfer/puller.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using muster::v1::ShardFailure;
using ReadCall = ScriptedStore::ReadCall;

constexpr int kPieces = 40;
constexpr int64_t kSize = kPieces * kMiB;
constexpr int64_t kSlow = 5 * kMiB;

// Writes once per range, or fails the test.
class OnceSink final : public PieceSink {
 public:
  absl::Status Write(int64_t offset, absl::string_view bytes) override {
    MutexLock lock(mutex_);
    EXPECT_TRUE(written_.insert(offset).second) << "written twice: " << offset;
    bytes_.replace(static_cast<size_t>(offset), bytes.size(), bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  bool HoldsBack() const override { return false; }
  const std::string& bytes() const { return bytes_; }

 private:
  Mutex mutex_;
  std::set<int64_t> written_;
  std::string bytes_ = std::string(kSize, '\0');
};

// Returns once `stop` was requested: a read that hangs, but ends when asked to.
absl::Status Hang(const std::stop_token& stop) {
  Gate stopped;
  const std::stop_callback open(stop, [&] { stopped.Open(); });
  stopped.Wait("the read to be stopped");
  return absl::CancelledError("stopped");
}

class HedgedPullTest : public testing::Test {
 protected:
  HedgedPullTest() {
    store_.Set("a/x", bytes_);
    store_.Set("b/x", bytes_);
  }

  // Time advances with every read, so that one that hangs becomes slow.
  void Tick() { clock_.Advance(absl::Milliseconds(20)); }

  PullResult Pull(PullerOptions options) {
    Puller puller(stores_, clock_, *random_, std::move(options));
    return puller.Pull(shard_, sink_, {}, {});
  }

  ObjectStoreRegistry stores_;
  ScriptedStore store_{stores_};
  FakeClock clock_;
  std::unique_ptr<Random> random_ = NewSeededRandom(1);
  const std::string bytes_ = TestBytes(kSize, 11);
  const PullShard shard_ = ShardWithPieces(bytes_, {"fake://a/x", "fake://b/x"});
  OnceSink sink_;
};

TEST_F(HedgedPullTest, PieceThatHangsIsFetchedFromTheNextLocationAndTheReadThatHangsIsStopped) {
  std::atomic<int> stopped = 0;
  store_.OnRead([&](const ReadCall& call) {
    // Not afterwards: a reader that the machine holds up would look slow.
    if (stopped == 0) Tick();
    if (call.key != "a/x" || call.offset != kSlow) return absl::OkStatus();
    const absl::Status status = Hang(call.stop);
    ++stopped;
    return status;
  });

  const PullResult result = Pull({.connections = 2});

  MUSTER_ASSERT_OK(result.status);
  EXPECT_TRUE(sink_.bytes() == bytes_);
  EXPECT_EQ(stopped, 1);
  EXPECT_GE(store_.reads_of("b/x"), 1);
  EXPECT_LE(store_.reads_of("b/x"), 2) << "at most 5 % of 40 pieces";
  EXPECT_THAT(result.location_failures, testing::IsEmpty()) << "one slow read is not a failure";
}

// The clock is everybody's, so that reads which only happen to be under way may look slow too.
TEST_F(HedgedPullTest, AllConnectionsMayHang) {
  store_.OnRead([&](const ReadCall& call) {
    Tick();
    if (call.key == "a/x" && call.offset >= kSlow && call.offset < kSlow + 2 * kMiB) {
      clock_.Advance(absl::Seconds(10));
      return Hang(call.stop);
    }
    return absl::OkStatus();
  });

  const PullResult result = Pull({.connections = 2, .hedge = {.extra_bytes = 0.5}});

  MUSTER_ASSERT_OK(result.status);
  EXPECT_TRUE(sink_.bytes() == bytes_);
}

TEST_F(HedgedPullTest, LocationThatIsOvertakenTwiceComesAfterTheOthers) {
  store_.OnRead([&](const ReadCall& call) {
    Tick();
    if (call.key == "a/x" && call.offset >= kSlow) {
      clock_.Advance(absl::Seconds(10));
      return Hang(call.stop);
    }
    return absl::OkStatus();
  });

  const PullResult result = Pull({.connections = 1});

  MUSTER_ASSERT_OK(result.status);
  EXPECT_TRUE(sink_.bytes() == bytes_);
  EXPECT_EQ(store_.reads_of("a/x"), 5);
  EXPECT_EQ(store_.reads_of("b/x"), kPieces - 5);
  ASSERT_EQ(result.location_failures.size(), 1u);
  EXPECT_EQ(result.location_failures[0].code, ShardFailure::SLOW);
  EXPECT_EQ(result.location_failures[0].location, "fake://a/x");
}

TEST_F(HedgedPullTest, SecondReadOfWrongBytesIsReportedAndTheFirstOneCounts) {
  store_.FlipByte("b/x", kSlow);
  Gate second_was_tried;
  store_.OnRead([&](const ReadCall& call) {
    Tick();
    if (call.offset != kSlow) return absl::OkStatus();
    if (call.key == "b/x") {
      second_was_tried.Open();
    } else {
      clock_.Advance(absl::Seconds(10));
      second_was_tried.Wait("the second read");
    }
    return absl::OkStatus();
  });

  const PullResult result = Pull({.connections = 2});

  MUSTER_ASSERT_OK(result.status);
  EXPECT_TRUE(sink_.bytes() == bytes_);
}

TEST_F(HedgedPullTest, WithoutABudgetNothingIsReadTwice) {
  Gate rest_is_there;
  std::atomic<int> reads = 0;
  store_.OnRead([&](const ReadCall& call) {
    Tick();
    if (call.offset == kSlow) {
      clock_.Advance(absl::Seconds(10));
      rest_is_there.Wait("the other pieces");
    } else if (++reads == kPieces - 1) {
      rest_is_there.Open();
    }
    return absl::OkStatus();
  });

  const PullResult result = Pull({.connections = 2, .hedge = {.extra_bytes = 0}});

  MUSTER_ASSERT_OK(result.status);
  EXPECT_EQ(store_.reads_of("b/x"), 0);
  EXPECT_EQ(result.fetched_bytes, kSize);
}

TEST_F(HedgedPullTest, CancelEndsReadsThatHangAndBlamesNoLocation) {
  std::stop_source stop;
  store_.OnRead([&](const ReadCall& call) {
    if (call.offset == kSlow) stop.request_stop();
    return call.offset >= kSlow ? Hang(call.stop) : absl::OkStatus();
  });
  Puller puller(stores_, clock_, *random_, {.connections = 4});

  const PullResult result = puller.Pull(shard_, sink_, stop.get_token(), {});

  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(result.location_failures, testing::IsEmpty());
}

TEST_F(HedgedPullTest, PullTakesTheTimeThatTheRateAllows) {
  const absl::Duration begin = clock_.Monotonic();

  const PullResult result = Pull({.connections = 1, .max_bytes_per_second = 4 * kMiB});

  MUSTER_ASSERT_OK(result.status);
  // A piece that waits for its turn may be read a second time, which counts towards the rate.
  const double seconds = absl::ToDoubleSeconds(clock_.Monotonic() - begin);
  EXPECT_GE(seconds, kPieces / 4.0 - 0.2);
  EXPECT_LE(seconds, kPieces / 4.0 * 1.05 + 0.2);
}

TEST_F(HedgedPullTest, ReadsFromOneHostAreBounded) {
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  store_.OnRead([&](const ReadCall&) {
    most = std::max<int>(most, ++now);
    std::this_thread::yield();
    --now;
    return absl::OkStatus();
  });

  MUSTER_ASSERT_OK(Pull({.connections = 8, .connections_per_host = 2}).status);

  EXPECT_LE(most, 2);
}

// Two connections, one for each host at most: where the second one was held by who waited for the first
// host, the other host's shard was never read.
TEST_F(HedgedPullTest, BusyHostHoldsNoConnectionsThatAreOfUseElsewhere) {
  const PullShard slow = ShardWithPieces(bytes_, {"fake://a/x"});
  const PullShard other = ShardWithPieces(bytes_, {"fake://b/x"});
  Gate begun;
  Gate other_is_there;
  store_.OnRead([&](const ReadCall& call) {
    if (call.key != "a/x") return absl::OkStatus();
    begun.Open();
    other_is_there.Wait("the other host's shard");
    return absl::OkStatus();
  });
  Puller puller(stores_, clock_, *random_, {.connections = 2, .connections_per_host = 1});
  std::thread first([&] {
    const auto pulled = puller.PullToMemory(slow, kSize, {}, {});
    MUSTER_EXPECT_OK(pulled.pull.status);
  });
  begun.Wait("the first read");

  const auto pulled = puller.PullToMemory(other, kSize, {}, {});

  other_is_there.Open();
  first.join();
  MUSTER_EXPECT_OK(pulled.pull.status);
}

TEST_F(HedgedPullTest, StopEndsTheWaitForABusyHost) {
  std::atomic<int> reads = 0;
  std::stop_source stop;
  store_.OnRead([&](const ReadCall& call) {
    if (++reads > 1) return absl::OkStatus();
    // The step after this one has been begun, or is about to be.
    stop.request_stop();
    return Hang(call.stop);
  });
  Puller puller(stores_, clock_, *random_, {.connections = 4, .connections_per_host = 1});

  EXPECT_THAT(puller.Pull(shard_, sink_, stop.get_token(), {}).status,
              StatusIs(absl::StatusCode::kCancelled));
}

TEST(HostSlotsTest, HostsAreCountedApartAndFilesNotAtAll) {
  HostSlots slots(1);
  const std::string first = slots.HostOf("http://h:1/a");
  EXPECT_EQ(first, slots.HostOf("http://h:1/b"));
  EXPECT_NE(first, slots.HostOf("http://h:2/a"));
  EXPECT_EQ(slots.HostOf("file:///a"), "");
  EXPECT_EQ(HostSlots(0).HostOf("http://h:1/a"), "");

  slots.Take(first);
  slots.Take("");

  EXPECT_EQ(slots.Room(first), 0u);
  EXPECT_EQ(slots.Room(slots.HostOf("http://h:2/a")), 1u);
  EXPECT_GT(slots.Room(""), 1000u);
  slots.Return(first);
  slots.Return("");
  EXPECT_EQ(slots.Room(first), 1u);
}

}  // namespace
}  // namespace muster
