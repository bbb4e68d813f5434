#include "client/cli/version_skew.h"

#include "gtest/gtest.h"

namespace muster {
namespace {

TEST(VersionSkewTest, VersionsAreComparedAsNumbers) {
  EXPECT_EQ(CompareBuilds({"0.10.0", "a"}, {"0.9.9", "a"}), Skew::kServerOlder);
  EXPECT_EQ(CompareBuilds({"0.9.9", "a"}, {"0.10.0", "a"}), Skew::kServerNewer);
  EXPECT_EQ(CompareBuilds({"1.0.0", "a"}, {"0.99.99", "a"}), Skew::kServerOlder);
  EXPECT_EQ(CompareBuilds({"1.2.3", ""}, {"1.2.4", ""}), Skew::kServerNewer);
}

TEST(VersionSkewTest, TheSameVersionIsTheSameBuildOnlyAtOneCommit) {
  EXPECT_EQ(CompareBuilds({"0.1.0", "857d34edbe5b"}, {"0.1.0", "857d34edbe5b"}), Skew::kSame);
  EXPECT_EQ(CompareBuilds({"0.1.0", "857d34edbe5b"}, {"0.1.0", "857d34edbe5b-dirty"}),
            Skew::kOtherCommit);
  EXPECT_EQ(CompareBuilds({"0.1.0", ""}, {"0.1.0", ""}), Skew::kUnknown);
  EXPECT_EQ(CompareBuilds({"0.1.0", "857d34edbe5b"}, {"0.1.0", ""}), Skew::kUnknown);
}

TEST(VersionSkewTest, WhatIsNoVersionIsNotGuessedAt) {
  for (const char* version :
       {"", "1", "1.2", "1.2.3.4", "1.2.x", "-1.0.0", "1..2", "99999999999.0.0", "1.2.3-rc1"}) {
    EXPECT_EQ(CompareBuilds({"0.1.0", "a"}, {version, "a"}), Skew::kUnknown) << version;
  }
}

TEST(VersionSkewTest, EachSkewHasAWordAndASentenceOfItsOwn) {
  std::string words, sentences;
  for (const Skew skew :
       {Skew::kSame, Skew::kServerOlder, Skew::kServerNewer, Skew::kOtherCommit, Skew::kUnknown}) {
    EXPECT_EQ(words.find(SkewName(skew)), std::string::npos) << SkewName(skew);
    EXPECT_EQ(sentences.find(SkewSentence(skew)), std::string::npos) << SkewSentence(skew);
    words += SkewName(skew) + "\n";
    sentences += SkewSentence(skew) + "\n";
  }
}

}  // namespace
}  // namespace muster
