#include "client/cli/shard_matrix.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

v1::AssemblyMember Member(const std::string& name, uint64_t ready, uint64_t fetching,
                          uint64_t assigned) {
  v1::AssemblyMember member;
  member.set_node(absl::StrCat("nodes/", name));
  member.set_live(true);
  member.set_ready(ready == assigned);
  member.set_ready_bytes(ready);
  member.set_fetching_bytes(fetching);
  member.set_assigned_bytes(assigned);
  return member;
}

v1::GetShardStatusResponse Status(
    uint32_t shard, const std::vector<std::pair<std::string, v1::ShardReport::State>>& replicas) {
  v1::GetShardStatusResponse status;
  status.set_shard(shard);
  for (const auto& [node, state] : replicas) {
    v1::ShardReplica& replica = *status.add_replicas();
    replica.set_node(absl::StrCat("nodes/", node));
    replica.set_state(state);
    replica.set_counted(true);
  }
  return status;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  EXPECT_EQ(lines.back(), "");
  lines.pop_back();
  return lines;
}

TEST(ShardMatrixTest, AHundredPercentIsWhatIsReadyAndNotWhatIsFetched) {
  // 5 of 6 shards are ready, and what moves here comes on top of the sixth.
  const std::vector<v1::AssemblyMember> members = {Member("s1", 602, 136, 688)};

  EXPECT_THAT(ShardMatrix(members, {}, 80), HasSubstr("s1   99%"));
}

TEST(ShardMatrixTest, EachShardHasAColumnWhereThereIsRoom) {
  const std::vector<v1::AssemblyMember> members = {Member("n1", 50, 25, 100),
                                                   Member("node2", 100, 0, 100)};
  std::vector<v1::GetShardStatusResponse> statuses = {
      Status(0, {{"n1", v1::ShardReport::READY}}),
      Status(1, {{"n1", v1::ShardReport::FETCHING}, {"node2", v1::ShardReport::READY}}),
      Status(2, {{"n1", v1::ShardReport::FAILED}}),
      Status(3, {{"node2", v1::ShardReport::PENDING}}),
      Status(4, {{"n1", v1::ShardReport::PENDING}}),
  };
  statuses[4].mutable_replicas(0)->set_waiting_for_location("s3://bucket/4");

  EXPECT_THAT(Lines(ShardMatrix(members, statuses, 80)),
              ElementsAre("n1      75%  #>! ?",  //
                          "node2  100%   # .",
                          "# ready  > fetching  . pending  ? waits for a place  ! failed; a "
                          "column is one shard"));
}

TEST(ShardMatrixTest, ColumnOfSeveralShardsShowsTheWorst) {
  std::vector<v1::GetShardStatusResponse> statuses;
  for (uint32_t i = 0; i < 100; ++i) {
    statuses.push_back(
        Status(i, {{"n1", i == 50 ? v1::ShardReport::FAILED : v1::ShardReport::READY}}));
  }
  const auto lines = Lines(ShardMatrix({Member("n1", 99, 0, 100)}, statuses, 60));

  EXPECT_EQ(lines[0], absl::StrCat("n1   99%  ", std::string(25, '#'), "!", std::string(24, '#')));
  EXPECT_THAT(lines[1], HasSubstr("a column is 2 shards"));
}

TEST(ShardMatrixTest, LinesFitTheTerminal) {
  std::vector<v1::GetShardStatusResponse> statuses;
  const std::string long_name(253, 'n');
  for (uint32_t i = 0; i < 997; ++i) {
    statuses.push_back(Status(i, {{long_name, v1::ShardReport::READY}}));
  }
  for (const size_t width : {40, 80, 131, 200}) {
    const auto lines = Lines(ShardMatrix({Member(long_name, 1, 0, 1)}, statuses, width));
    EXPECT_LE(DisplayWidth(lines[0]), width);
    EXPECT_GE(DisplayWidth(lines[0]), width / 2);
  }
}

TEST(ShardMatrixTest, WithoutShardsCellsAreSharesOfTheBytes) {
  const auto lines = Lines(ShardMatrix({Member("n1", 50, 20, 100), Member("n2", 0, 0, 0)}, {}, 60));
  EXPECT_THAT(lines,
              ElementsAre(absl::StrCat("n1   70%  ", std::string(25, '#'), std::string(10, '>'),
                                       std::string(15, '.')),
                          "n2     -", "# ready  > fetching  . pending; of each node's bytes"));
}

TEST(ShardMatrixTest, NodesThatNeedALookAreShownFirstAndTheRestIsCounted) {
  std::vector<v1::AssemblyMember> members;
  for (int i = 0; i < 1000; ++i) members.push_back(Member(absl::StrCat("n", i), 1, 0, 1));
  members[700].set_shards_failed(2);
  members[800].set_ready(false);
  members[900].set_live(false);

  const auto shown = MembersToShow(members, 4);
  ASSERT_THAT(shown, SizeIs(4));
  EXPECT_EQ(shown[0].node(), "nodes/n0");
  EXPECT_EQ(shown[1].node(), "nodes/n700");
  EXPECT_EQ(shown[2].node(), "nodes/n800");
  EXPECT_EQ(shown[3].node(), "nodes/n900");
  EXPECT_EQ(HiddenMembers(members, shown, 1000),
            "… and 996 more nodes, all ready; --all shows them");
  EXPECT_EQ(HiddenMembers(members, MembersToShow(members, 1), 1000),
            "… and 999 more nodes, 2 not ready; --all shows them");
  EXPECT_EQ(HiddenMembers(members, members, 1000), "");
  EXPECT_THAT(MembersToShow({}, 4), SizeIs(0));
}

TEST(ShardMatrixTest, FailuresSayWhyAndAreCut) {
  std::vector<v1::GetShardStatusResponse> statuses;
  for (uint32_t i = 0; i < 7; ++i) {
    statuses.push_back(Status(i, {{"n1", v1::ShardReport::FAILED}}));
    v1::ShardFailure& failure = *statuses.back().mutable_replicas(0)->mutable_failure();
    failure.set_code(v1::ShardFailure::NO_SPACE);
    failure.set_message("the disk is full\x1b[31m");
  }
  EXPECT_THAT(Lines(FailedReplicas(statuses, 2)),
              ElementsAre("  ! n1, shards 0-6: NO_SPACE: the disk is full?[31m"))
      << "a full disk is one cause";

  for (uint32_t i = 0; i < 7; ++i) {
    v1::ShardFailure& failure = *statuses[i].mutable_replicas(0)->mutable_failure();
    failure.set_code(v1::ShardFailure::CORRUPT);
    failure.set_message(absl::StrCat("piece ", i, " is bad"));
  }
  EXPECT_THAT(Lines(FailedReplicas(statuses, 2)),
              ElementsAre("  ! n1, shard 0: CORRUPT: piece 0 is bad",
                          "  ! n1, shard 1: CORRUPT: piece 1 is bad", "  ! … and 5 more"));
  EXPECT_EQ(FailedReplicas({}, 2), "");
}

}  // namespace
}  // namespace muster
