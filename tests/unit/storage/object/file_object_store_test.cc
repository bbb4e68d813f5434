#include "storage/object/file_object_store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace fs = std::filesystem;

class FileObjectStoreTest : public testing::Test {
 protected:
  std::vector<std::string> Keys(const std::string& prefix) {
    const auto listed = store_->List(prefix, {});
    if (!listed.ok()) return {listed.status().ToString()};
    std::vector<std::string> keys;
    for (const ObjectStore::ListedObject& object : *listed) keys.push_back(object.key);
    return keys;
  }

  absl::Status ReadOne(const std::string& key) {
    char byte = 0;
    return store_->Read(key, 0, absl::MakeSpan(&byte, 1), {});
  }

  void WriteFile(const std::string& key, const std::string& bytes) {
    fs::create_directories(fs::path(directory_.Join(key)).parent_path());
    std::ofstream(directory_.Join(key), std::ios::binary) << bytes;
  }

  // Everything but directories, hidden files too.
  int CountFiles() {
    int files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(directory_.path())) {
      if (!entry.is_directory()) ++files;
    }
    return files;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<ObjectStore> store_ = NewFileObjectStore(directory_.path());
};

TEST_F(FileObjectStoreTest, MessagesNameTheFileByItsUri) {
  EXPECT_THAT(store_->Stat("no such/file", {}),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr(absl::StrCat("file://", directory_.path(), "/no%20such/file"))));
}

TEST_F(FileObjectStoreTest, OtherThanRegularFilesAreNoObjects) {
  fs::create_directory(directory_.Join("dir"));
  ASSERT_EQ(mkfifo(directory_.Join("fifo").c_str(), 0666), 0);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = directory_.Join("socket");
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  path.copy(address.sun_path, path.size());
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  fs::create_symlink("/dev/null", directory_.Join("device"));

  const std::vector<std::pair<std::string, std::string>> kinds = {{"dir", "is a directory"},
                                                                  {"fifo", "is a FIFO"},
                                                                  {"socket", "is a socket"},
                                                                  {"device", "is a device"}};
  for (const auto& [key, text] : kinds) {
    const auto is_refused = StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(text));
    EXPECT_THAT(store_->Stat(key, {}), is_refused);
    EXPECT_THAT(ReadOne(key), is_refused);
  }
  for (const char* key : {"dir", "fifo", "socket"}) {
    EXPECT_THAT(store_->Delete(key), StatusIs(absl::StatusCode::kFailedPrecondition)) << key;
  }
  EXPECT_THAT(Keys(""), IsEmpty());
  close(fd);
}

TEST_F(FileObjectStoreTest, PutOverADirectoryIsRefusedAndLeavesNothing) {
  fs::create_directory(directory_.Join("dir"));

  EXPECT_THAT(store_->Put("dir", "x", {}), StatusIs(absl::StatusCode::kFailedPrecondition));

  EXPECT_EQ(CountFiles(), 0);
}

