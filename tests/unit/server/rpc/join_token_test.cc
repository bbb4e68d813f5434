#include "server/rpc/join_token.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(JoinTokenTest, OneThatWasDrawnIsUnderstood) {
  std::set<std::string> texts, ids;
  for (int i = 0; i < 100; ++i) {
    const auto drawn = DrawJoinToken();
    MUSTER_ASSERT_OK(drawn);
    texts.insert(drawn->text);
    ids.insert(drawn->id);
    const auto parsed = ParseJoinToken(drawn->text);
    MUSTER_ASSERT_OK(parsed);
    EXPECT_EQ(parsed->id, drawn->id);
    EXPECT_EQ(parsed->sha256, drawn->sha256);
    EXPECT_EQ(parsed->sha256.size(), 32u);
    EXPECT_EQ(drawn->text, absl::StrCat("mjt_", drawn->id, "_", drawn->text.substr(17)));
    EXPECT_EQ(drawn->text.size(), 4u + 12 + 1 + 64);
  }
  EXPECT_EQ(texts.size(), 100u);
  EXPECT_EQ(ids.size(), 100u);
}

TEST(JoinTokenTest, WhatHasAnotherFormIsRefusedAndNotQuoted) {
  const std::string secret(64, 'a');
  const std::string good = absl::StrCat("mjt_0123456789ab_", secret);
  MUSTER_EXPECT_OK(ParseJoinToken(good));
  for (const std::string& bad :
       {std::string(), std::string("mjt_"), std::string("mjt__"),
        absl::StrCat("mst_0123456789ab_", secret), absl::StrCat("MJT_0123456789ab_", secret),
        absl::StrCat("mjt_0123456789AB_", secret), absl::StrCat("mjt_0123456789a_", secret),
        absl::StrCat(good, "a"), absl::StrCat(" ", good), absl::StrCat(good, "\n"),
        good.substr(0, good.size() - 1), absl::StrCat(good, std::string(1, '\0')),
        absl::StrCat(good, "_", secret), std::string(1 << 20, 'a'),
        absl::StrCat(good, std::string(1 << 20, 'a'))}) {
    const auto parsed = ParseJoinToken(bad);
    EXPECT_THAT(parsed, ErrorIs(StatusCode::kUnauthenticated, "JOIN_TOKEN_REFUSED"))
        << bad.substr(0, 100);
    EXPECT_THAT(std::string(parsed.status().message()), Not(HasSubstr("aaaaaa")));
  }
}

}  // namespace
}  // namespace muster
