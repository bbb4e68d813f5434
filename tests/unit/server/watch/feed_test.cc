#include "server/watch/feed.h"

#include <optional>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace muster {
namespace {

Change NodeChangeAt(uint64_t revision, uint64_t node) {
  NodeChange change;
  change.uid = NodeUid(node);
  change.epoch = Epoch(revision);
  return Change{Revision(revision), change};
}

void Publish(Feed& feed, uint64_t revision, uint64_t node) {
  std::vector<Change> changes;
  changes.push_back(NodeChangeAt(revision, node));
  feed.Publish(std::move(changes), Revision(revision));
}

TEST(FeedTest, ReadGivesTheKeysOwnChangesAfterARevision) {
  Feed feed({});
  feed.Start(Revision(0));
  for (uint64_t revision = 1; revision <= 6; ++revision) Publish(feed, revision, revision % 2);

  const auto changes = feed.Read(KeyOf(NodeUid(1)), Revision(1), 10).changes;

  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0]->revision, Revision(3));
  EXPECT_EQ(changes[1]->revision, Revision(5));
  EXPECT_EQ(feed.durable(), Revision(6));
}

TEST(FeedTest, ReadNeverSplitsARevision) {
  Feed feed({});
  feed.Start(Revision(0));
  std::vector<Change> changes;
  for (int i = 0; i < 3; ++i) changes.push_back(NodeChangeAt(1, 1));
  changes.push_back(NodeChangeAt(2, 1));
  feed.Publish(std::move(changes), Revision(2));

  EXPECT_EQ(feed.Read(KeyOf(NodeUid(1)), Revision(0), 1).changes.size(), 3u);
  EXPECT_EQ(feed.Read(KeyOf(NodeUid(1)), Revision(0), 4).changes.size(), 4u);
}

TEST(FeedTest, RevisionBeforeTheStartIsBehind) {
  Feed feed({});
  feed.Start(Revision(7));

  EXPECT_EQ(feed.Read(KeyOf(NodeUid(1)), Revision(6), 1).behind, Revision(7));
  EXPECT_EQ(feed.Read(KeyOf(NodeUid(1)), Revision(7), 1).behind, std::nullopt);
}

TEST(FeedTest, RingDropsTheOldestBeyondItsChanges) {
  Feed feed({.max_changes = 3});
  feed.Start(Revision(0));
  for (uint64_t revision = 1; revision <= 5; ++revision) Publish(feed, revision, 1);

  EXPECT_EQ(feed.Read(KeyOf(NodeUid(1)), Revision(1), 10).behind, Revision(2));
  EXPECT_EQ(feed.Read(KeyOf(NodeUid(1)), Revision(2), 10).changes.size(), 3u);
}

TEST(FeedTest, RingDropsTheOldestBeyondItsBytes) {
  Feed feed({.max_changes = 1'000, .max_bytes = 10'000});
  feed.Start(Revision(0));
  for (uint64_t revision = 1; revision <= 4; ++revision) {
    AssemblyChange what;
    what.uid = AssemblyUid(1);
    what.members.emplace_back();
    // A member's claim may be long.
    for (uint32_t shard = 0; shard < 2'000; ++shard) {
      what.members.back().mutable_claim()->add_shards(shard);
    }
    std::vector<Change> changes;
    changes.push_back(Change{Revision(revision), what});
    feed.Publish(std::move(changes), Revision(revision));
  }

  EXPECT_TRUE(feed.Read(KeyOf(AssemblyUid(1)), Revision(0), 10).behind.has_value());
  EXPECT_LT(feed.Read(KeyOf(AssemblyUid(1)), Revision(3), 10).changes.size(), 3u);
}

TEST(FeedTest, FollowerToWhomNothingHappensNeverFallsBehind) {
  Feed feed({.max_changes = 3});
  feed.Start(Revision(0));
  feed.Follow(KeyOf(NodeUid(2)));
  for (uint64_t revision = 1; revision <= 9; ++revision) Publish(feed, revision, 1);

  EXPECT_EQ(feed.Read(KeyOf(NodeUid(2)), Revision(0), 10).behind, std::nullopt);
  EXPECT_EQ(feed.Read(KeyOf(NodeUid(3)), Revision(0), 10).behind, Revision(6));

  feed.Unfollow(KeyOf(NodeUid(2)));
  EXPECT_EQ(feed.Read(KeyOf(NodeUid(2)), Revision(0), 10).behind, Revision(6));
}

TEST(FeedTest, FollowerFallsBehindByItsOwnChangesOnly) {
  Feed feed({.max_changes = 2});
  feed.Start(Revision(0));
  feed.Follow(KeyOf(NodeUid(2)));
  Publish(feed, 1, 2);
  Publish(feed, 2, 2);
  for (uint64_t revision = 3; revision <= 9; ++revision) Publish(feed, revision, 1);

  EXPECT_EQ(feed.Read(KeyOf(NodeUid(2)), Revision(1), 10).behind, Revision(2));
  EXPECT_EQ(feed.Read(KeyOf(NodeUid(2)), Revision(2), 10).behind, std::nullopt);
}

TEST(FeedTest, ReadSaysWhetherThereIsMore) {
  Feed feed({});
  feed.Start(Revision(0));
  Publish(feed, 1, 1);
  Publish(feed, 2, 1);

  EXPECT_TRUE(feed.Read(KeyOf(NodeUid(1)), Revision(0), 1).more);
  EXPECT_FALSE(feed.Read(KeyOf(NodeUid(1)), Revision(1), 1).more);
}

TEST(FeedTest, ListenerIsToldOfTheKeysThatAPublishTouches) {
  Feed feed({});
  feed.Start(Revision(0));
  std::vector<FeedKey> touched;
  feed.SetListener([&](const std::vector<FeedKey>& keys) { touched = keys; });
  std::vector<Change> changes;
  for (const uint64_t node : {1, 1, 2}) changes.push_back(NodeChangeAt(1, node));

  feed.Publish(std::move(changes), Revision(1));

  EXPECT_EQ(touched, (std::vector<FeedKey>{KeyOf(NodeUid(1)), KeyOf(NodeUid(2))}));
}

TEST(FeedTest, NodeAndAssemblyOfOneUidAreDifferentKeys) {
  EXPECT_FALSE(KeyOf(NodeUid(5)) == KeyOf(AssemblyUid(5)));
}

}  // namespace
}  // namespace muster