TEST_F(FileObjectStoreTest, PutBelowAFileIsRefused) {
  WriteFile("file", "x");

  EXPECT_THAT(store_->Put("file/k", "x", {}), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(store_->Put("file/dir/k", "x", {}), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(store_->Stat("file/k", {}), StatusIs(absl::StatusCode::kNotFound));
  MUSTER_EXPECT_OK(store_->Delete("file/k"));
}

TEST_F(FileObjectStoreTest, TooLongNameIsInvalid) {
  EXPECT_THAT(store_->Put(std::string(256, 'n'), "x", {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(CountFiles(), 0);
  MUSTER_EXPECT_OK(store_->Put(std::string(255, 'n'), "x", {}));
}

TEST_F(FileObjectStoreTest, LinksToFilesAreObjectsAndLinksToDirectoriesAreNotFollowed) {
  WriteFile("dir/file", "abc");
  fs::create_symlink(directory_.Join("dir/file"), directory_.Join("link"));
  fs::create_symlink(directory_.path(), directory_.Join("dir/loop"));
  fs::create_symlink("nowhere", directory_.Join("dangling"));

  EXPECT_THAT(Keys(""), ElementsAre("dir/file", "link"));
  EXPECT_EQ(store_->Stat("link", {})->size_bytes, 3);
  EXPECT_THAT(store_->Stat("dangling", {}), StatusIs(absl::StatusCode::kNotFound));
  MUSTER_EXPECT_OK(store_->Delete("link"));
  EXPECT_THAT(store_->Stat("dir/file", {}), IsOk());
}

TEST_F(FileObjectStoreTest, PutReplacesALinkAndNotWhatItLeadsTo) {
  WriteFile("target", "old");
  fs::create_symlink("target", directory_.Join("link"));

  MUSTER_ASSERT_OK(store_->Put("link", "changed", {}));

  EXPECT_EQ(store_->Stat("target", {})->size_bytes, 3);
  EXPECT_FALSE(fs::is_symlink(directory_.Join("link")));
}

TEST_F(FileObjectStoreTest, ChangeInPlaceChangesTheVersion) {
  WriteFile("k", "0123456789");
  const absl::StatusOr<ObjectInfo> before = store_->Stat("k", {});
  MUSTER_ASSERT_OK(before);
  // The same size and inode, but another time of change.
  const timespec times[2] = {{1, 0}, {1, 1}};
  ASSERT_EQ(utimensat(AT_FDCWD, directory_.Join("k").c_str(), times, 0), 0);

  char byte = 0;
  EXPECT_THAT(store_->Read("k", 0, absl::MakeSpan(&byte, 1), {before->version}),
              StatusIs(absl::StatusCode::kAborted));
}

TEST_F(FileObjectStoreTest, ShortenedFileIsOutOfRangeWithBothSizes) {
  WriteFile("k", "0123456789");
  fs::resize_file(directory_.Join("k"), 4);
  std::string bytes(10, '?');

  EXPECT_THAT(store_->Read("k", 0, absl::MakeSpan(bytes.data(), bytes.size()), {}),
              StatusIs(absl::StatusCode::kOutOfRange, AllOf(HasSubstr("10"), HasSubstr("4"))));
}

TEST_F(FileObjectStoreTest, UnfinishedWritesAreNoObjects) {
  WriteFile(".muster-tmp-left-by-a-crash", "x");
  WriteFile("dir/.muster-tmp-another", "x");
  WriteFile("dir/.hidden", "x");

  EXPECT_THAT(Keys(""), ElementsAre("dir/.hidden"));
  EXPECT_THAT(store_->Put("dir/.muster-tmp-mine", "x", {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store_->Stat(".muster-tmp-left-by-a-crash", {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(FileObjectStoreTest, ObjectsTakeTheModeOfTheUmask) {
  const mode_t old_mask = umask(0027);
  MUSTER_EXPECT_OK(store_->Put("k", "x", {}));
  umask(old_mask);

  struct stat info = {};
  ASSERT_EQ(stat(directory_.Join("k").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST_F(FileObjectStoreTest, DeepDirectoriesEndTheListing) {
  std::string deep;
  for (int i = 0; i < 70; ++i) deep += "d/";
  WriteFile(deep + "k", "x");

  EXPECT_THAT(store_->List("", {}), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Keys(deep), ElementsAre(deep + "k"));
}

// No file mode stops root, so root becomes somebody else for the calls.
TEST_F(FileObjectStoreTest, MissingRightsArePermissionDenied) {
  constexpr uid_t kNobody = 65534;
  const uid_t self = geteuid();
  WriteFile("closed/k", "x");
  WriteFile("secret", "x");
  fs::permissions(directory_.Join("closed"), fs::perms(0500));
  fs::permissions(directory_.Join("secret"), fs::perms(0));
  fs::permissions(directory_.path(), fs::perms(0555));
  if (self == 0) {
    fs::permissions(directory_.Join("closed"), fs::perms(0555));
    ASSERT_EQ(seteuid(kNobody), 0);
  }

  const absl::Status read = ReadOne("secret");
  const absl::Status put = store_->Put("k", "x", {}).status();
  const absl::Status put_deep = store_->Put("made/k", "x", {}).status();
  const absl::Status removed = store_->Delete("closed/k");
  ASSERT_EQ(seteuid(self), 0);
  fs::permissions(directory_.path(), fs::perms(0755));
  fs::permissions(directory_.Join("closed"), fs::perms(0755));

  for (const absl::Status& status : {read, put, put_deep, removed}) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("file:///")));
  }
  EXPECT_EQ(CountFiles(), 2);
}

// Method: a limit on file sizes stands in for a full disk.
TEST_F(FileObjectStoreTest, NoSpaceIsResourceExhaustedAndLeavesNothing) {
  signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit limit = {1 << 20, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);

  const absl::Status put = store_->Put("big", std::string((1 << 20) + 1, 'x'), {}).status();
  const absl::Status created = store_->Create("big", {.size_bytes = 2 << 20}).status();
  const absl::Status fits = store_->Put("fits", std::string(1 << 20, 'x'), {}).status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);

  EXPECT_THAT(put, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("/big")));
  EXPECT_THAT(created, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("/big")));
  MUSTER_EXPECT_OK(fits);
  EXPECT_EQ(CountFiles(), 1);
}

TEST_F(FileObjectStoreTest, FullDiskIsResourceExhaustedAndLeavesNothing) {
  const std::string small = directory_.Join("small");
  fs::create_directory(small);
  if (mount("none", small.c_str(), "tmpfs", 0, "size=2m") != 0) {
    GTEST_SKIP() << "a small file system can't be mounted here";
  }
  const auto writer = store_->Create("small/first", {.size_bytes = 1 << 20});
  EXPECT_THAT(writer, IsOk());

  const absl::Status created = store_->Create("small/second", {.size_bytes = 4 << 20}).status();
  const absl::Status put = store_->Put("small/third", std::string(4 << 20, 'x'), {}).status();
  const int left = CountFiles();
  umount2(small.c_str(), MNT_DETACH);

  EXPECT_THAT(created, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("small/second")));
  EXPECT_THAT(put, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("small/third")));
  EXPECT_EQ(left, 1) << "only the writer that fits has a file";
}

}  // namespace
}  // namespace muster
