#include "server/access/resource_pattern.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "storage/base/random.h"
#include "storage/base/resource_name.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

Pattern Parsed(absl::string_view text) {
  const absl::StatusOr<Pattern> pattern = ParseResourcePattern(text);
  MUSTER_EXPECT_OK(pattern);
  return pattern.ok() ? *pattern : Pattern{"?", true};
}

TEST(ResourcePatternTest, NamesAreOfTheKindsThatThereAre) {
  EXPECT_EQ(KindOfResource("models/llama/versions/v1"), ResourceKind::kModelVersion);
  EXPECT_EQ(KindOfResource("nodes/n1.example.org"), ResourceKind::kNode);
  EXPECT_EQ(KindOfResource("assemblies/Demo_1"), ResourceKind::kAssembly);
  EXPECT_EQ(KindOfResource("nodes/" + std::string(253, 'n')), ResourceKind::kNode);
}

TEST(ResourcePatternTest, WhatIsNoWholeNameIsOfNoKind) {
  for (const std::string& name : {std::string(),
                                  std::string("models"),
                                  std::string("models/"),
                                  std::string("models/llama"),
                                  std::string("models/llama/versions"),
                                  std::string("models/llama/versions/"),
                                  std::string("models//versions/v1"),
                                  std::string("models/llama/versions/v1/shards/0"),
                                  std::string("models/llama/versions/../"),
                                  std::string("models/llama/versions/.."),
                                  std::string("models/../versions/v1"),
                                  std::string("models/llama/versions/v1/"),
                                  std::string("/models/llama/versions/v1"),
                                  std::string("Models/llama/versions/v1"),
                                  std::string("models/llama/Versions/v1"),
                                  std::string("nodes/"),
                                  std::string("nodes/n1/"),
                                  std::string("nodes/n1/x"),
                                  std::string("nodes/-n1"),
                                  std::string("nodes/n1."),
                                  std::string("nodes/n%31"),
                                  std::string("nodes/n 1"),
                                  std::string("nodes/n1\n"),
                                  std::string("nodes/n1\0", 9),
                                  std::string("nodes/*"),
                                  std::string("nodes/**"),
                                  std::string("assemblies/a/b"),
                                  std::string("assemblies/\xc3\xa4"),
                                  "nodes/" + std::string(254, 'n'),
                                  "assemblies/" + std::string(64, 'a'),
                                  "models/" + std::string(64, 'm') + "/versions/v1",
                                  "models/llama/versions/" + std::string(64, 'v'),
                                  std::string(1 << 20, 'a')}) {
    EXPECT_EQ(KindOfResource(name), std::nullopt) << name.substr(0, 100);
  }
}

// The names are those of storage/base, which makes strings of their parts; the rule is written twice and holds once.
TEST(ResourcePatternTest, NamesAreThoseThatHandlersAccept) {
  const auto random = NewSeededRandom(17);
  const std::vector<std::string> parts = {"models/",
                                          "nodes/",
                                          "assemblies/",
                                          "/versions/",
                                          "a",
                                          "Z9",
                                          ".",
                                          "-",
                                          "_",
                                          "/",
                                          "..",
                                          "*",
                                          "%",
                                          std::string(1, '\0'),
                                          "\x80",
                                          std::string(62, 'x'),
                                          std::string(250, 'y'),
                                          "shards/1"};
  int valid = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::string name = parts[random->Below(3)];
    for (uint64_t more = random->Below(5); more > 0; --more) {
      name += random->Below(2) == 0 ? "a" : parts[random->Below(parts.size())];
    }
    const std::optional<ResourceKind> kind = KindOfResource(name);
    ASSERT_EQ(kind == ResourceKind::kModelVersion, ParseModelVersionName(name).ok()) << name;
    ASSERT_EQ(kind == ResourceKind::kNode, ParseNodeName(name).ok()) << name;
    ASSERT_EQ(kind == ResourceKind::kAssembly, ParseAssemblyName(name).ok()) << name;
    valid += kind.has_value() ? 1 : 0;
  }
  EXPECT_GT(valid, 5'000);
}

