// Row keys, runs of indices, page tokens and the numbers of policies: pure functions that others build on.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "muster/v1/assembly.pb.h"
#include "server/registry/index_runs.h"
#include "server/registry/paging.h"
#include "server/registry/row_keys.h"
#include "server/registry/zone_sets.h"
#include "storage/base/limits.h"
#include "storage/base/placement_policy.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::ElementsAre;

// The table has plain types, so nothing but this holds the two together.
TEST(PlacementPolicyTest, PoliciesAndClaimsAreThoseOfTheApi) {
  const auto& policies = *muster::v1::Assembly::Policy_descriptor();
  EXPECT_EQ(PlacementPolicies().size() + 1, static_cast<size_t>(policies.value_count()));
  for (const PolicyTraits& traits : PlacementPolicies()) {
    const auto* const value = policies.FindValueByNumber(static_cast<int>(traits.policy));
    ASSERT_NE(value, nullptr) << traits.name;
    EXPECT_EQ(value->name(), traits.name);
  }

  EXPECT_EQ(ClaimKindOf(muster::v1::Claim::ANY), ClaimKind::kAny);
  EXPECT_EQ(ClaimKindOf(muster::v1::Claim::ALL), ClaimKind::kAll);
  EXPECT_EQ(ClaimKindOf(muster::v1::Claim::SHARDS), ClaimKind::kShards);
  EXPECT_EQ(ClaimKindOf(muster::v1::Claim::RANKS), ClaimKind::kRanks);
  EXPECT_EQ(muster::v1::Claim::Kind_descriptor()->value_count(), 5);
}

TEST(RowKeysTest, KeysOfNumbersAreInNumberOrder) {
  const VersionUid version(7);
  EXPECT_LT(ShardKey(version, ShardIndex(9)), ShardKey(version, ShardIndex(10)));
  EXPECT_LT(ShardKey(version, ShardIndex(255)), ShardKey(version, ShardIndex(256)));
  EXPECT_LT(RequestKey(255, "z"), RequestKey(256, "a"));
  EXPECT_LT(TensorsKey(version, ShardIndex(1), 99), TensorsKey(version, ShardIndex(2), 0));
}

