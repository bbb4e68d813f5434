#include "server/registry/event_rows.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/registry/limits.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

std::vector<v1::Event> NodesLost(int count) {
  std::vector<v1::Event> events(count);
  for (int i = 0; i < count; ++i) {
    events[i].set_kind(v1::Event::NODE_LOST);
    events[i].set_node(absl::StrCat("nodes/n", i));
  }
  return events;
}

AssignmentChange AssignmentOf(uint32_t shards, uint32_t step) {
  AssignmentChange change;
  change.node = NodeUid(5);
  change.assembly = "assemblies/a";
  change.assembly_uid = AssemblyUid(6);
  change.version = VersionUid(7);
  change.node_name = "nodes/n";
  change.model_version = "models/m/versions/v";
  for (uint32_t i = 0; i < shards; ++i) {
    change.assigned.push_back(Assignment{i * step, Generation(40 + i % 2)});
  }
  return change;
}

TEST(EventRowsTest, AssignmentsComeBackAsTheyWere) {
  AssignmentChange change = AssignmentOf(10, 3);
  change.unassigned = {1, 2, 50};
  std::vector<Change> changes;
  changes.push_back(Change{Revision(9), change});

  const auto rows = PackEvents({}, changes, {1, 1, "plan"}, 10, kMaxBytesPerCommand);

  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].told, 2u);
  std::vector<Change> back;
  MUSTER_ASSERT_OK(UnpackWatched(
      Revision(9), rows[0].row, [](const auto&) { return true; }, back));
  ASSERT_EQ(back.size(), 2u);
  const auto& gone = std::get<AssignmentChange>(back[0].what);
  const auto& given = std::get<AssignmentChange>(back[1].what);
  EXPECT_EQ(gone.unassigned, change.unassigned);
  EXPECT_EQ(given.assigned, change.assigned);
  EXPECT_EQ(given.node, change.node);
  EXPECT_EQ(given.assembly, change.assembly);
  EXPECT_EQ(given.version, change.version);
  const auto told = UnpackTold(Revision(9), rows[0].row);
  MUSTER_ASSERT_OK(told);
  EXPECT_EQ((*told)[1].shards_size(), 10);
  EXPECT_EQ((*told)[1].shard_count(), 10u);
  EXPECT_EQ((*told)[1].cause(), "plan");
}

TEST(EventRowsTest, EventsOfManyRowsKeepTheirOrder) {
  std::vector<Change> changes;
  const auto rows = PackEvents(NodesLost(10'000), changes, {1, 1, "test"}, 10, kMaxBytesPerCommand);

  ASSERT_GT(rows.size(), 1u);
  uint32_t next = 0;
  for (const PackedEvents& packed : rows) {
    EXPECT_LE(packed.row.size(), kMaxEventsRowBytes + 1'024);
    const auto told = UnpackTold(Revision(1), packed.row);
    MUSTER_ASSERT_OK(told);
    EXPECT_EQ(told->size(), packed.told);
    for (const v1::Event& event : *told) {
      EXPECT_EQ(event.sequence(), next);
      EXPECT_EQ(event.node(), absl::StrCat("nodes/n", next++));
    }
  }
  EXPECT_EQ(next, 10'000u);
}

TEST(EventRowsTest, WhatWatchesNeedIsCutFirst) {
  std::vector<Change> changes;
  for (int i = 0; i < 10; ++i) changes.push_back(Change{Revision(1), AssignmentOf(30'000, 3)});

  const auto rows = PackEvents(NodesLost(1), changes, {1, 1, "plan"}, 40, kMaxBytesPerCommand);

  size_t bytes = 0, told = 0;
  for (const PackedEvents& packed : rows) {
    bytes += packed.row.size();
    told += packed.told;
    std::vector<Change> back;
    EXPECT_THAT(UnpackWatched(
                    Revision(1), packed.row, [](const auto&) { return true; }, back),
                StatusIs(absl::StatusCode::kOutOfRange));
  }
  EXPECT_LE(bytes, kMaxBytesPerCommand);
  EXPECT_EQ(told, 11u);
}

TEST(EventRowsTest, RestIsCutFromTheEnd) {
  std::vector<Change> changes;

  const auto rows = PackEvents(NodesLost(10'000), changes, {1, 1, "test"}, 40, 100'000);

  size_t bytes = 0, told = 0;
  for (const PackedEvents& packed : rows) {
    bytes += packed.row.size();
    told += packed.told;
  }
  EXPECT_LE(bytes, 100'000u);
  EXPECT_GT(told, 1'000u);
  const auto first = UnpackTold(Revision(1), rows[0].row);
  MUSTER_ASSERT_OK(first);
  EXPECT_EQ((*first)[0].node(), "nodes/n0");
}

TEST(EventRowsTest, DamagedRowIsDataLoss) {
  EXPECT_THAT(UnpackTold(Revision(1), "\xff\xff"), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace muster
