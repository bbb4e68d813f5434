// A token comes from a variable or a file that is its owner's alone, is renewed under a client, and is in no message.
#include "client/sdk/bearer_token.h"

#include <sys/stat.h>

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;

class BearerTokenTest : public testing::Test {
 protected:
  void Write(const std::string& text, mode_t mode = 0600) {
    std::ofstream(path_, std::ios::trunc) << text;
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }

  TemporaryDirectory directory_;
  std::string path_ = absl::StrCat(directory_.path(), "/token");
};

TEST_F(BearerTokenTest, NoneIsWantedByDefault) {
  BearerToken token("", "");
  EXPECT_FALSE(token.wanted());
  EXPECT_EQ(token.Get().value_or("error"), "");
}

TEST_F(BearerTokenTest, TheTextGoesBeforeTheFile) {
  Write("of-the-file\n");
  EXPECT_EQ(BearerToken("of-the-variable", path_).Get().value_or("error"), "of-the-variable");
  BearerToken of_file("", path_);
  EXPECT_TRUE(of_file.wanted());
  EXPECT_EQ(of_file.Get().value_or("error"), "of-the-file");
}

TEST_F(BearerTokenTest, AFileThatIsReplacedIsReadAnew) {
  Write("first");
  BearerToken token("", path_);
  EXPECT_EQ(token.Get().value_or("error"), "first");
  Write("the-second-one");
  EXPECT_EQ(token.Get().value_or("error"), "the-second-one");
}

TEST_F(BearerTokenTest, AFileForOthersIsRefused) {
  for (const mode_t mode : {0644, 0606, 0620}) {
    Write("secret-text", mode);
    const auto token = BearerToken("", path_).Get();
    EXPECT_THAT(token, ErrorIs(StatusCode::kInvalidArgument, "CREDENTIAL_REFUSED")) << mode;
    EXPECT_THAT(std::string(token.status().message()), Not(HasSubstr("secret-text")));
  }
  // As Kubernetes mounts secrets.
  Write("secret-text", 0640);
  MUSTER_EXPECT_OK(BearerToken("", path_).Get());
}

TEST_F(BearerTokenTest, WhatIsNoTokenIsRefusedAndNotQuoted) {
  for (const std::string& text :
       {std::string("\n"), std::string("two words"), std::string("secret\nsecond: header"),
        std::string("null\0", 5), std::string(257, 's'), std::string(1 << 20, 's'),
        std::string("\x80\xff")}) {
    Write(text);
    const auto of_file = BearerToken("", path_).Get();
    EXPECT_THAT(of_file, ErrorIs(StatusCode::kInvalidArgument, "CREDENTIAL_REFUSED"))
        << text.substr(0, 20);
    EXPECT_LT(of_file.status().message().size(), 300u);
    if (text != "\n") {
      EXPECT_THAT(BearerToken(text, "").Get(),
                  ErrorIs(StatusCode::kInvalidArgument, "CREDENTIAL_REFUSED"));
    }
  }
  EXPECT_THAT(BearerToken("", absl::StrCat(path_, "-absent")).Get(), Not(IsOk()));
  EXPECT_THAT(BearerToken("", directory_.path()).Get(), Not(IsOk()));
}

}  // namespace
}  // namespace muster
