#include "storage/object/transfer_pace.h"

#include <list>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace muster {
namespace {

using testing::HasSubstr;

constexpr char kUrl[] = "http://h:1/a";

class TransferPaceTest : public testing::Test {
 protected:
  // So many seconds pass, and each transfer moves its bytes in each of them.
  void Run(int seconds, const std::vector<int64_t>& rates) {
    for (int i = 0; i < seconds; ++i) {
      clock_.Advance(absl::Seconds(1));
      size_t next = 0;
      for (TransferPace::Transfer& transfer : transfers_) transfer.Moved(rates[next++]);
    }
  }
  void Begin(int count, const std::string& url = kUrl) {
    for (int i = 0; i < count; ++i) transfers_.emplace_back(pace_, url);
  }
  // The positions of those that are too slow.
  std::vector<int> Slow() {
    std::vector<int> slow;
    int next = 0;
    for (TransferPace::Transfer& transfer : transfers_) {
      if (transfer.TooSlow().has_value()) slow.push_back(next);
      ++next;
    }
    return slow;
  }

  FakeClock clock_;
  TransferPace pace_{clock_, {}};
  std::list<TransferPace::Transfer> transfers_;
};

TEST_F(TransferPaceTest, TricklingServerIsTooSlowAfterAWindow) {
  Begin(1);
  Run(29, {200});
  EXPECT_THAT(Slow(), testing::IsEmpty());
  Run(1, {200});
  const auto said = transfers_.front().TooSlow();
  ASSERT_TRUE(said.has_value());
  EXPECT_THAT(*said, testing::AllOf(HasSubstr("6000 bytes in 30s"), HasSubstr("65536"),
                                    HasSubstr("--min-rate")));
}

TEST_F(TransferPaceTest, TricklingServerIsTooSlowOverHoweverManyConnections) {
  Begin(3);
  Run(30, {200, 200, 200});
  EXPECT_THAT(Slow(), testing::ElementsAre(0, 1, 2));
}

// 400 KiB/s that eight connections share: each is below the floor, and none is to blame.
TEST_F(TransferPaceTest, SlowLinkThatIsSharedIsNot) {
  Begin(8);
  const std::vector<int64_t> rates(8, 50 << 10);
  for (int window = 0; window < 5; ++window) {
    Run(30, rates);
    EXPECT_THAT(Slow(), testing::IsEmpty());
  }
}

TEST_F(TransferPaceTest, OneConnectionThatTricklesBesideGoodOnesIsTooSlow) {
  Begin(4);
  Run(30, {1 << 20, 1 << 20, 200, 1 << 20});
  EXPECT_THAT(Slow(), testing::ElementsAre(2));
}

// The others have gone on to something else meanwhile; what they moved counts for their time.
TEST_F(TransferPaceTest, PeersThatCameAndWentCount) {
  Begin(1);
  for (int i = 0; i < 30; ++i) {
    TransferPace::Transfer peer(pace_, kUrl);
    peer.Moved(1 << 20);
    Run(1, {200});
  }
  EXPECT_THAT(Slow(), testing::ElementsAre(0));
}

TEST_F(TransferPaceTest, AnotherHostExcusesNothing) {
  Begin(1);
  Begin(2, "http://fast:1/a");
  Run(30, {200, 1 << 20, 1 << 20});
  EXPECT_THAT(Slow(), testing::ElementsAre(0));
}

TEST_F(TransferPaceTest, PausesOfTheReaderDontCount) {
  Begin(1);
  for (int i = 0; i < 100; ++i) {
    Run(1, {64 << 10});
    clock_.Advance(absl::Seconds(9));
    transfers_.front().Paused(absl::Seconds(9));
    EXPECT_THAT(Slow(), testing::IsEmpty());
  }
}

TEST_F(TransferPaceTest, EachWindowIsJudgedByItself) {
  Begin(1);
  Run(30, {100 << 20});
  EXPECT_THAT(Slow(), testing::IsEmpty());
  Run(30, {0});
  EXPECT_THAT(Slow(), testing::ElementsAre(0));
}

TEST_F(TransferPaceTest, NoFloorNoComplaint) {
  TransferPace none(clock_, {.min_bytes_per_second = 0});
  TransferPace::Transfer transfer(none, kUrl);
  clock_.Advance(absl::Hours(1));
  EXPECT_FALSE(transfer.TooSlow().has_value());
}

}  // namespace
}  // namespace muster
