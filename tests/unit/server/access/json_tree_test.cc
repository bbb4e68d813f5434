#include "server/access/json_tree.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

constexpr JsonBounds kBounds{10'000, 4, 100};

TEST(JsonTreeTest, EachValueKnowsItsLine) {
  const auto tree = ParseJson("{\n  \"a\": [\n    \"x\",\n    7],\n\n  \"b\": {}\n}", kBounds);
  MUSTER_ASSERT_OK(tree);

  EXPECT_EQ(tree->line, 1);
  EXPECT_EQ(tree->Field("a")->line, 2);
  EXPECT_EQ(tree->Field("a")->items[0].line, 3);
  EXPECT_EQ(tree->Field("a")->items[0].text, "x");
  EXPECT_EQ(tree->Field("a")->items[1].line, 4);
  EXPECT_EQ(tree->Field("a")->items[1].kind, JsonNode::Kind::kOther);
  EXPECT_EQ(tree->Field("b")->line, 6);
  EXPECT_EQ(tree->Field("c"), nullptr);
}

TEST(JsonTreeTest, CommentsAreAllowed) {
  const auto tree = ParseJson("// why\n{ /* what */ \"a\": \"x\" }", kBounds);
  MUSTER_ASSERT_OK(tree);

  EXPECT_EQ(tree->Field("a")->line, 2);
}

TEST(JsonTreeTest, MistakesNameTheirLine) {
  EXPECT_THAT(ParseJson("{\n\"a\": x}", kBounds),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 2")));
  EXPECT_THAT(
      ParseJson("{\"a\": \"1\",\n\n\"a\": \"2\"}", kBounds),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 3: has the key \"a\" twice")));
  for (const char* text : {"", " ", "{", "[1", "{} {}", "{\"a\"}", "{\"a\": 1,}", "[\"a]", "nul",
                           "\"\xff\"", "/* a"}) {
    EXPECT_THAT(ParseJson(text, kBounds),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line ")))
        << text;
  }
}

TEST(JsonTreeTest, NulIsRefusedHoweverItIsWritten) {
  EXPECT_THAT(ParseJson("\"a\\u0000b\"", kBounds),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NUL")));
  EXPECT_THAT(ParseJson("{\"a\\u0000b\": 1}", kBounds),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NUL")));
  EXPECT_THAT(ParseJson(std::string("\"a\0b\"", 5), kBounds),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(JsonTreeTest, WhatGoesBeyondABoundIsRefused) {
  EXPECT_THAT(ParseJson("[[[[]]]]", kBounds), IsOk());
  EXPECT_THAT(ParseJson("[[[[[]]]]]", kBounds),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("4 brackets")));
  EXPECT_THAT(ParseJson(std::string(9'000, '['), kBounds),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ParseJson(std::string(10'001, ' '), kBounds),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("10001 bytes")));
  std::string many = "[1";
  for (int i = 0; i < 98; ++i) many += ",1";
  EXPECT_THAT(ParseJson(many + "]", kBounds), IsOk());
  EXPECT_THAT(ParseJson(many + ",1]", kBounds),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("100 values")));
}

}  // namespace
}  // namespace muster
