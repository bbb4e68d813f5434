#include "storage/files/directories.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

namespace fs = std::filesystem;

class DirectoriesTest : public testing::Test {
 protected:
  mode_t ModeOf(const std::string& name) {
    struct stat info = {};
    EXPECT_EQ(stat(directory_.Join(name).c_str(), &info), 0) << name;
    return info.st_mode & 0777;
  }

  TemporaryDirectory directory_;
};

TEST_F(DirectoriesTest, MissingParentsAreMadeWithTheirModes) {
  const absl::StatusOr<UniqueFd> made =
      MakeDirectories(directory_.Join("a/b/c//"), "c", {.mode = 0700, .parent_mode = 0750});

  MUSTER_ASSERT_OK(made);
  struct stat opened = {};
  struct stat by_path = {};
  ASSERT_EQ(fstat(made->get(), &opened), 0);
  ASSERT_EQ(stat(directory_.Join("a/b/c").c_str(), &by_path), 0);
  EXPECT_EQ(opened.st_ino, by_path.st_ino);
  EXPECT_EQ(ModeOf("a"), 0750u);
  EXPECT_EQ(ModeOf("a/b"), 0750u);
  EXPECT_EQ(ModeOf("a/b/c"), 0700u);
}

TEST_F(DirectoriesTest, DirectoryThatIsThereStaysAsItIs) {
  MUSTER_ASSERT_OK(MakeDirectories(directory_.Join("a"), "a", {.mode = 0710}));
  fs::create_directory_symlink("a", directory_.Join("link"));

  MUSTER_EXPECT_OK(MakeDirectories(directory_.Join("a"), "a", {.mode = 0777}));
  MUSTER_EXPECT_OK(MakeDirectories(directory_.Join("link/b"), "b"));
  MUSTER_EXPECT_OK(MakeDirectories("/", "root"));
  MUSTER_EXPECT_OK(MakeDirectories(".", "here"));

  EXPECT_EQ(ModeOf("a"), 0710u);
  EXPECT_TRUE(fs::is_directory(directory_.Join("a/b")));
}

TEST_F(DirectoriesTest, OtherFilesInTheWayAreNamed) {
  std::ofstream(directory_.Join("file")) << "x";
  fs::create_symlink("nowhere", directory_.Join("dangling"));

  for (const char* path : {"file", "file/a", "file/a/b"}) {
    EXPECT_THAT(MakeDirectories(directory_.Join(path), "NAME"),
                StatusIs(StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr("NAME: "), HasSubstr("/file\" is not a directory"))))
        << path;
  }
  EXPECT_THAT(MakeDirectories(directory_.Join("dangling"), "NAME"),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("/dangling\"")));
  EXPECT_THAT(MakeDirectories("", "NAME"), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(MakeDirectories(directory_.Join(std::string(256, 'n')), "NAME"),
              StatusIs(StatusCode::kInvalidArgument));
}

TEST_F(DirectoriesTest, SeveralMakersOfOnePathAllGetIt) {
  std::vector<std::thread> threads;
  std::vector<absl::Status> made(8);
  for (absl::Status& status : made) {
    threads.emplace_back(
        [&] { status = MakeDirectories(directory_.Join("a/b/c/d/e"), "e").status(); });
  }
  for (std::thread& thread : threads) thread.join();

  for (const absl::Status& status : made) MUSTER_EXPECT_OK(status);
}

TEST_F(DirectoriesTest, EntryOfAnOpenDirectoryIsMadeAndNoLinkIsFollowed) {
  const absl::StatusOr<UniqueFd> parent = MakeDirectories(directory_.path(), "parent");
  MUSTER_ASSERT_OK(parent);
  fs::create_directory_symlink("/", directory_.Join("link"));

  MUSTER_EXPECT_OK(MakeDirectoryAt(parent->get(), "a", "/a", 0700));
  MUSTER_EXPECT_OK(MakeDirectoryAt(parent->get(), "a", "/a", 0755));
  EXPECT_EQ(ModeOf("a"), 0700u);
  EXPECT_THAT(MakeDirectoryAt(parent->get(), "link", "/link", 0755),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("/link")));
}

TEST_F(DirectoriesTest, EveryNameIsListedUntilTheFirstError) {
  std::ofstream(directory_.Join("file")) << "x";
  std::ofstream(directory_.Join(".hidden")) << "x";
  fs::create_directory(directory_.Join("dir"));
  const absl::StatusOr<UniqueFd> fd = MakeDirectories(directory_.path(), "d");
  MUSTER_ASSERT_OK(fd);
  // Twice, since a listing leaves the descriptor as it was.
  for (int i = 0; i < 2; ++i) {
    std::vector<std::string> names;
    MUSTER_ASSERT_OK(ForEachName(fd->get(), "d", [&names](const std::string& name) {
      names.push_back(name);
      return absl::OkStatus();
    }));
    EXPECT_THAT(names, UnorderedElementsAre("file", ".hidden", "dir"));
  }

  int calls = 0;
  EXPECT_THAT(ForEachName(fd->get(), "d",
                          [&calls](const std::string&) {
                            ++calls;
                            return absl::AbortedError("enough");
                          }),
              StatusIs(StatusCode::kAborted));
  EXPECT_EQ(calls, 1);
}

TEST_F(DirectoriesTest, OnlyADirectoryIsSyncedAsOne) {
  std::ofstream(directory_.Join("file")) << "x";

  MUSTER_EXPECT_OK(SyncDirectory(directory_.path()));
  EXPECT_THAT(SyncDirectory(directory_.Join("none")), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(SyncDirectory(directory_.Join("file")), StatusIs(StatusCode::kNotFound));
}

TEST_F(DirectoriesTest, ParentsOfPaths) {
  EXPECT_EQ(ParentOf("/a/b"), "/a");
  EXPECT_EQ(ParentOf("/a//b"), "/a");
  EXPECT_EQ(ParentOf("/a"), "/");
  EXPECT_EQ(ParentOf("/"), "/");
  EXPECT_EQ(ParentOf("a/b"), "a");
  EXPECT_EQ(ParentOf("a"), ".");
  EXPECT_EQ(WithoutTrailingSlashes("/a//"), "/a");
  EXPECT_EQ(WithoutTrailingSlashes("//"), "/");
}

}  // namespace
}  // namespace muster
