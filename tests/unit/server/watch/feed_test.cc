#include "server/watch/feed.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

Event NodeEventAt(uint64_t revision, uint64_t node) {
  NodeEvent event;
  event.uid = NodeUid(node);
  event.epoch = Epoch(revision);
  return Event{Revision(revision), event};
}

void Publish(Feed& feed, uint64_t revision, uint64_t node) {
  std::vector<Event> events;
  events.push_back(NodeEventAt(revision, node));
  feed.Publish(std::move(events), Revision(revision));
}

TEST(FeedTest, ReadGivesTheKeysOwnEventsAfterARevision) {
  Feed feed({});
  feed.Start(Revision(0));
  for (uint64_t revision = 1; revision <= 6; ++revision) Publish(feed, revision, revision % 2);

  const auto events = feed.Read(KeyOf(NodeUid(1)), Revision(1), 10);

  MUSTER_ASSERT_OK(events);
  ASSERT_EQ(events->size(), 2u);
  EXPECT_EQ((*events)[0]->revision, Revision(3));
  EXPECT_EQ((*events)[1]->revision, Revision(5));
  EXPECT_EQ(feed.durable(), Revision(6));
}

TEST(FeedTest, ReadNeverSplitsARevision) {
  Feed feed({});
  feed.Start(Revision(0));
  std::vector<Event> events;
  for (int i = 0; i < 3; ++i) events.push_back(NodeEventAt(1, 1));
  events.push_back(NodeEventAt(2, 1));
  feed.Publish(std::move(events), Revision(2));

  EXPECT_EQ(feed.Read(KeyOf(NodeUid(1)), Revision(0), 1)->size(), 3u);
  EXPECT_EQ(feed.Read(KeyOf(NodeUid(1)), Revision(0), 4)->size(), 4u);
}

TEST(FeedTest, RevisionBeforeTheStartIsCompacted) {
  Feed feed({});
  feed.Start(Revision(7));

  EXPECT_THAT(feed.Read(KeyOf(NodeUid(1)), Revision(6), 1),
              ErrorIs(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED"));
  MUSTER_EXPECT_OK(feed.Read(KeyOf(NodeUid(1)), Revision(7), 1));
}

TEST(FeedTest, RingDropsTheOldestBeyondItsEvents) {
  Feed feed({.max_events = 3});
  feed.Start(Revision(0));
  for (uint64_t revision = 1; revision <= 5; ++revision) Publish(feed, revision, 1);

  EXPECT_THAT(feed.Read(KeyOf(NodeUid(1)), Revision(1), 10),
              ErrorIs(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED"));
  EXPECT_EQ(feed.Read(KeyOf(NodeUid(1)), Revision(2), 10)->size(), 3u);
}

TEST(FeedTest, RingDropsTheOldestBeyondItsBytes) {
  Feed feed({.max_events = 1'000, .max_bytes = 10'000});
  feed.Start(Revision(0));
  for (uint64_t revision = 1; revision <= 4; ++revision) {
    AssemblyEvent what;
    what.uid = AssemblyUid(1);
    what.members.emplace_back();
    // A member's claim may be long.
    for (uint32_t shard = 0; shard < 2'000; ++shard) {
      what.members.back().mutable_claim()->add_shards(shard);
    }
    std::vector<Event> events;
    events.push_back(Event{Revision(revision), what});
    feed.Publish(std::move(events), Revision(revision));
  }

  EXPECT_THAT(feed.Read(KeyOf(AssemblyUid(1)), Revision(0), 10),
              ErrorIs(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED"));
  EXPECT_LT(feed.Read(KeyOf(AssemblyUid(1)), Revision(3), 10)->size(), 3u);
}

TEST(FeedTest, PublishWakesOnlyTheKeysThatItTouches) {
  Feed feed({});
  feed.Start(Revision(0));
  int first = 0, second = 0;
  const uint64_t subscription = feed.Subscribe(KeyOf(NodeUid(1)), [&] { ++first; });
  feed.Subscribe(KeyOf(NodeUid(2)), [&] { ++second; });

  Publish(feed, 1, 1);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 0);

  feed.Unsubscribe(KeyOf(NodeUid(1)), subscription);
  Publish(feed, 2, 1);
  EXPECT_EQ(first, 1);
}

TEST(FeedTest, NodeAndAssemblyOfOneUidAreDifferentKeys) {
  EXPECT_FALSE(KeyOf(NodeUid(5)) == KeyOf(AssemblyUid(5)));
}

}  // namespace
}  // namespace muster
