#include "storage/object/json_reply.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace muster {
namespace {

std::string Nested(int depth) { return std::string(depth, '[') + "7" + std::string(depth, ']'); }

TEST(JsonReplyTest, PathsEndWhereTheReplyHasAnotherShape) {
  const JsonReply reply(R"({"a":{"b":["x",5,-6,1.5,18446744073709551615,9223372036854775807]}})");
  const JsonValue list = reply.root().Field("a").Field("b");
  ASSERT_TRUE(list.is_list());
  ASSERT_EQ(list.size(), 6u);
  EXPECT_EQ(list.Item(0).Text(), "x");
  EXPECT_EQ(list.Item(1).Number(), 5);
  EXPECT_EQ(list.Item(2).Number(), -6);
  EXPECT_EQ(list.Item(5).Number(), INT64_MAX);
  // Not a number, not an integer, too big, not there.
  for (const size_t item : {0, 3, 4, 6}) EXPECT_FALSE(list.Item(item).Number().has_value()) << item;
  EXPECT_EQ(list.Item(1).Text(), "");
  const JsonValue nowhere = reply.root().Field("a").Field("c").Field("d").Item(1);
  EXPECT_FALSE(nowhere.is_list());
  EXPECT_EQ(nowhere.Text(), "");
  EXPECT_FALSE(list.Field("x").Number().has_value());
}

TEST(JsonReplyTest, TextThatIsNoJsonHoldsNothing) {
  for (const char* text : {"", "{", "[1,]", "nul", "{}{}", "\"\xff\"", "1e999"}) {
    const JsonReply reply(text);
    EXPECT_EQ(reply.root().size(), 0u) << text;
    EXPECT_FALSE(reply.root().Number().has_value()) << text;
  }
}

TEST(JsonReplyTest, DepthIsBounded) {
  const JsonReply deep(Nested(JsonReply::kDepthMax));
  JsonValue at = deep.root();
  for (int i = 0; i < JsonReply::kDepthMax; ++i) at = at.Item(0);
  EXPECT_EQ(at.Number(), 7);
  EXPECT_FALSE(JsonReply(Nested(JsonReply::kDepthMax + 1)).root().is_list());
  EXPECT_FALSE(JsonReply(Nested(60'000)).root().is_list());
}

TEST(JsonReplyTest, ValuesAreBounded) {
  std::string text = "[0";
  for (size_t i = 2; i < JsonReply::kValuesMax; ++i) text += ",0";
  EXPECT_EQ(JsonReply(text + "]").root().size(), JsonReply::kValuesMax - 1);
  EXPECT_FALSE(JsonReply(text + ",0]").root().is_list());
}

}  // namespace
}  // namespace muster
