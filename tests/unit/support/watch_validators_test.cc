#include "tests/support/watch_validators.h"

#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster {
namespace {

using testing::StartsWith;

// What happened: one thing at 3, two at 5, one at 8.
const TrueItems kTruth = {{3, {{"a"}}}, {5, {{"b"}, {"c"}}}, {8, {{"d"}}}};

WatchHistory Good() {
  return WatchHistory{2,
                      {{3, true, false, {"a"}},
                       {5, false, false, {"b"}},
                       {5, true, false, {"c"}},
                       {7, false, true, {}},
                       {8, true, false, {"d"}}}};
}

TEST(WatchValidatorsTest, WholeWatchKeepsAllPromises) {
  EXPECT_EQ(CheckWatches({Good()}, kTruth), "");
  EXPECT_EQ(SafeRevision(Good()), 8u);
}

TEST(WatchValidatorsTest, RevisionThatGoesBackIsNotOrdered) {
  WatchHistory history = Good();
  std::swap(history.messages[0], history.messages[4]);
  EXPECT_THAT(CheckOrdered(history), StartsWith("ordered"));
}

TEST(WatchValidatorsTest, RevisionThatGoesOnAfterItsEndIsNotOrdered) {
  WatchHistory history = Good();
  history.messages[1].complete = true;
  EXPECT_THAT(CheckOrdered(history), StartsWith("ordered"));
}

TEST(WatchValidatorsTest, WhatComesTwiceIsNotUnique) {
  WatchHistory history = Good();
  history.messages[2].items = {"b"};
  EXPECT_THAT(CheckUnique(history), StartsWith("unique"));
}

TEST(WatchValidatorsTest, WhatWasBeforeTheStartIsNotUnique) {
  WatchHistory history = Good();
  history.start = 3;
  EXPECT_THAT(CheckUnique(history), StartsWith("unique"));
}

TEST(WatchValidatorsTest, WhatIsMissingIsNotReliable) {
  WatchHistory history = Good();
  history.messages.erase(history.messages.begin());
  EXPECT_THAT(CheckReliable(history, kTruth), StartsWith("reliable"));
}

TEST(WatchValidatorsTest, WhatNeverHappenedIsNotReliable) {
  WatchHistory history = Good();
  history.messages[0].items.push_back("x");
  EXPECT_THAT(CheckReliable(history, kTruth), StartsWith("reliable"));
}

TEST(WatchValidatorsTest, WhatMayBeLeftOutIsNotMissed) {
  TrueItems truth = kTruth;
  truth[3][0].optional = true;
  WatchHistory history = Good();
  history.messages.erase(history.messages.begin());
  EXPECT_EQ(CheckReliable(history, truth), "");
}

TEST(WatchValidatorsTest, RevisionThatIsCompleteTooEarlyIsNotAtomic) {
  WatchHistory history = Good();
  history.messages[1].complete = true;
  EXPECT_THAT(CheckAtomic(history, kTruth), StartsWith("atomic"));
}

TEST(WatchValidatorsTest, RevisionThatBreaksOffIsNotAtomic) {
  WatchHistory history = Good();
  history.messages.erase(history.messages.begin() + 2);
  EXPECT_THAT(CheckAtomic(history, kTruth), StartsWith("atomic"));
}

TEST(WatchValidatorsTest, WatchResumedFromASafePlaceIsResumable) {
  WatchHistory first = Good(), second = Good();
  // Broken off in the middle of 5, which comes again.
  first.messages.resize(2);
  second.start = 3;
  second.messages.erase(second.messages.begin());
  EXPECT_EQ(CheckResumable({first, second}, kTruth), "");
}

TEST(WatchValidatorsTest, ResumedWatchWithAGapIsNotResumable) {
  WatchHistory first = Good(), second = Good();
  first.messages.resize(1);
  second.start = 3;
  second.messages.erase(second.messages.begin(), second.messages.begin() + 3);
  EXPECT_THAT(CheckResumable({first, second}, kTruth), StartsWith("resumable"));
}

TEST(WatchValidatorsTest, ProgressBeforeWhatHappenedIsNoBookmark) {
  WatchHistory history = Good();
  history.messages[3].revision = 8;
  EXPECT_THAT(CheckBookmarkable(history, kTruth), StartsWith("bookmarkable"));
}

TEST(WatchValidatorsTest, EventOfBeforeAProgressIsNoBookmark) {
  WatchHistory history = Good();
  history.messages[4].revision = 6;
  EXPECT_THAT(CheckBookmarkable(history, kTruth), StartsWith("bookmarkable"));
}

}  // namespace
}  // namespace muster
