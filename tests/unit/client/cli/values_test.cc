#include "client/cli/values.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ValuesTest, SizesHaveBinaryAndDecimalUnits) {
  EXPECT_THAT(ParseSize("4096"), IsOkAndHolds(4096));
  EXPECT_THAT(ParseSize("256MiB"), IsOkAndHolds(int64_t{256} << 20));
  EXPECT_THAT(ParseSize("80gib"), IsOkAndHolds(int64_t{80} << 30));
  EXPECT_THAT(ParseSize("1.5 GB"), IsOkAndHolds(1'500'000'000));
  EXPECT_THAT(ParseSize("2k"), IsOkAndHolds(2048));
  EXPECT_THAT(ParseSize("0"), IsOkAndHolds(0));
  EXPECT_THAT(ParseSize("9007199254740993"), IsOkAndHolds(9007199254740993));
}

TEST(ValuesTest, BadSizesAreUsageErrorsThatQuoteThem) {
  for (const char* const text :
       {"", "MiB", "-1", "1x", "1.2.3MiB", "1e9", "nan", "1 MiB 2", "0x10"}) {
    EXPECT_THAT(ParseSize(text), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE")) << text;
  }
  EXPECT_THAT(ParseSize("9999999P"), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE"));
  EXPECT_THAT(ParseSize("1\x1b[2J"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1?[2J")));
}

TEST(ValuesTest, DurationsHaveUnitsAndPlainNumbersAreSeconds) {
  EXPECT_THAT(ParseDuration("10s"), IsOkAndHolds(absl::Seconds(10)));
  EXPECT_THAT(ParseDuration("1h30m"), IsOkAndHolds(absl::Minutes(90)));
  EXPECT_THAT(ParseDuration("500ms"), IsOkAndHolds(absl::Milliseconds(500)));
  EXPECT_THAT(ParseDuration("90"), IsOkAndHolds(absl::Seconds(90)));
  EXPECT_THAT(ParseDuration("0.5"), IsOkAndHolds(absl::Milliseconds(500)));
}

TEST(ValuesTest, BadDurationsAreUsageErrors) {
  for (const char* const text :
       {"", "s", "-1s", "0", "0s", "10x", "inf", "nan", "1e30", "9999999h"}) {
    EXPECT_THAT(ParseDuration(text), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE")) << text;
  }
}

TEST(ValuesTest, ShardListsAreSortedWithoutRepeats) {
  EXPECT_THAT(*ParseShardList("0,3-5"), ElementsAre(0, 3, 4, 5));
  EXPECT_THAT(*ParseShardList("5,4-5,0"), ElementsAre(0, 4, 5));
  EXPECT_THAT(*ParseShardList("99999"), ElementsAre(99'999));
}

TEST(ValuesTest, BadShardListsAreUsageErrors) {
  for (const char* const text : {"", ",", "1,", "a", "5-2", "1-2-3", "-1", "100000", "0-100000",
                                 "+1", " 1", "4294967296", "0-99999,0-99999,0-99999"}) {
    EXPECT_THAT(ParseShardList(text), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE")) << text;
  }
}

TEST(ValuesTest, ShardListsComeBackAsRuns) {
  EXPECT_EQ(FormatShardList({0, 3, 4, 5, 9}), "0,3-5,9");
  EXPECT_EQ(FormatShardList({}), "");
}

TEST(ValuesTest, RevisionsAreNumbersThatFit) {
  EXPECT_THAT(ParseRevision("0"), IsOkAndHolds(0u));
  EXPECT_THAT(ParseRevision("18446744073709551615"), IsOkAndHolds(UINT64_MAX));
  for (const char* const text : {"", "-1", "+1", "1e3", "1.5", "18446744073709551616"}) {
    EXPECT_THAT(ParseRevision(text), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE")) << text;
  }
}

TEST(ValuesTest, ClaimsHaveFourForms) {
  EXPECT_EQ(ParseClaim("any")->kind(), v1::Claim::ANY);
  EXPECT_EQ(ParseClaim("all")->kind(), v1::Claim::ALL);
  const auto claim = ParseClaim("0,3-5");
  MUSTER_ASSERT_OK(claim);
  EXPECT_EQ(claim->kind(), v1::Claim::SHARDS);
  EXPECT_EQ(FormatClaim(*claim), "0,3-5");
  const auto ranks = ParseClaim("ranks:0-2,7");
  MUSTER_ASSERT_OK(ranks);
  EXPECT_EQ(ranks->kind(), v1::Claim::RANKS);
  EXPECT_EQ(ranks->shards_size(), 0);
  EXPECT_EQ(FormatClaim(*ranks), "ranks:0-2,7");
  for (const char* const text : {"everything", "", "ranks:", "ranks:a", "ranks", "ranks 0-2"}) {
    EXPECT_THAT(ParseClaim(text), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE")) << text;
  }
}

TEST(ValuesTest, PoliciesAreNamesInAnyCase) {
  EXPECT_THAT(ParsePolicy("balanced"), IsOkAndHolds(v1::Assembly::BALANCED));
  EXPECT_THAT(ParsePolicy("FULL"), IsOkAndHolds(v1::Assembly::FULL));
  EXPECT_THAT(ParsePolicy("contiguous"), IsOkAndHolds(v1::Assembly::CONTIGUOUS));
  EXPECT_THAT(ParsePolicy("ranked"), IsOkAndHolds(v1::Assembly::RANKED));
  EXPECT_THAT(ParsePolicy("policy_unspecified"),
              ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE"));
  EXPECT_THAT(ParsePolicy("2"), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE"));
}

TEST(ValuesTest, LabelsSplitAtTheFirstEqualsSign) {
  EXPECT_THAT(ParseLabels({"a=b=c", "d="}),
              IsOkAndHolds(std::map<std::string, std::string>{{"a", "b=c"}, {"d", ""}}));
  EXPECT_THAT(ParseLabels({"=b"}), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE"));
  EXPECT_THAT(ParseLabels({"ab"}), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE"));
}

TEST(ValuesTest, LabelHasOneValue) {
  MUSTER_EXPECT_OK(ParseLabels({"a=1", "a=1"}));
  EXPECT_THAT(ParseLabels({"a=1", "a=2"}), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE"));
}

TEST(ValuesTest, PlainPathsBecomeFileUris) {
  EXPECT_THAT(ParseDestination("file:///srv/models", "/home"), IsOkAndHolds("file:///srv/models"));
  EXPECT_THAT(ParseDestination("/srv/../models", "/home"), IsOkAndHolds("file:///models"));
  EXPECT_THAT(ParseDestination("store dir", "/home"), IsOkAndHolds("file:///home/store%20dir"));
  EXPECT_THAT(ParseDestination("", "/home"), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE"));
}

TEST(ValuesTest, DurationsAreShownInTwoUnits) {
  EXPECT_EQ(HumanDuration(absl::Milliseconds(400)), "0 s");
  EXPECT_EQ(HumanDuration(absl::Seconds(125)), "2 min 5 s");
  EXPECT_EQ(HumanDuration(absl::Minutes(250)), "4 h 10 min");
  EXPECT_EQ(HumanDuration(absl::Hours(240)), "10 d");
}

TEST(ValuesTest, CountsAgreeWithTheirNoun) {
  EXPECT_EQ(CountOf(1, "shard"), "1 shard");
  EXPECT_EQ(CountOf(0, "shard"), "0 shards");
}

TEST(ValuesTest, ControlCharactersNeverReachTheTerminal) {
  EXPECT_EQ(Printable("a\x1b[31m\n\x7f"), "a?[31m??");
  EXPECT_EQ(Printable("\xC2\x9b[31m"), "?[31m");
  EXPECT_EQ(Printable("größe → ok"), "größe → ok");
}

}  // namespace
}  // namespace muster
