#include "client/cli/top_screen.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kMebi = 1 << 20;

// Without members, which AddMember adds.
v1::Assembly& AddAssembly(const std::string& name, v1::Assembly::State state, ClusterLook& look) {
  v1::Assembly& assembly = look.assemblies.emplace_back();
  assembly.set_name("assemblies/" + name);
  assembly.set_uid("uid-of-" + name);
  assembly.set_model_version("models/llama/versions/v1");
  assembly.set_state(state);
  return assembly;
}

void AddNode(const std::string& name, v1::Node::State state, ClusterLook& look) {
  v1::Node& node = look.nodes.emplace_back();
  node.set_name("nodes/" + name);
  node.set_state(state);
}

v1::AssemblyMember& AddMember(const std::string& assembly, const std::string& node, uint64_t ready,
                              uint64_t assigned, ClusterLook& look) {
  v1::AssemblyMember& member = look.members["assemblies/" + assembly].emplace_back();
  member.set_node("nodes/" + node);
  member.set_live(true);
  member.set_ready_bytes(ready * kMebi);
  member.set_assigned_bytes(assigned * kMebi);
  return member;
}

// n1 has all, n2 and n3 load, one at ten times the other's rate, n4 gets nothing, n5 is lost, n6 has a failure.
ClusterLook LookAt(int second) {
  ClusterLook look;
  const auto done = static_cast<uint64_t>(second);
  AddAssembly("done", v1::Assembly::READY, look);
  AddAssembly("demo", v1::Assembly::LOADING, look);
  AddMember("done", "n1", 50, 50, look);
  AddMember("demo", "n1", 100, 100, look);
  AddMember("demo", "n2", 10 * done, 100, look);
  AddMember("demo", "n3", done, 100, look);
  AddMember("demo", "n4", 0, 100, look);
  AddMember("demo", "n5", 40, 100, look).set_live(false);
  AddMember("demo", "n6", 100, 100, look).set_shards_failed(2);
  for (const char* name : {"n1", "n2", "n3", "n4", "n6"}) AddNode(name, v1::Node::LIVE, look);
  AddNode("n5", v1::Node::LOST, look);
  return look;
}

TopRows RowsAfter(int seconds) {
  TopMeter meter;
  TopRows rows;
  for (int second = 0; second <= seconds; ++second) {
    rows = meter.Add(absl::Seconds(second), LookAt(second));
  }
  return rows;
}

std::vector<std::string> NamesOf(const TopRows& rows) {
  std::vector<std::string> names;
  for (const TopNode& row : rows.nodes) names.push_back(row.node.name());
  return names;
}

TEST(TopMeterTest, WhatIsLostOrFailedOrSlowComesFirst) {
  EXPECT_THAT(NamesOf(RowsAfter(4)),
              ElementsAre("nodes/n5", "nodes/n6", "nodes/n4", "nodes/n3", "nodes/n2", "nodes/n1"));
  EXPECT_EQ(RowsAfter(4).assemblies.front().assembly.name(), "assemblies/demo");
}

TEST(TopMeterTest, RatesAreKnownFromTheSecondLookOn) {
  EXPECT_EQ(RowsAfter(0).assemblies.front().progress.bytes_per_second, 0);

  const TopRows rows = RowsAfter(4);
  EXPECT_DOUBLE_EQ(rows.assemblies.front().progress.bytes_per_second, 11.0 * kMebi);
  EXPECT_DOUBLE_EQ(rows.nodes[3].progress.bytes_per_second, 1.0 * kMebi);
  EXPECT_EQ(rows.nodes[3].progress.TimeLeft(), absl::Seconds(96));
  EXPECT_EQ(rows.nodes[2].progress.TimeLeft(), absl::InfiniteDuration());
  // What it has in both assemblies.
  EXPECT_EQ(rows.nodes[5].progress.total_bytes, static_cast<int64_t>(150 * kMebi));
}

