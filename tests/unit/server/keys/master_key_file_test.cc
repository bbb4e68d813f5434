// The file of master keys: who may open it, and what of its changes is taken over.

#include "server/keys/master_key_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

class MasterKeyFileTest : public testing::Test {
 protected:
  absl::Time now_ = absl::FromUnixSeconds(1'796'083'200);  // 2026-12-01
  TemporaryDirectory directory_;
  const std::string path_ = directory_.Join("master.keys");
};

TEST_F(MasterKeyFileTest, NewFileIsForItsOwnerAndIsNeverReplaced) {
  const mode_t before = umask(0);
  const auto id = NewMasterKeyFile(path_, now_);
  umask(before);
  MUSTER_ASSERT_OK(id);
  EXPECT_TRUE(absl::StartsWith(*id, "mk-2026-12-01-")) << *id;
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(ReadMasterKeyFile(path_)->current_id(), *id);
  EXPECT_THAT(NewMasterKeyFile(path_, now_).status(), StatusIs(StatusCode::kAlreadyExists));
  EXPECT_EQ(ReadMasterKeyFile(path_)->current_id(), *id);
  // Nothing is left beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);
}

TEST_F(MasterKeyFileTest, FileThatOthersMayOpenIsRefused) {
  MUSTER_ASSERT_OK(NewMasterKeyFile(path_, now_));
  for (const mode_t mode : {0640u, 0604u, 0620u, 0602u, 0610u}) {
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
    EXPECT_THAT(ReadMasterKeyFile(path_).status(),
                ErrorIs(StatusCode::kFailedPrecondition, "KEY_FILE_EXPOSED"));
  }
  ASSERT_EQ(chmod(path_.c_str(), 0400), 0);
  MUSTER_EXPECT_OK(ReadMasterKeyFile(path_));
}

TEST_F(MasterKeyFileTest, WhatIsNoFileOfKeysIsNamed) {
  EXPECT_THAT(ReadMasterKeyFile(path_).status(), StatusIs(StatusCode::kNotFound, HasSubstr(path_)));
  EXPECT_THAT(ReadMasterKeyFile(directory_.path()).status(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("directory")));
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(ReadMasterKeyFile(path_).status(), StatusIs(StatusCode::kInvalidArgument));
  unlink(path_.c_str());
  std::ofstream(path_) << std::string(20'000, '#');
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  EXPECT_THAT(ReadMasterKeyFile(path_).status(),
              ErrorIs(StatusCode::kInvalidArgument, "MASTER_KEY_FILE"));
}

TEST_F(MasterKeyFileTest, RotationIsTakenOverWhenTheFileHasSettled) {
  const std::string first = *NewMasterKeyFile(path_, now_);
  const auto wrapper = OpenMasterKeyFile(path_);
  MUSTER_ASSERT_OK(wrapper);
  EXPECT_FALSE(*(*wrapper)->Refresh({}));
  const auto second = RotateMasterKeyFile(path_, now_ + absl::Hours(24));
  MUSTER_ASSERT_OK(second);
  EXPECT_FALSE(*(*wrapper)->Refresh({{first, 3}}));
  EXPECT_EQ((*wrapper)->current_id(), first);
  EXPECT_TRUE(*(*wrapper)->Refresh({{first, 3}}));
  EXPECT_EQ((*wrapper)->current_id(), *second);
  EXPECT_THAT((*wrapper)->ids(), ElementsAre(first, *second));
  EXPECT_FALSE(*(*wrapper)->Refresh({{first, 3}}));
}

TEST_F(MasterKeyFileTest, LinkLeadsToTheFileAlsoAfterARotation) {
  MUSTER_ASSERT_OK(NewMasterKeyFile(path_, now_));
  const std::string link = directory_.Join("link");
  ASSERT_EQ(symlink(path_.c_str(), link.c_str()), 0);
  const auto second = RotateMasterKeyFile(link, now_);
  MUSTER_ASSERT_OK(second);
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(ReadMasterKeyFile(path_)->current_id(), *second);
}

TEST_F(MasterKeyFileTest, BadFileChangesNothingAndIsToldOnce) {
  const std::string first = *NewMasterKeyFile(path_, now_);
  const auto wrapper = OpenMasterKeyFile(path_);
  MUSTER_ASSERT_OK(wrapper);
  std::ofstream(path_) << "nonsense\n";
  EXPECT_FALSE(*(*wrapper)->Refresh({}));
  EXPECT_THAT((*wrapper)->Refresh({}).status(),
              ErrorIs(StatusCode::kInvalidArgument, "MASTER_KEY_FILE"));
  EXPECT_FALSE(*(*wrapper)->Refresh({}));
  EXPECT_EQ((*wrapper)->current_id(), first);
  unlink(path_.c_str());
  EXPECT_FALSE(*(*wrapper)->Refresh({}));
  EXPECT_THAT((*wrapper)->Refresh({}).status(), StatusIs(StatusCode::kNotFound));
  MUSTER_EXPECT_OK((*wrapper)->Wrap(DrawKey(), "c"));
}

TEST_F(MasterKeyFileTest, KeyThatIsNeededStaysInForceWhenTheFileLosesIt) {
  const std::string first = *NewMasterKeyFile(path_, now_);
  MUSTER_ASSERT_OK(RotateMasterKeyFile(path_, now_));
  const auto wrapper = OpenMasterKeyFile(path_);
  MUSTER_ASSERT_OK(wrapper);
  MUSTER_ASSERT_OK(RetireMasterKey(path_, first));
  EXPECT_FALSE(*(*wrapper)->Refresh({{first, 3}}));
  const absl::Status refused = (*wrapper)->Refresh({{first, 3}}).status();
  EXPECT_THAT(refused, ErrorIs(StatusCode::kFailedPrecondition, "MASTER_KEY_IN_USE"));
  EXPECT_THAT(refused.message(), HasSubstr(absl::StrCat(first, " (3)")));
  EXPECT_EQ((*wrapper)->ids().size(), 2u);
}

TEST_F(MasterKeyFileTest, CurrentKeyIsNotRetired) {
  const std::string first = *NewMasterKeyFile(path_, now_);
  EXPECT_THAT(RetireMasterKey(path_, first),
              ErrorIs(StatusCode::kFailedPrecondition, "MASTER_KEY_IN_USE"));
  EXPECT_THAT(RetireMasterKey(path_, "other"), StatusIs(StatusCode::kNotFound));
}

}  // namespace
}  // namespace muster
