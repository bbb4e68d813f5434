#include "storage/files/staged_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/storage/files/resource_limit.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace fs = std::filesystem;

class StagedFileTest : public testing::Test {
 protected:
  std::string Content(const std::string& name) {
    std::ostringstream text;
    text << std::ifstream(directory_.Join(name), std::ios::binary).rdbuf();
    return text.str();
  }

  void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(directory_.Join(name), std::ios::binary) << bytes;
  }

  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_.path())) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  UniqueFd OpenDirectory() {
    return UniqueFd(open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }

  TemporaryDirectory directory_;
};

TEST_F(StagedFileTest, FileAppearsWithCommitAndNotBefore) {
  absl::StatusOr<StagedFile> file = StagedFile::Create(directory_.Join("f"));
  MUSTER_ASSERT_OK(file);
  MUSTER_ASSERT_OK(file->Write(3, "345"));
  MUSTER_ASSERT_OK(file->Write(0, "012"));
  EXPECT_FALSE(fs::exists(directory_.Join("f")));

  MUSTER_ASSERT_OK(file->Commit());

  EXPECT_EQ(Content("f"), "012345");
  EXPECT_THAT(Names(), ElementsAre("f"));
}

TEST_F(StagedFileTest, UncommittedFileLeavesNothingAndTheOldOneAsItWas) {
  Write("f", "old");
  {
    absl::StatusOr<StagedFile> file = StagedFile::Create(directory_.Join("f"));
    MUSTER_ASSERT_OK(file);
    MUSTER_ASSERT_OK(file->Write(0, "new"));
    const StagedFile moved = *std::move(file);
    EXPECT_EQ(Names().size(), 2u);
  }

  EXPECT_THAT(Names(), ElementsAre("f"));
  EXPECT_EQ(Content("f"), "old");
}

TEST_F(StagedFileTest, CommitReplacesAndTheLastOneWins) {
  Write("f", "old and long");
  absl::StatusOr<StagedFile> first = StagedFile::Create(directory_.Join("f"));
  absl::StatusOr<StagedFile> second = StagedFile::Create(directory_.Join("f"));
  MUSTER_ASSERT_OK(first);
  MUSTER_ASSERT_OK(second);
  MUSTER_ASSERT_OK(first->Write(0, "1"));
  MUSTER_ASSERT_OK(second->Write(0, "2"));

  MUSTER_ASSERT_OK(second->Commit());
  EXPECT_EQ(Content("f"), "2");
  MUSTER_ASSERT_OK(first->Commit());
  EXPECT_EQ(Content("f"), "1");
}

TEST_F(StagedFileTest, NameThatIsTakenIsNotReplacedWhereThatIsAskedFor) {
  absl::StatusOr<StagedFile> first = StagedFile::Create(directory_.Join("f"));
  absl::StatusOr<StagedFile> second = StagedFile::Create(directory_.Join("f"));
  MUSTER_ASSERT_OK(first);
  MUSTER_ASSERT_OK(second);
  MUSTER_ASSERT_OK(first->Write(0, "first"));

  const absl::StatusOr<struct stat> info = first->Commit(/*may_replace=*/false);
  MUSTER_ASSERT_OK(info);
  EXPECT_EQ(info->st_size, 5);
  EXPECT_THAT(second->Commit(/*may_replace=*/false),
              StatusIs(StatusCode::kAlreadyExists, HasSubstr("/f\"")));

  EXPECT_EQ(Content("f"), "first");
}

