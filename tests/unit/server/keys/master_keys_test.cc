// Master keys: what a file of them may say, and what opens a content key and what doesn't.

#include "server/keys/master_keys.h"

#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// 32 bytes 1, 2, and 0.
constexpr char kOne[] = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
constexpr char kTwo[] = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
constexpr char kZero[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

bool Same(const SecretKey& a, const SecretKey& b) {
  return std::memcmp(a.data(), b.data(), SecretKey::kBytes) == 0;
}

MasterKeys Two() {
  return *MasterKeys::Parse(
      absl::StrCat("# a comment\n\nold ", kOne, "\nnew ", kTwo, " current\n"));
}

TEST(MasterKeysTest, FileIsReadAndPrintedAgain) {
  const MasterKeys keys = Two();
  EXPECT_THAT(keys.ids(), ElementsAre("new", "old"));
  EXPECT_EQ(keys.current_id(), "new");
  SecretText text(MasterKeys::kMaxTextBytes);
  keys.Print(text);
  EXPECT_THAT(text.text(), HasSubstr(absl::StrCat("\nnew ", kTwo, " current\nold ", kOne, "\n")));
  const auto again = MasterKeys::Parse(text.text());
  MUSTER_ASSERT_OK(again);
  // The same keys: what one wraps the other opens.
  const SecretKey key = DrawKey();
  const auto opened = again->Unwrap(keys.Wrap(key, "c"), "c");
  MUSTER_ASSERT_OK(opened);
  EXPECT_TRUE(Same(*opened, key));
}

TEST(MasterKeysTest, MistakesAreRefusedByLineAndNoKeyIsQuoted) {
  const std::string one(kOne);
  std::string many;
  for (int i = 0; i < 65; ++i) {
    std::string other = one;
    other[0] = static_cast<char>('B' + i % 25);
    other[1] = static_cast<char>('A' + i / 25);
    absl::StrAppend(&many, "k", i, " ", other, i == 0 ? " current\n" : "\n");
  }
  const struct {
    std::string text, says;
  } cases[] = {
      {"", "holds no key"},
      {"# nothing else\n", "holds no key"},
      {absl::StrCat("a ", kOne, "\n"), "current"},
      {absl::StrCat("a ", kOne, " current\nb ", kTwo, " current\n"),
       "line 2: the current key is a"},
      {absl::StrCat("a ", kOne, " current\na ", kTwo, "\n"), "line 2: the id a is there twice"},
      {absl::StrCat("a ", kOne, " current\nb ", kOne, "\n"), "line 2: the key is that of a"},
      {absl::StrCat("a ", kZero, " current\n"), "line 1: the key is all zeros"},
      {absl::StrCat("a  ", kOne, " current\n"), "line 1: the key is not 32 bytes"},
      {absl::StrCat(" a ", kOne, " current\n"), "line 1: the id of a master key"},
      {absl::StrCat("a/b ", kOne, " current\n"), "line 1: the id of a master key"},
      {absl::StrCat(std::string(64, 'a'), " ", kOne, " current\n"), "line 1: the id"},
      {absl::StrCat("a\t", kOne, " current\n"), "line 1: the id of a master key"},
      {absl::StrCat("a ", kOne, " Current\n"), "line 1: behind the key"},
      {absl::StrCat("a ", kOne, " current \n"), "line 1: behind the key"},
      {absl::StrCat("a ", kOne, " current\r\n"), "line 1: behind the key"},
      {absl::StrCat("a ", one.substr(0, 43), " current\n"), "line 1: the key is not 32 bytes"},
      {absl::StrCat("a ", one.substr(4), " current\n"), "line 1: the key is not 32 bytes"},
      {absl::StrCat("a ", one.substr(0, 42), "== current\n"), "line 1: the key is not 32 bytes"},
      // The last character has bits that are not of the key.
      {absl::StrCat("a ", one.substr(0, 42), "F= current\n"), "line 1: the key is not 32 bytes"},
      {absl::StrCat("a !", one.substr(1), " current\n"), "line 1: the key is not 32 bytes"},
      {absl::StrCat("a ", std::string(64, '0'), " current\n"), "line 1: the key is not 32 bytes"},
      {absl::StrCat("a", std::string("\0", 1), " ", kOne, " current\n"), "line 1: the id"},
      {many, "line 65: there are more than 64 keys"},
      {std::string(MasterKeys::kMaxTextBytes + 1, '#'), "has more than 16384 bytes"},
  };
  for (const auto& one_case : cases) {
    const absl::Status status = MasterKeys::Parse(one_case.text).status();
    EXPECT_THAT(status, ErrorIs(StatusCode::kInvalidArgument, "MASTER_KEY_FILE")) << one_case.text;
    EXPECT_THAT(status.message(), HasSubstr(one_case.says));
    EXPECT_THAT(status.message(), Not(HasSubstr("AQEB")));
  }
}

TEST(MasterKeysTest, WrappedKeyOpensForItsVersionOnly) {
  const MasterKeys keys = Two();
  const SecretKey key = DrawKey();
  const std::string context = ContentKeyContext("cluster-7", "muster/a");
  const WrappedKey wrapped = keys.Wrap(key, context);
  EXPECT_EQ(wrapped.master_key_id, "new");
  EXPECT_THAT(
      wrapped.bytes,
      Not(HasSubstr(std::string(reinterpret_cast<const char*>(key.data()), SecretKey::kBytes))));
  EXPECT_TRUE(Same(*keys.Unwrap(wrapped, context), key));
  for (const std::string& other :
       {ContentKeyContext("cluster-8", "muster/a"), ContentKeyContext("cluster-7", "muster/b"),
        ContentKeyContext("cluster-7m", "uster/a"), std::string()}) {
    EXPECT_THAT(keys.Unwrap(wrapped, other).status(),
                ErrorIs(StatusCode::kDataLoss, "CONTENT_KEY_DAMAGED"));
  }
}

TEST(MasterKeysTest, EachWrapHasANonceOfItsOwn) {
  const MasterKeys keys = Two();
  const SecretKey key = DrawKey();
  EXPECT_NE(keys.Wrap(key, "c").bytes, keys.Wrap(key, "c").bytes);
  EXPECT_FALSE(Same(DrawKey(), DrawKey()));
  EXPECT_NE(DrawContentKeyId(), DrawContentKeyId());
}

TEST(MasterKeysTest, EveryChangedByteIsNoticed) {
  const MasterKeys keys = Two();
  const WrappedKey wrapped = keys.Wrap(DrawKey(), "c");
  for (size_t i = 0; i < wrapped.bytes.size(); ++i) {
    WrappedKey changed = wrapped;
    changed.bytes[i] = static_cast<char>(changed.bytes[i] ^ 1);
    EXPECT_THAT(keys.Unwrap(changed, "c").status(),
                ErrorIs(StatusCode::kDataLoss, "CONTENT_KEY_DAMAGED"))
        << i;
  }
  for (const size_t size : {size_t{0}, size_t{1}, wrapped.bytes.size() - 1}) {
    EXPECT_THAT(keys.Unwrap({"new", wrapped.bytes.substr(0, size)}, "c").status(),
                ErrorIs(StatusCode::kDataLoss, "CONTENT_KEY_DAMAGED"));
  }
  EXPECT_THAT(keys.Unwrap({"new", wrapped.bytes + "x"}, "c").status(),
              ErrorIs(StatusCode::kDataLoss, "CONTENT_KEY_DAMAGED"));
  // The name of the master key is bound, too.
  EXPECT_THAT(keys.Unwrap({"old", wrapped.bytes}, "c").status(),
              ErrorIs(StatusCode::kDataLoss, "CONTENT_KEY_DAMAGED"));
}

TEST(MasterKeysTest, RotationKeepsTheOldKeysUntilTheyAreRetired) {
  const MasterKeys first = MasterKeys::Of("first", DrawKey());
  const WrappedKey wrapped = first.Wrap(DrawKey(), "c");
  const auto second = first.With("second", DrawKey());
  MUSTER_ASSERT_OK(second);
  EXPECT_EQ(second->current_id(), "second");
  MUSTER_EXPECT_OK(second->Unwrap(wrapped, "c"));
  EXPECT_THAT(second->With("first", DrawKey()).status(), StatusIs(StatusCode::kAlreadyExists));
  EXPECT_THAT(second->Without("second").status(),
              ErrorIs(StatusCode::kFailedPrecondition, "MASTER_KEY_IN_USE"));
  EXPECT_THAT(second->Without("third").status(), StatusIs(StatusCode::kNotFound));
  const auto without = second->Without("first");
  MUSTER_ASSERT_OK(without);
  const absl::Status lost = without->Unwrap(wrapped, "c").status();
  EXPECT_THAT(lost, ErrorIs(StatusCode::kDataLoss, "MASTER_KEY_MISSING"));
  EXPECT_EQ(DetailOf(lost).metadata.at("master_key_id"), "first");
}

}  // namespace
}  // namespace muster