TEST(RowKeysTest, PrefixCoversItsRowsAndNoOthers) {
  const std::string begin = AllShardsPrefix(VersionUid(255));
  const std::string end = PrefixEnd(begin);
  EXPECT_GE(ShardKey(VersionUid(255), ShardIndex(0)), begin);
  EXPECT_LT(ShardKey(VersionUid(255), ShardIndex(99'999)), end);
  EXPECT_GE(ShardKey(VersionUid(256), ShardIndex(0)), end);
  EXPECT_LT(ShardKey(VersionUid(254), ShardIndex(99'999)), begin);
}

TEST(RowKeysTest, PrefixEndOfHighBytesCarries) {
  EXPECT_EQ(PrefixEnd("a\xff"), "b");
  EXPECT_EQ(PrefixEnd("ab"), "ac");
}

TEST(RowKeysTest, KeysAreTakenApartAgain) {
  const auto shard = ParseShardKey(ShardKey(VersionUid(3), ShardIndex(4)));
  ASSERT_TRUE(shard.has_value());
  EXPECT_EQ(shard->first, VersionUid(3));
  EXPECT_EQ(shard->second, ShardIndex(4));
  EXPECT_EQ(ParseCompanionKey(CompanionKey(VersionUid(5), "a/b")), VersionUid(5));
  const auto tensors = ParseTensorsKey(TensorsKey(VersionUid(1), ShardIndex(2), 3));
  ASSERT_TRUE(tensors.has_value());
  EXPECT_EQ(tensors->start, 3u);
  const auto plan = ParseAssemblyRowKey(AssignmentKey(AssemblyUid(1), Generation(2), NodeUid(3)));
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->kind, 'p');
  EXPECT_EQ(plan->directory, Generation(2));
  EXPECT_EQ(plan->node, NodeUid(3));
  const auto member = ParseAssemblyRowKey(MemberKey(AssemblyUid(1), NodeUid(9)));
  ASSERT_TRUE(member.has_value());
  EXPECT_EQ(member->kind, 'm');
}

TEST(RowKeysTest, KeysOfAnotherFormAreNotTakenApart) {
  EXPECT_FALSE(ParseShardKey("s").has_value());
  EXPECT_FALSE(ParseShardKey(ShardKey(VersionUid(3), ShardIndex(4)) + "x").has_value());
  EXPECT_FALSE(ParseCompanionKey("c123").has_value());
  EXPECT_FALSE(ParseAssemblyRowKey("b12345678z12345678").has_value());
  EXPECT_FALSE(ParseAssemblyRowKey("").has_value());
  EXPECT_FALSE(ParseTensorsKey("t12345678").has_value());
}

TEST(IndexRunsTest, PackedSetsComeBackAsTheyWere) {
  for (const std::vector<uint32_t>& set :
       {std::vector<uint32_t>{}, {0}, {5}, {0, 1, 2}, {0, 2, 3, 4, 99'999}}) {
    EXPECT_THAT(UnpackRuns(PackRuns(set), 100'000), IsOkAndHolds(testing::ElementsAreArray(set)));
  }
  EXPECT_THAT(PackRuns({3, 4, 5, 9}), ElementsAre(3, 3, 3, 1));
}

TEST(IndexRunsTest, DamagedRunsAreDataLoss) {
  google::protobuf::RepeatedField<uint32_t> runs;
  runs.Add(1);
  EXPECT_THAT(UnpackRuns(runs, 10), StatusIs(absl::StatusCode::kDataLoss));
  runs.Add(9);
  EXPECT_THAT(UnpackRuns(runs, 10), IsOk());
  EXPECT_THAT(UnpackRuns(runs, 9), StatusIs(absl::StatusCode::kDataLoss));
  runs[1] = 0xffffffff;
  EXPECT_THAT(UnpackRuns(runs, 10), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(IndexRunsTest, TextNamesRunsAndIsCut) {
  EXPECT_EQ(RunsToText({0, 3, 4, 5}, 100), "0,3-5");
  EXPECT_EQ(RunsToText({}, 100), "");
  EXPECT_EQ(RunsToText({10, 20, 30, 40}, 4), "10,20,…");
}

TEST(PagingTest, PageSizeIsWithinItsLimits) {
  EXPECT_EQ(PageSize(0), kDefaultPageSize);
  EXPECT_EQ(PageSize(1), 1u);
  EXPECT_EQ(PageSize(kMaxPageSize), kMaxPageSize);
  EXPECT_EQ(PageSize(kMaxPageSize + 1), kMaxPageSize);
}

TEST(PagingTest, TokenComesBackWithItsKeyAndRevision) {
  const std::string token = MakePageToken("list", PageStart{"a name", Revision(7)});
  const auto start = ParsePageToken("list", token, Revision(9));
  ASSERT_THAT(start, IsOk());
  EXPECT_EQ(start->after, "a name");
  EXPECT_EQ(start->first_revision, Revision(7));
}

TEST(PagingTest, EmptyTokenStartsAtThePresentRevision) {
  const auto start = ParsePageToken("list", "", Revision(9));
  ASSERT_THAT(start, IsOk());
  EXPECT_EQ(start->after, "");
  EXPECT_EQ(start->first_revision, Revision(9));
}

TEST(PagingTest, TokenOfAnotherListOrDamagedOrFromTheFutureIsRefused) {
  const std::string token = MakePageToken("list", PageStart{"k", Revision(7)});
  std::string damaged = token;
  damaged[5] = damaged[5] == 'A' ? 'B' : 'A';
  for (const auto& start :
       {ParsePageToken("other", token, Revision(9)), ParsePageToken("list", damaged, Revision(9)),
        ParsePageToken("list", token, Revision(6)), ParsePageToken("list", "%%%", Revision(9)),
        ParsePageToken("list", std::string(9'000, 'A'), Revision(9))}) {
    EXPECT_THAT(start, ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_PAGE_TOKEN"));
  }
}

TEST(ZoneSetsTest, PositionOfASetThatNoShardHasIsGivenToAnother) {
  ZoneSets sets;
  const uint32_t none = sets.Add({});
  const uint32_t a = sets.Add({"a"});
  EXPECT_EQ(sets.Add({"a"}), a);
  const uint32_t b = sets.Add({"a", "b"});
  sets.Remove(a);
  EXPECT_EQ(sets.sets()[a], ZoneSets::Zones{"a"}) << "one shard has it still";
  sets.Remove(a);

  EXPECT_EQ(sets.size(), 2u);
  EXPECT_EQ(sets.Add({"c"}), a);
  EXPECT_EQ(sets.sets().size(), 3u);
  EXPECT_EQ(sets.sets()[none], ZoneSets::Zones{});
  EXPECT_EQ(sets.sets()[b], (ZoneSets::Zones{"a", "b"}));
}

}  // namespace
}  // namespace muster
