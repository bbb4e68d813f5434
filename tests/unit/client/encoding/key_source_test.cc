#include "client/encoding/key_source.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/await.h"
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
  const auto source =
      NewKeyCommand({.command = absl::StrCat("echo $MUSTER_KEY_ID >> ", runs, "; printf '",
                                             std::string(62, '0'), "%s' $MUSTER_KEY_ID")},
                    SystemClock());

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
    const auto key = NewKeyCommand({.command = command}, SystemClock())->KeyFor("prod");
    EXPECT_THAT(key, ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_COMMAND_FAILED"));
    EXPECT_THAT(key.status().message(), HasSubstr("\"prod\""));
  }
}

TEST_F(KeySourceTest, CommandThatHangsIsGivenUp) {
  const auto source =
      NewKeyCommand({.command = "exec sleep 600", .limit = absl::Milliseconds(50)}, SystemClock());
  const auto key = source->KeyFor("prod");
  EXPECT_THAT(key, ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_COMMAND_FAILED"));
  EXPECT_THAT(key.status().message(), HasSubstr("50ms"));
}

TEST_F(KeySourceTest, StopEndsACommandAndTheWaitForOne) {
  const std::string begun = absl::StrCat(directory_.path(), "/begun");
  const auto source =
      NewKeyCommand({.command = absl::StrCat("echo > ", begun, "; exec sleep 600")}, SystemClock());
  std::stop_source first;
  std::stop_source second;
  std::thread runs([&] {
    EXPECT_THAT(source->KeyFor("prod", first.get_token()), StatusIs(absl::StatusCode::kCancelled));
  });
  EXPECT_TRUE(AwaitOrFail("the command", [&] { return access(begun.c_str(), F_OK) == 0; }));
  second.request_stop();

  EXPECT_THAT(source->KeyFor("prod", second.get_token()), StatusIs(absl::StatusCode::kCancelled));

  first.request_stop();
  runs.join();
}

TEST_F(KeySourceTest, CommandDoesNotGetWhatIsWithheld) {
  ASSERT_EQ(setenv("MUSTER_TEST_SECRET", "s3cret", 1), 0);
  const auto source =
      NewKeyCommand({.command = absl::StrCat("test -z \"$MUSTER_TEST_SECRET\" && printf ", kHex),
                     .without = {"MUSTER_TEST_SECRET"}},
                    SystemClock());

  const auto key = source->KeyFor("prod");

  unsetenv("MUSTER_TEST_SECRET");
  MUSTER_EXPECT_OK(key);
}

// The flags of the mapping that `address` is in: "dd" is DONTDUMP, "wf" WIPEONFORK.
std::string FlagsOf(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) inside = begin <= at && at < end;
    if (inside && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

TEST_F(KeySourceTest, KeysAreInNoCoreAndInNoChild) {
  const SecretKey key = KeyOf(7);
  const SecretKey copy = key;
  EXPECT_NE(copy.data(), key.data());
  for (const SecretKey* one : {&key, &copy}) {
    const std::string flags = FlagsOf(one->data());
    EXPECT_THAT(flags, HasSubstr(" dd "));
    EXPECT_THAT(flags, HasSubstr(" wf "));
  }
}

TEST_F(KeySourceTest, KeysAreWipedWhenTheyGo) {
  const uint8_t* where = nullptr;
  {
    const SecretKey key = KeyOf(7);
    where = key.data();
    EXPECT_EQ(where[31], 7);
  }
  // The page stays, so that this may be looked at.
  for (size_t i = 0; i < SecretKey::kBytes; ++i) EXPECT_EQ(where[i], 0);
}

}  // namespace
}  // namespace muster