TEST_F(StagedFileTest, SecretIsItsOwnersAlone) {
  const mode_t before = umask(0);
  const auto mode = [&] {
    struct stat info = {};
    EXPECT_EQ(stat(directory_.Join("key").c_str(), &info), 0);
    return info.st_mode & 0777;
  };
  {
    absl::StatusOr<StagedFile> unfinished = StagedFile::Create(directory_.Join("key"), 0600);
    MUSTER_ASSERT_OK(unfinished);
    struct stat info = {};
    EXPECT_EQ(stat(directory_.Join(Names().front()).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
  }
  Write("key", "for everybody");
  MUSTER_EXPECT_OK(WriteSecretFile(directory_.Join("key"), "one", /*may_replace=*/true));
  EXPECT_EQ(mode(), 0600u);

  EXPECT_THAT(WriteSecretFile(directory_.Join("key"), "two", /*may_replace=*/false),
              StatusIs(StatusCode::kAlreadyExists));
  EXPECT_EQ(Content("key"), "one");
  umask(before);
}

TEST_F(StagedFileTest, WhereNoFileCanBeNothingIsLeft) {
  fs::create_directory(directory_.Join("dir"));
  Write("file", "x");
  {
    absl::StatusOr<StagedFile> file = StagedFile::Create(directory_.Join("dir"));
    MUSTER_ASSERT_OK(file);
    EXPECT_THAT(file->Commit(), StatusIs(StatusCode::kFailedPrecondition, HasSubstr("/dir\"")));
  }

  EXPECT_THAT(StagedFile::Create(directory_.Join("no/such")), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(StagedFile::Create(directory_.Join("file/f")), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(StagedFile::Create(directory_.Join(std::string(256, 'n'))),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Names(), ElementsAre("dir", "file"));
}

TEST_F(StagedFileTest, NoSpaceIsResourceExhaustedAndLeavesNothing) {
  const ResourceLimit limit(RLIMIT_FSIZE, 1 << 16);
  {
    absl::StatusOr<StagedFile> file = StagedFile::Create(directory_.Join("f"));
    MUSTER_ASSERT_OK(file);
    EXPECT_THAT(file->Reserve(1 << 17), StatusIs(StatusCode::kResourceExhausted));
    EXPECT_THAT(file->Write(0, std::string(1 << 17, 'x')),
                StatusIs(StatusCode::kResourceExhausted, HasSubstr("/f\"")));
  }

  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(StagedFileTest, ModeIsThatOfTheUmask) {
  const mode_t old_mask = umask(0027);
  MUSTER_EXPECT_OK(WriteWholeFile(directory_.Join("f"), "x"));
  umask(old_mask);

  struct stat info = {};
  ASSERT_EQ(stat(directory_.Join("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST_F(StagedFileTest, OpenDirectoryAndNamesOfTheCallerAreUsed) {
  Write("tmp-0", "another's");
  int names = 0;
  absl::StatusOr<StagedFile> file = StagedFile::Create(
      {OpenDirectory(), "f", "shown"}, [&names] { return "tmp-" + std::to_string(names++); });
  MUSTER_ASSERT_OK(file);
  EXPECT_THAT(Names(), ElementsAre("tmp-0", "tmp-1"));
  MUSTER_ASSERT_OK(file->Write(0, "x"));

  MUSTER_ASSERT_OK(file->Commit());

  EXPECT_THAT(Names(), ElementsAre("f", "tmp-0"));
  EXPECT_EQ(Content("tmp-0"), "another's");
  EXPECT_THAT(StagedFile::Create({OpenDirectory(), "f", "shown"}, [] { return "no/such"; }),
              StatusIs(StatusCode::kNotFound, HasSubstr("shown: ")));
}

TEST_F(StagedFileTest, WholeFileReplacesWhatADeadProcessLeft) {
  Write("f", "old");
  Write("f.new", "half of a longer one");
  const UniqueFd directory = OpenDirectory();

  MUSTER_ASSERT_OK(WriteWholeFileAt(directory.get(), "f", "new", "f.new", "shown"));

  EXPECT_EQ(Content("f"), "new");
  EXPECT_THAT(Names(), ElementsAre("f"));
  EXPECT_THAT(WriteWholeFileAt(directory.get(), "f", "new", "no/such", "shown"),
              StatusIs(StatusCode::kNotFound, HasSubstr("shown: ")));
}

TEST_F(StagedFileTest, DirectoryAppearsWithCommitAlsoOverAnEmptyOne) {
  fs::create_directory(directory_.Join("dir"));
  absl::StatusOr<StagedDirectory> staged = StagedDirectory::Create(directory_.Join("dir/"));
  MUSTER_ASSERT_OK(staged);
  std::ofstream(staged->staging_path() + "/f") << "x";
  EXPECT_TRUE(fs::is_empty(directory_.Join("dir")));

  MUSTER_ASSERT_OK(staged->Commit());

  EXPECT_EQ(Content("dir/f"), "x");
  EXPECT_THAT(Names(), ElementsAre("dir"));
}

TEST_F(StagedFileTest, UncommittedDirectoryLeavesNothing) {
  {
    absl::StatusOr<StagedDirectory> staged = StagedDirectory::Create(directory_.Join("dir"));
    MUSTER_ASSERT_OK(staged);
    std::ofstream(staged->staging_path() + "/f") << "x";
  }

  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_THAT(StagedDirectory::Create(directory_.Join("no/such")), StatusIs(StatusCode::kNotFound));
}

TEST_F(StagedFileTest, DirectoryDoesNotReplaceWhatIsThere) {
  fs::create_directory(directory_.Join("full"));
  Write("full/f", "x");
  Write("file", "x");
  for (const char* name : {"full", "file"}) {
    EXPECT_THAT(StagedDirectory::Create(directory_.Join(name)),
                StatusIs(StatusCode::kAlreadyExists));
  }

  for (const char* name : {"late-file", "late-full"}) {
    absl::StatusOr<StagedDirectory> staged = StagedDirectory::Create(directory_.Join(name));
    MUSTER_ASSERT_OK(staged);
    if (name == std::string("late-full")) {
      fs::create_directory(directory_.Join(name));
      Write("late-full/f", "x");
    } else {
      Write(name, "x");
    }
    EXPECT_THAT(staged->Commit(), StatusIs(StatusCode::kAlreadyExists, HasSubstr(name)));
  }
  EXPECT_THAT(Names(), ElementsAre("file", "full", "late-file", "late-full"));
}

TEST_F(StagedFileTest, WhatDeadProcessesLeftIsRemovedAndNothingElse) {
  for (const char* name : {".model.bin.tmp-1-0", ".model.bin.tmp-77-12"}) {
    std::ofstream(directory_.Join(name)) << "left";
  }
  fs::create_directories(directory_.Join(".model.bin.tmp-2-0/deep"));
  std::ofstream(directory_.Join(".model.bin.tmp-2-0/deep/x")) << "left";
  const std::vector<std::string> others = {".model.bin.tmp-1-", ".model.bin.tmp-1-0-2",
                                           ".tmp-1-0",          ".other.bin.tmp-1-0",
                                           "model.bin.tmp-1-0", "model.bin"};
  for (const std::string& name : others) std::ofstream(directory_.Join(name)) << "not left";
  auto living = StagedFile::Create(directory_.Join("model.bin"));
  auto living_directory = StagedDirectory::Create(directory_.Join("model.bin.d"));
  MUSTER_ASSERT_OK(living);
  MUSTER_ASSERT_OK(living_directory);
  MUSTER_ASSERT_OK(living->Write(0, "living"));
  const std::string staging = living_directory->staging_path();

  RemoveAbandoned(directory_.path(), [](absl::string_view name) {
    return name == "model.bin" || name == "model.bin.d";
  });

  for (const char* name : {".model.bin.tmp-1-0", ".model.bin.tmp-77-12", ".model.bin.tmp-2-0"}) {
    EXPECT_FALSE(fs::exists(directory_.Join(name))) << name;
  }
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(directory_.Join(name))) << name;
  EXPECT_TRUE(fs::is_directory(staging));
  MUSTER_EXPECT_OK(living->Commit());
  MUSTER_EXPECT_OK(living_directory->Commit());
  EXPECT_EQ(fs::file_size(directory_.Join("model.bin")), 6u);
}

TEST_F(StagedFileTest, LeftoversOfAnAbsentDirectoryAreNone) {
  RemoveAbandoned(directory_.Join("absent"), [](absl::string_view) { return true; });
}

}  // namespace
}  // namespace muster
