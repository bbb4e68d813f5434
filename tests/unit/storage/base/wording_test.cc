#include "storage/base/wording.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

TEST(WordingTest, SizesHaveOneDecimalAndAUnit) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(1023), "1023 B");
  EXPECT_EQ(FormatSize(1024), "1.0 KiB");
  EXPECT_EQ(FormatSize((int64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(FormatSize(int64_t{80} << 30), "80.0 GiB");
  EXPECT_EQ(FormatSize(INT64_MAX), "8.0 EiB");
}

TEST(WordingTest, LongTextIsCutBetweenWords) {
  EXPECT_EQ(ShortText("short", 5), "short");
  EXPECT_EQ(ShortText("longer text", 9), "longer…");
  EXPECT_EQ(ShortText("raise the budget, or let go of assemblies", 30),
            "raise the budget, or let go…");
  EXPECT_EQ(ShortText("raise the budget, or let go of assemblies", 21), "raise the budget…");
}

TEST(WordingTest, TextWithoutWordsIsCutBetweenCharacters) {
  EXPECT_EQ(ShortText("aöööö", 7), "aö…");
  EXPECT_EQ(ShortText("abc", 1), "…");
  EXPECT_EQ(ShortText("a bcdefghijklmnop", 12), "a bcdefgh…");
}

}  // namespace
}  // namespace muster
