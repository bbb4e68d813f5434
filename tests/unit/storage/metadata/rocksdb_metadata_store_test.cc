#include "storage/metadata/rocksdb_metadata_store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;

namespace fs = std::filesystem;

MetadataBatch PutOf(const std::string& key, const std::string& value) {
  MetadataBatch batch;
  batch.operations.push_back(MetadataBatch::Put{key, value});
  return batch;
}

class RocksdbMetadataStoreTest : public testing::Test {
 protected:
  std::unique_ptr<MetadataStore> Open() {
    absl::StatusOr<std::unique_ptr<MetadataStore>> store = NewRocksdbMetadataStore(path_);
    EXPECT_THAT(store, IsOk());
    return *std::move(store);
  }

  absl::Status OpenStatus() { return NewRocksdbMetadataStore(path_).status(); }

  // The write-ahead log that holds the newest rows.
  fs::path NewestLog() {
    fs::path newest;
    for (const fs::directory_entry& entry : fs::directory_iterator(path_)) {
      if (entry.path().extension() == ".log" && entry.path() > newest) newest = entry.path();
    }
    return newest;
  }

  // What the directory would hold if the process died at this moment: a copy of its files.
  std::string CopyAsAfterCrash(const std::string& name) {
    const std::string copy = directory_.Join(name);
    fs::copy(path_, copy, fs::copy_options::recursive);
    return copy;
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.Join("data");
};

TEST_F(RocksdbMetadataStoreTest, DirectoryIsMadePrivate) {
  path_ = directory_.Join("made/too/data/");

  ASSERT_NE(Open(), nullptr);

  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(RocksdbMetadataStoreTest, ReopeningSeesRowsThatLeftTheLog) {
  {
    const auto store = Open();
    // More than two write buffers of 16 MiB, so that tables are written too.
    for (int i = 0; i < 160; ++i) {
      MUSTER_ASSERT_OK(
          store->Commit(PutOf(absl::StrCat("k", i), std::string(256 << 10, 'a' + i % 7))));
    }
  }
  const auto store = Open();
  for (int i = 0; i < 160; ++i) {
    EXPECT_THAT(store->Get(absl::StrCat("k", i)),
                IsOkAndHolds(std::string(256 << 10, 'a' + i % 7)));
  }
}

TEST_F(RocksdbMetadataStoreTest, AcknowledgedRowsAreThereAfterACrash) {
  const auto store = Open();
  MUSTER_ASSERT_OK(store->Commit(PutOf("a", "1")));
  MUSTER_ASSERT_OK(store->Commit(PutOf("b", "2")));

  path_ = CopyAsAfterCrash("crashed");

  const auto reopened = Open();
  EXPECT_THAT(reopened->Get("a"), IsOkAndHolds("1"));
  EXPECT_THAT(reopened->Get("b"), IsOkAndHolds("2"));
}

TEST_F(RocksdbMetadataStoreTest, TornEndOfTheLogDropsOnlyTheTornBatch) {
  const auto store = Open();
  MUSTER_ASSERT_OK(store->Commit(PutOf("a", "1")));
  const std::string before = CopyAsAfterCrash("before");
  MUSTER_ASSERT_OK(store->Commit(PutOf("torn", std::string(1000, 't'))));
  path_ = CopyAsAfterCrash("crashed");
  // The crash came before the sync returned, so this batch was never witnessed.
  fs::copy_file(before + "/WITNESS", path_ + "/WITNESS", fs::copy_options::overwrite_existing);
  fs::resize_file(NewestLog(), fs::file_size(NewestLog()) - 500);

  const auto reopened = Open();

  EXPECT_THAT(reopened->Get("a"), IsOkAndHolds("1"));
  EXPECT_THAT(reopened->Get("torn"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RocksdbMetadataStoreTest, DamagedLogIsDataLossNotASilentRollback) {
  const auto store = Open();
  MUSTER_ASSERT_OK(store->Commit(PutOf("a", std::string(1000, 'a'))));
  MUSTER_ASSERT_OK(store->Commit(PutOf("b", "2")));
  path_ = CopyAsAfterCrash("crashed");
  std::fstream log(NewestLog(), std::ios::in | std::ios::out | std::ios::binary);
  log.seekp(500);
  log.put('!');
  log.close();

  EXPECT_THAT(OpenStatus(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(path_)));
}

TEST_F(RocksdbMetadataStoreTest, LostStateFileIsDataLossNotAnEmptyStore) {
  {
    const auto store = Open();
    MUSTER_ASSERT_OK(store->Commit(PutOf("a", "1")));
  }
  fs::remove(path_ + "/CURRENT");

  EXPECT_THAT(OpenStatus(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("CURRENT")));
}

TEST_F(RocksdbMetadataStoreTest, DamagedTableIsDataLossWhenItIsRead) {
  {
    const auto store = Open();
    for (int i = 0; i < 100; ++i) {
      MUSTER_ASSERT_OK(store->Commit(PutOf(absl::StrCat("k", i), std::string(256 << 10, 'v'))));
    }
  }
  Open();  // Turns the rest of the log into a table.
  for (const fs::directory_entry& entry : fs::directory_iterator(path_)) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream table(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    table.seekp(20);
    table << "damage";
  }

  const absl::StatusOr<std::unique_ptr<MetadataStore>> store = NewRocksdbMetadataStore(path_);

  const absl::Status status = store.ok() ? (*store)->Scan("k", "l", 1000).status() : store.status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr(path_)));
}

TEST_F(RocksdbMetadataStoreTest, SecondOpenInThisProcessIsRefused) {
  const auto store = Open();

  EXPECT_THAT(OpenStatus(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                     HasSubstr("is in use by this process")));
  MUSTER_EXPECT_OK(store->Commit(PutOf("a", "1")));
}

// Method: a child holds the lock file as another server would.
TEST_F(RocksdbMetadataStoreTest, DirectoryOfAnotherProcessIsRefused) {
  Open();
  const std::string lock_path = path_ + "/LOCK";
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const int fd = open(lock_path.c_str(), O_RDWR);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    if (fd < 0 || fcntl(fd, F_SETLK, &lock) != 0 || write(ready[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);

  EXPECT_THAT(OpenStatus(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(path_), HasSubstr("is in use by another process"))));

  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  EXPECT_NE(Open(), nullptr);
}

TEST_F(RocksdbMetadataStoreTest, FileInPlaceOfTheDirectoryIsRefused) {
  std::ofstream(path_) << "a file";

  EXPECT_THAT(OpenStatus(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("not a directory")));
  path_ += "/below";
  EXPECT_THAT(OpenStatus(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RocksdbMetadataStoreTest, BadPathIsInvalid) {
  path_ = "";
  EXPECT_THAT(OpenStatus(), StatusIs(absl::StatusCode::kInvalidArgument));
  path_ = std::string("a\0b", 3);
  EXPECT_THAT(OpenStatus(), StatusIs(absl::StatusCode::kInvalidArgument));
  path_ = directory_.Join(std::string(300, 'n'));
  EXPECT_THAT(OpenStatus(), StatusIs(absl::StatusCode::kInvalidArgument));
}

// No file mode stops root, so root becomes somebody else for the call.
TEST_F(RocksdbMetadataStoreTest, DirectoryWithoutRightsIsPermissionDenied) {
  constexpr uid_t kNobody = 65534;
  const uid_t self = geteuid();
  ASSERT_EQ(mkdir(path_.c_str(), 0555), 0);
  fs::permissions(directory_.path(), fs::perms(0555));
  if (self == 0) {
    ASSERT_EQ(seteuid(kNobody), 0);
  }

  const absl::Status existing = OpenStatus();
  path_ += "-absent";
  const absl::Status absent = OpenStatus();
  ASSERT_EQ(seteuid(self), 0);
  fs::permissions(directory_.path(), fs::perms(0755));

  EXPECT_THAT(existing, StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("data\"")));
  EXPECT_THAT(absent, StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("data-absent\"")));
}

TEST_F(RocksdbMetadataStoreTest, FreeBytesAreThoseOfTheFileSystem) {
  const absl::StatusOr<std::optional<int64_t>> free = Open()->FreeBytes();

  MUSTER_ASSERT_OK(free);
  ASSERT_TRUE(free->has_value());
  EXPECT_GE(**free, 0);
  EXPECT_LE(**free, static_cast<int64_t>(fs::space(path_).capacity));
}

// Method: a limit on file sizes stands in for a disk that fails, because nothing else can be
// provoked without being root. The limit is lifted again before the store is asked once more.
TEST_F(RocksdbMetadataStoreTest, FailedWriteRefusesEveryLaterOneUntilReopened) {
  auto store = Open();
  MUSTER_ASSERT_OK(store->Commit(PutOf("before", "1")));
  signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit limit = {64 << 10, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);

  const absl::Status failed = store->Commit(PutOf("failed", std::string(256 << 10, 'f')));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);

  EXPECT_FALSE(failed.ok());
  EXPECT_FALSE(absl::IsAborted(failed) || absl::IsInvalidArgument(failed)) << failed;
  EXPECT_EQ(store->Commit(PutOf("after", "1")), failed);
  store.reset();
  store = Open();
  EXPECT_THAT(store->Get("before"), IsOkAndHolds("1"));
  EXPECT_THAT(store->Get("after"), StatusIs(absl::StatusCode::kNotFound));
  MUSTER_EXPECT_OK(store->Commit(PutOf("after", "1")));
}

}  // namespace
}  // namespace muster
