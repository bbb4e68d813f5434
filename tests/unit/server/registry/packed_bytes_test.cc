#include "server/registry/packed_bytes.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace muster {
namespace {

TEST(PackedBytesTest, GivesBackTheBytesThatItTook) {
  const std::string bytes("a\0b\xff", 4);

  const PackedBytes packed(bytes);

  EXPECT_FALSE(packed.empty());
  EXPECT_EQ(packed.view(), bytes);
}

TEST(PackedBytesTest, OfNoBytesIsEmpty) {
  EXPECT_TRUE(PackedBytes().empty());
  EXPECT_TRUE(PackedBytes("").empty());
  EXPECT_EQ(PackedBytes("").view(), "");
}

TEST(PackedBytesTest, MovedBytesStayWhereTheyAre) {
  PackedBytes from("row");
  const char* const at = from.view().data();

  const PackedBytes to = std::move(from);

  EXPECT_EQ(to.view(), "row");
  EXPECT_EQ(to.view().data(), at);
}

}  // namespace
}  // namespace muster
