#include "server/rpc/page_seal.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;

TEST(PageSealTest, ATokenShowsNothingAndOpensForItsListOnly) {
  const PageSeal seal, other;
  const std::string sealed = seal.Seal("user/a\nListNodes", "12 nodes/secret");

  EXPECT_THAT(seal.Open("user/a\nListNodes", sealed), Optional(std::string("12 nodes/secret")));
  EXPECT_EQ(seal.Open("user/b\nListNodes", sealed), std::nullopt);
  EXPECT_EQ(seal.Open("", sealed), std::nullopt);
  EXPECT_EQ(other.Open("user/a\nListNodes", sealed), std::nullopt);
  EXPECT_THAT(sealed, Not(HasSubstr("secret")));
  EXPECT_NE(seal.Seal("user/a\nListNodes", "12 nodes/secret"), sealed);
  EXPECT_THAT(seal.Open("x", seal.Seal("x", "")), Optional(std::string()));
}

TEST(PageSealTest, WhatWasChangedOrMadeUpIsNone) {
  const PageSeal seal;
  const std::string sealed = seal.Seal("list", "nodes/secret");
  for (size_t at = 0; at < sealed.size(); ++at) {
    std::string changed = sealed;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    EXPECT_EQ(seal.Open("list", changed), std::nullopt) << at;
    EXPECT_EQ(seal.Open("list", sealed.substr(0, at)), std::nullopt) << at;
  }
  for (const std::string& made : {std::string(), std::string("AAAA"), std::string(200, 'A'),
                                  std::string(1 << 20, 'A'), std::string("\0\xff", 2)}) {
    EXPECT_EQ(seal.Open("list", made), std::nullopt);
  }
}

}  // namespace
}  // namespace muster
