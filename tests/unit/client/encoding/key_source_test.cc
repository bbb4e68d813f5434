#include "client/encoding/key_source.h"

#include <sys/stat.h>

#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/client/encoding/encoding_fixtures.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kHex(64, 'a');

bool SameKey(const SecretKey& a, const SecretKey& b) {
  return std::memcmp(a.data(), b.data(), SecretKey::kBytes) == 0;
}

class KeySourceTest : public testing::Test {
 protected:
  std::string Write(absl::string_view text, mode_t mode) {
    const std::string path = absl::StrCat(directory_.path(), "/key");
    std::ofstream(path, std::ios::trunc) << text;
    chmod(path.c_str(), mode);
    return path;
  }

  TemporaryDirectory directory_;
};

TEST_F(KeySourceTest, KeyIsRawBytesOrHexDigits) {
  MUSTER_ASSERT_OK(SecretKey::Parse(kHex));
  EXPECT_TRUE(SameKey(*SecretKey::Parse(kHex), KeyOf(0xAA)));
  EXPECT_TRUE(SameKey(*SecretKey::Parse(absl::StrCat(kHex, "\n")), KeyOf(0xAA)));
  EXPECT_TRUE(SameKey(*SecretKey::Parse(std::string(32, '\x01')), KeyOf(1)));
}

TEST_F(KeySourceTest, TextThatIsNoKeyIsRefusedAndNotQuoted) {
  for (const std::string& text :
       {std::string(), std::string("secret"), kHex.substr(1), kHex + "a", std::string(64, 'g')}) {
    const auto key = SecretKey::Parse(text);
    EXPECT_THAT(key, StatusIs(absl::StatusCode::kInvalidArgument));
    if (text.empty()) continue;
    EXPECT_THAT(key.status().message(), Not(HasSubstr(text)));
  }
}

TEST_F(KeySourceTest, KeyFileThatOthersMayOpenIsRefused) {
  EXPECT_THAT(ReadKeyFile(Write(kHex, 0640)),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_FILE_EXPOSED"));
  const auto source = ReadKeyFile(Write(kHex, 0400));
  MUSTER_ASSERT_OK(source);
  EXPECT_TRUE(SameKey(*(*source)->KeyFor("any"), KeyOf(0xAA)));
  EXPECT_THAT(ReadKeyFile(Write("no key", 0600)), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ReadKeyFile(directory_.path() + "/absent"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(KeySourceTest, CommandGetsTheKeyIdAndRunsOncePerKey) {
  const std::string runs = absl::StrCat(directory_.path(), "/runs");
  const auto source = NewKeyCommand(absl::StrCat("echo $MUSTER_KEY_ID >> ", runs, "; printf '",
                                                 std::string(62, '0'), "%s' $MUSTER_KEY_ID"));

  SecretKey expected;
  expected.Fill()[31] = 0x1b;
  for (int i = 0; i < 2; ++i) {
    const auto key = source->KeyFor("1b");
    MUSTER_ASSERT_OK(key);
    EXPECT_TRUE(SameKey(*key, expected));
  }
  MUSTER_EXPECT_OK(source->KeyFor("ff"));
  std::ifstream file(runs);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "1b\nff\n");
}

TEST_F(KeySourceTest, CommandThatFailsOrPrintsNoKeyIsTold) {
  for (const char* command : {"exit 3", "echo no key", "yes", "kill -9 $$"}) {
    const auto key = NewKeyCommand(command)->KeyFor("prod");
    EXPECT_THAT(key, ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_COMMAND_FAILED"));
    EXPECT_THAT(key.status().message(), HasSubstr("\"prod\""));
  }
}

}  // namespace
}  // namespace muster
