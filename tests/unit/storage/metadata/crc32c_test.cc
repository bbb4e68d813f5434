#include "storage/metadata/crc32c.h"

#include <string>

#include "gtest/gtest.h"

namespace muster {
namespace {

// The vectors of RFC 3720, B.4.
TEST(Crc32cTest, KnownChecksums) {
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST(Crc32cTest, PartsGiveTheChecksumOfTheWhole) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes.push_back(static_cast<char>(i * 7));
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(ExtendCrc32c(Crc32c(bytes.substr(0, cut)), bytes.substr(cut)), Crc32c(bytes)) << cut;
  }
}

}  // namespace
}  // namespace muster
