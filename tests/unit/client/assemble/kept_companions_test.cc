#include "client/assemble/kept_companions.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/base/md5.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

class KeptCompanionsTest : public testing::Test {
 protected:
  static v1::Companion Of(const std::string& bytes) {
    v1::Companion companion;
    companion.set_path("config.json");
    companion.set_size_bytes(bytes.size());
    companion.set_md5(Md5ToHex(Md5Of(bytes)));
    return companion;
  }
  // Whatever an earlier run, or somebody else, left under the companion's name.
  void Put(const v1::Companion& companion, const std::string& bytes) {
    std::ofstream(absl::StrCat(dir_.path(), "/", companion.md5())) << bytes;
  }

  TemporaryDirectory dir_;
  KeptCompanions kept_{dir_.path()};
};

TEST_F(KeptCompanionsTest, OnlyTheRightBytesAreGivenOut) {
  const v1::Companion companion = Of("{}");
  EXPECT_EQ(kept_.BytesOf(companion), std::nullopt) << "there is none";
  for (const char* wrong : {"[]", "{", "{} ", ""}) {
    Put(companion, wrong);
    EXPECT_EQ(kept_.BytesOf(companion), std::nullopt) << wrong;
  }

  Put(companion, "{}");

  EXPECT_EQ(kept_.BytesOf(companion), "{}");
}

TEST_F(KeptCompanionsTest, NoPathIsMadeOfWhatIsNoMd5) {
  v1::Companion companion = Of("{}");
  std::ofstream(absl::StrCat(dir_.path(), "/file")) << "{}";
  for (const char* md5 : {"file", "../file", "", "/etc/passwd"}) {
    companion.set_md5(md5);
    EXPECT_EQ(kept_.BytesOf(companion), std::nullopt) << md5;
  }
}

TEST_F(KeptCompanionsTest, NoMemoryIsTakenForWhatIsTooBig) {
  v1::Companion companion = Of("{}");
  companion.set_size_bytes(uint64_t{1} << 60);
  Put(companion, "{}");
  EXPECT_EQ(kept_.BytesOf(companion), std::nullopt);
  // A file that says so of itself.
  companion.set_size_bytes(static_cast<uint64_t>(kMaxKeptCompanionBytes) + 1);
  ASSERT_EQ(
      truncate(absl::StrCat(dir_.path(), "/", companion.md5()).c_str(), kMaxKeptCompanionBytes + 1),
      0);
  EXPECT_EQ(kept_.BytesOf(companion), std::nullopt);
}

TEST_F(KeptCompanionsTest, WhatNobodyNeedsGoesAndNothingElse) {
  const v1::Companion needed = Of("needed"), old = Of("old");
  Put(needed, "needed");
  Put(old, "old");
  std::ofstream(absl::StrCat(dir_.path(), "/.part")) << "being written";

  kept_.RemoveOthers({needed.md5()});

  EXPECT_EQ(kept_.BytesOf(needed), "needed");
  EXPECT_NE(access(absl::StrCat(dir_.path(), "/", old.md5()).c_str(), F_OK), 0);
  EXPECT_EQ(access(absl::StrCat(dir_.path(), "/.part").c_str(), F_OK), 0);
}

}  // namespace
}  // namespace muster