TEST(ResourcePatternTest, PatternsMatchWholeSegments) {
  EXPECT_TRUE(Parsed("models/llama/**").Matches("models/llama/versions/v1"));
  EXPECT_FALSE(Parsed("models/llama/**").Matches("models/llama2/versions/v1"));
  EXPECT_TRUE(Parsed("models/team-*/**").Matches("models/team-a/versions/v1"));
  EXPECT_FALSE(Parsed("models/team-*/**").Matches("models/tea/versions/v1"));
  EXPECT_TRUE(Parsed("models/llama/versions/v1").Matches("models/llama/versions/v1"));
  EXPECT_FALSE(Parsed("models/llama/versions/v1").Matches("models/llama/versions/v10"));
  EXPECT_TRUE(Parsed("models/llama/versions/v1*").Matches("models/llama/versions/v10"));
  EXPECT_TRUE(Parsed("nodes/gpu-*").Matches("nodes/gpu-7"));
  EXPECT_FALSE(Parsed("nodes/gpu").Matches("nodes/gpu-7"));
  EXPECT_TRUE(Parsed("assemblies/**").Matches("assemblies/demo"));
  EXPECT_FALSE(Parsed("assemblies/**").Matches("nodes/demo"));
  EXPECT_TRUE(Parsed("**").Matches("nodes/n1"));
}

TEST(ResourcePatternTest, EqualMeaningsAreEqualPatterns) {
  EXPECT_EQ(Parsed("nodes/*"), Parsed("nodes/**"));
  EXPECT_EQ(Parsed("models/*/**"), Parsed("models/**"));
  EXPECT_EQ(Parsed("models/llama/versions/*"), Parsed("models/llama/versions/**"));
}

TEST(ResourcePatternTest, PatternsThatMatchNothingAreRefused) {
  for (const char* text : {"",
                           "*",
                           "***",
                           "/",
                           "//**",
                           "models",
                           "models/llama",
                           "models/llama*",
                           "models/*",
                           "models/llama/",
                           "models/llama/versions",
                           "models/llama/vers/**",
                           "models/llama/vers*",
                           "models/*/versions/v1",
                           "models/**/versions/v1",
                           "models/llama/versions/v1/**",
                           "models/llama/versions/v1/shards/0",
                           "models/llama/versions/v*1",
                           "models/l/../**",
                           "models//**",
                           "models/-a/**",
                           "models/a%2f/**",
                           "models/llama/versions/**/**",
                           "mdoels/**",
                           "Models/**",
                           "nodes",
                           "nodes/",
                           "nodes/n1/**",
                           "nodes/*1",
                           "nodes/n*/**",
                           "nodes/n 1",
                           "nodes/n1.",
                           "assemblies/demo/**",
                           "assemblies/de/mo",
                           "assemblies/a**",
                           "group/x",
                           "spiffe://x",
                           " **",
                           "** "}) {
    EXPECT_THAT(ParseResourcePattern(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
  EXPECT_THAT(ParseResourcePattern(std::string("nodes/a\0b", 9)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ParseResourcePattern(std::string(1 << 20, 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ParseResourcePattern("assemblies/" + std::string(64, 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ResourcePatternTest, RefusalsSayWhatWouldBeRight) {
  EXPECT_THAT(ParseResourcePattern("models/llama").status().message(),
              HasSubstr("models/llama/**"));
  EXPECT_THAT(ParseResourcePattern("models/team-*").status().message(),
              HasSubstr("models/team-*/**"));
  EXPECT_THAT(ParseResourcePattern("nodes").status().message(), HasSubstr("nodes/**"));
  EXPECT_THAT(ParseResourcePattern("nodes/n1/**").status().message(), HasSubstr("nodes/n1"));
  EXPECT_THAT(ParseResourcePattern("models/*/versions/v1").status().message(),
              HasSubstr("elsewhere than at its end"));
}

TEST(ResourcePatternTest, WhosAreUsersNodesAndAnonymous) {
  EXPECT_EQ(*ParseWhoPattern("user/alice@example.org"), (Pattern{"user/alice@example.org", true}));
  EXPECT_EQ(*ParseWhoPattern("user/*"), (Pattern{"user/", false}));
  EXPECT_EQ(*ParseWhoPattern("node/gpu-*"), (Pattern{"node/gpu-", false}));
  EXPECT_EQ(*ParseWhoPattern("anonymous"), (Pattern{"anonymous", true}));
  for (const char* text :
       {"",         "*",         "**",         "alice",      "user",     "user/",    "users/alice",
        "user/a*b", "user/**",   "user/-a",    "user/a b",   "user/a/b", "node/a@b", "node/a/*",
        "local",    "Anonymous", "anonymous*", "group/team", "user/a%",  "node/\n"}) {
    EXPECT_THAT(ParseWhoPattern(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

}  // namespace
}  // namespace muster