// The first look at the new one is no loss of bytes of the old one.
TEST(TopMeterTest, AnAssemblyThatWasMadeAgainBeginsAnew) {
  TopMeter meter;
  meter.Add(absl::ZeroDuration(), LookAt(9));
  ClusterLook again = LookAt(0);
  again.assemblies[1].set_uid("another");
  meter.Add(absl::Seconds(1), again);
  ClusterLook later = LookAt(2);
  later.assemblies[1].set_uid("another");

  const TopRows rows = meter.Add(absl::Seconds(2), later);

  EXPECT_DOUBLE_EQ(rows.assemblies.front().progress.bytes_per_second, 22.0 * kMebi);
}

TEST(TopLinesTest, ShowsAllColumnsWhereThereIsRoom) {
  const std::vector<std::string> lines = TopLines(RowsAfter(4), 120, 40);

  ASSERT_EQ(lines.size(), 13);
  EXPECT_EQ(lines[0], "1/2 READY, 5/6 nodes live, 11.0 MiB/s");
  EXPECT_THAT(lines[2], HasSubstr("ASSEMBLY  MODEL"));
  EXPECT_THAT(lines[3], HasSubstr("284.0 MiB of 600.0 MiB  11.0 MiB/s  29 s"));
  EXPECT_THAT(lines[6], HasSubstr("NODE  STATE"));
  EXPECT_THAT(lines[7], testing::MatchesRegex("n5 +lost +40% .* - +- +0 +-"));
  EXPECT_THAT(lines[8], testing::MatchesRegex("n6 +live +100% .* 2 +-"));
  EXPECT_THAT(lines[10], HasSubstr("1.0 MiB/s"));
}

TEST(TopLinesTest, FitsAnyTerminal) {
  TopRows rows = RowsAfter(4);
  rows.nodes[0].node.set_name("nodes/a-name-that-is-longer-than-a-terminal-of-forty-columns");
  rows.nodes[1].node.set_name("nodes/evil\x1b[2J\n");
  for (const size_t columns : {39, 60, 79, 119}) {
    for (const size_t lines : {1, 2, 4, 8, 23, 50}) {
      const std::vector<std::string> shown = TopLines(rows, columns, lines);
      EXPECT_LE(shown.size(), lines) << columns;
      for (const std::string& line : shown) {
        EXPECT_LE(DisplayWidth(line), columns) << line;
        EXPECT_THAT(line, Not(HasSubstr("\x1b")));
      }
    }
  }
  EXPECT_THAT(TopLines(rows, 39, 23), testing::Contains(HasSubstr("1.0 MiB/s")));
}

TEST(TopLinesTest, WhatIsLeftOutIsCounted) {
  ClusterLook look;
  for (int i = 0; i < 100; ++i) {
    AddAssembly(absl::StrCat("a", i), v1::Assembly::WAITING, look);
    AddNode(absl::StrCat("n", i), v1::Node::LIVE, look);
  }
  TopMeter meter;

  const std::vector<std::string> lines = TopLines(meter.Add(absl::ZeroDuration(), look), 80, 23);

  EXPECT_LE(lines.size(), 23);
  EXPECT_THAT(lines, testing::Contains(testing::MatchesRegex("… and [0-9]+ more assemblies")));
  EXPECT_THAT(lines.back(), testing::MatchesRegex("… and [0-9]+ more nodes"));
  EXPECT_EQ(TopLines(meter.Add(absl::ZeroDuration(), look), 80, SIZE_MAX).size(), 205);
}

TEST(TopLinesTest, AnEmptyClusterIsOneLine) {
  EXPECT_THAT(TopLines({}, 40, 23), ElementsAre("0/0 READY, 0/0 nodes live, 0 B/s"));
}

TEST(TopJsonTest, HasTheSameForPrograms) {
  const auto json = nlohmann::json::parse(TopJson(RowsAfter(4)));

  EXPECT_EQ(json["nodes"][3]["name"], "nodes/n3");
  EXPECT_EQ(json["nodes"][3]["bytes_per_second"], kMebi);
  EXPECT_EQ(json["nodes"][1]["shards_failed"], 2);
  EXPECT_EQ(json["assemblies"][0]["total_bytes"], 600 * kMebi);
}

}  // namespace
}  // namespace muster
