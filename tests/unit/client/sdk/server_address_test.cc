#include "client/sdk/server_address.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

std::string Parsed(absl::string_view text) {
  const auto address = ParseServerAddress(text);
  return address.ok() ? *address : std::string(address.status().message());
}

TEST(ServerAddressTest, WhatPeoplePasteIsUnderstood) {
  EXPECT_EQ(Parsed("127.0.0.1:7070"), "127.0.0.1:7070");
  EXPECT_EQ(Parsed("http://h:7301"), "h:7301");
  EXPECT_EQ(Parsed("HTTP://h:7301/"), "h:7301");
  EXPECT_EQ(Parsed("h"), "h:7070");
  EXPECT_EQ(Parsed("http://muster.prod.example"), "muster.prod.example:7070");
  EXPECT_EQ(Parsed("[::1]:7301"), "[::1]:7301");
  EXPECT_EQ(Parsed("[::1]"), "[::1]:7070");
  EXPECT_EQ(Parsed("dns:///h:7301"), "dns:///h:7301");
}

TEST(ServerAddressTest, WhatCantBeAServerIsRefusedWithTheWayOut) {
  EXPECT_THAT(ParseServerAddress("https://h:7070"),
              ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_SERVER"));
  EXPECT_THAT(Parsed("https://h:7070"), HasSubstr("--tls-ca"));
  EXPECT_THAT(Parsed("::1"), HasSubstr("in brackets, as in [::1]:7070"));
  for (const char* const text :
       {"", ":7070", "h:port", "h:0", "h:70000", "h:-1", "h:7070/path", "http://", "http:///",
        "grpc://h:1", "a b:1", "u@h:1", "h\x1b:1"}) {
    EXPECT_THAT(Parsed(text), HasSubstr("127.0.0.1:7070")) << text;
  }
}

}  // namespace
}  // namespace muster
