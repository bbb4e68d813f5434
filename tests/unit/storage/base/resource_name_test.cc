#include "storage/base/resource_name.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

TEST(ResourceNameTest, RoundTrips) {
  EXPECT_EQ(ParseModelVersionName("models/llama/versions/v1")->ToString(),
            "models/llama/versions/v1");
  EXPECT_EQ(ParseShardName("models/llama/versions/v1/shards/7")->index, ShardIndex(7));
  EXPECT_EQ(*ParseNodeName("nodes/n1.example"), "n1.example");
  EXPECT_EQ(*FullModelVersionName("llama@v1"), "models/llama/versions/v1");
  EXPECT_EQ(*FullAssemblyName("demo"), "assemblies/demo");
  EXPECT_EQ(ShortModelVersionName("models/llama/versions/v1"), "llama@v1");
}

TEST(ResourceNameTest, RefusesNamesOutsideTheRule) {
  for (const std::string bad :
       {"", "models/a", "models//versions/v", "models/a/versions/", "models/a./versions/v",
        "models/-a/versions/v", "models/a b/versions/v", "models/a/versions/v/shards/1"}) {
    EXPECT_THAT(ParseModelVersionName(bad),
                ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_NAME"))
        << bad;
  }
  EXPECT_FALSE(ParseAssemblyName("assemblies/" + std::string(64, 'a')).ok());
  EXPECT_TRUE(ParseAssemblyName("assemblies/" + std::string(63, 'a')).ok());
  EXPECT_TRUE(ParseNodeName("nodes/" + std::string(253, 'a')).ok());
  EXPECT_FALSE(ParseNodeName("nodes/" + std::string(254, 'a')).ok());
  EXPECT_FALSE(ParseNodeName("nodes/a/b").ok());
}

TEST(ResourceNameTest, ShardIndexIsCanonicalAndBounded) {
  for (const std::string bad : {"01", "+1", "-1", "", "100000", "99999999999", "1 "}) {
    EXPECT_FALSE(ParseShardName("models/a/versions/v/shards/" + bad).ok()) << bad;
  }
  EXPECT_TRUE(ParseShardName("models/a/versions/v/shards/99999").ok());
}

TEST(ResourceNameTest, MessageQuotesTheNameAndTheRule) {
  EXPECT_THAT(FullNodeName("n 1"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"nodes/n 1\"")));
}

TEST(ResourceNameTest, OtherLettersAreShownAsTheyAre) {
  EXPECT_THAT(FullAssemblyName("modèle"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"assemblies/modèle\"")));
  EXPECT_THAT(FullAssemblyName("a\x1b[2J\xff"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a\\x1b[2J\\xff")));
}

TEST(ResourceNameTest, NameOfAModelHubGetsOneWithoutItsSlash) {
  EXPECT_THAT(
      FullModelVersionName("meta-llama/Llama-3-8B@v1"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("such as meta-llama.Llama-3-8B@v1")));
  EXPECT_THAT(FullModelVersionName("a/b/c@v1"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("MODEL@VERSION or models/")));
}

}  // namespace
}  // namespace muster
