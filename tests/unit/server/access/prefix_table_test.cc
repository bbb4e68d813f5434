#include "server/access/prefix_table.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// "n1" and "n1*".
PrefixTable TableOf(const std::vector<std::string>& texts) {
  std::vector<Pattern> patterns;
  for (const std::string& text : texts) {
    const bool exact = text.empty() || text.back() != '*';
    patterns.push_back(Pattern{exact ? text : text.substr(0, text.size() - 1), exact});
  }
  return PrefixTable(std::move(patterns));
}

std::vector<std::string> MatchesOf(const PrefixTable& table, const std::string& name) {
  std::vector<std::string> matches;
  for (uint32_t entry = table.First(name); entry != PrefixTable::kNone; entry = table.Next(entry)) {
    matches.push_back(table.pattern(entry).text + (table.pattern(entry).exact ? "" : "*"));
  }
  return matches;
}

TEST(PrefixTableTest, TheMostSpecificPatternComesFirst) {
  const PrefixTable table = TableOf({"*", "a*", "ab*", "ab", "abc*", "abd", "b*"});

  EXPECT_THAT(MatchesOf(table, "ab"), ElementsAre("ab", "ab*", "a*", "*"));
  EXPECT_THAT(MatchesOf(table, "abcd"), ElementsAre("abc*", "ab*", "a*", "*"));
  EXPECT_THAT(MatchesOf(table, "abd"), ElementsAre("abd", "ab*", "a*", "*"));
  EXPECT_THAT(MatchesOf(table, "abe"), ElementsAre("ab*", "a*", "*"));
  EXPECT_THAT(MatchesOf(table, "zz"), ElementsAre("*"));
  EXPECT_THAT(MatchesOf(table, ""), ElementsAre("*"));
}

TEST(PrefixTableTest, WithoutAMatchThereIsNone) {
  EXPECT_THAT(MatchesOf(PrefixTable(), "a"), IsEmpty());
  EXPECT_THAT(MatchesOf(TableOf({"b*", "a"}), "ab"), IsEmpty());
  EXPECT_THAT(MatchesOf(TableOf({"b*", "a"}), "0"), IsEmpty());
}

TEST(PrefixTableTest, BytesAreComparedAsSuch) {
  const PrefixTable table = TableOf({"a*", "\xff*", std::string("a\0b", 3)});

  EXPECT_THAT(MatchesOf(table, "\xff\x01"), ElementsAre("\xff*"));
  EXPECT_THAT(MatchesOf(table, std::string("a\0b", 3)), ElementsAre(std::string("a\0b", 3), "a*"));
}

TEST(PrefixTableTest, EqualPatternsAreOneEntry) {
  const PrefixTable table = TableOf({"a*", "a", "a*", "a"});

  EXPECT_EQ(table.size(), 2u);
  EXPECT_NE(table.Find({"a", true}), table.Find({"a", false}));
  EXPECT_EQ(table.Find({"b", true}), PrefixTable::kNone);
}

}  // namespace
}  // namespace muster
