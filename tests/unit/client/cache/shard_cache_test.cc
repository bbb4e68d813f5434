// The cache on real files: what counts as verified, who may write, and which directories it takes.
#include "client/cache/shard_cache.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ShardCacheTest : public ::testing::Test {
 protected:
  std::unique_ptr<ShardCache> OpenCache() {
    auto cache = ShardCache::Open(root(), {});
    EXPECT_THAT(cache, IsOk());
    return *std::move(cache);
  }

  std::string root() const { return dir_.path() + "/cache"; }
  std::string domain() const { return root() + "/default"; }
  std::string EntryPath() const { return absl::StrCat(domain(), "/", shard_.ContentKey()); }

  void Fill(ShardCache& cache) {
    auto acquired = cache.Acquire(shard_, {});
    MUSTER_ASSERT_OK(acquired);
    ASSERT_NE(acquired->part, nullptr);
    MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
    MUSTER_ASSERT_OK(acquired->part->Commit());
  }

  // Changes a byte of the entry and gives it its old mtime back.
  void Rot(int64_t offset) {
    struct stat before {};
    ASSERT_EQ(stat(EntryPath().c_str(), &before), 0);
    ASSERT_EQ(chmod(EntryPath().c_str(), 0600), 0);
    const UniqueFd fd(open(EntryPath().c_str(), O_RDWR));
    char byte = 0;
    ASSERT_EQ(pread(fd.get(), &byte, 1, offset), 1);
    byte ^= 1;
    ASSERT_EQ(pwrite(fd.get(), &byte, 1, offset), 1);
    const timespec times[2] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(futimens(fd.get(), times), 0);
    ASSERT_EQ(fchmod(fd.get(), 0444), 0);
  }

  TempDir dir_;
  const std::string bytes_ = TestBytes(2 * kMiB + 100, 7);
  const CheckedShard shard_ = *CheckedShard::Make(ShardWithPieces(bytes_, {}));
};

TEST_F(ShardCacheTest, EmptyCacheHasNoEntry) {
  EXPECT_THAT(OpenCache()->Lookup(shard_, {}), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ShardCacheTest, CommittedShardIsFoundAndReadOnly) {
  Fill(*OpenCache());

  const auto entry = OpenCache()->Lookup(shard_, {});

  MUSTER_ASSERT_OK(entry);
  std::string found(bytes_.size(), '\0');
  MUSTER_ASSERT_OK(entry->Read(0, absl::MakeSpan(found)));
  EXPECT_TRUE(found == bytes_);
  EXPECT_EQ(entry->path(), EntryPath());
  struct stat state {};
  ASSERT_EQ(fstat(entry->fd(), &state), 0);
  EXPECT_EQ(state.st_mode & 07777, 0444u);
  EXPECT_EQ(fcntl(entry->fd(), F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST_F(ShardCacheTest, OnlyThePartFileIsThereBeforeCommit) {
  const auto cache = OpenCache();
  auto acquired = cache->Acquire(shard_, {});
  MUSTER_ASSERT_OK(acquired);
  MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));

  EXPECT_THAT(NamesIn(domain()),
              ElementsAre(shard_.ContentKey() + ".claims", shard_.ContentKey() + ".names",
                          shard_.ContentKey() + ".part", shard_.ContentKey() + ".pieces"));
  EXPECT_THAT(cache->Lookup(shard_, {}), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ShardCacheTest, PartWithoutAPieceIsRemoved) {
  const auto cache = OpenCache();
  MUSTER_ASSERT_OK(cache->Acquire(shard_, {}));

  EXPECT_THAT(NamesIn(domain()), IsEmpty());
}

TEST_F(ShardCacheTest, PartReservesItsFullSize) {
  auto acquired = OpenCache()->Acquire(shard_, {});
  MUSTER_ASSERT_OK(acquired);

  EXPECT_EQ(std::filesystem::file_size(EntryPath() + ".part"), bytes_.size());
}

TEST_F(ShardCacheTest, WriteOutsideTheShardIsRefused) {
  auto acquired = OpenCache()->Acquire(shard_, {});
  MUSTER_ASSERT_OK(acquired);

  EXPECT_THAT(acquired->part->Write(1, bytes_), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(acquired->part->Write(-1, "x"), StatusIs(absl::StatusCode::kInternal));
}

// Invariant 3 (docs/design.md).
TEST_F(ShardCacheTest, EntryAlteredOnDiskIsRemoved) {
  const auto cache = OpenCache();
  Fill(*cache);
  Rot(kMiB + 3);

  const auto found = cache->Lookup(shard_, {});

  EXPECT_THAT(found, ErrorIs(absl::StatusCode::kDataLoss, "CACHE_ENTRY_CORRUPT"));
  EXPECT_EQ(DetailOf(found.status()).metadata.at("expected_md5"), Md5ToHex(shard_.piece_digest(1)));
  EXPECT_THAT(NamesIn(domain()), IsEmpty());
}

// Another writer may begin once the entry is gone, and puts files of its own beside it.
TEST_F(ShardCacheTest, RemovalTakesNothingOfTheNextWriterAlong) {
  const auto cache = OpenCache();
  const std::string list = EntryPath() + ".pieces";
  for (int round = 0; round < 100; ++round) {
    Fill(*cache);
    Rot(0);
    std::thread next([&] {
      AwaitOrFail("the entry to be removed", [&] { return !std::filesystem::exists(EntryPath()); });
      std::ofstream(list) << "the next writer's";
    });
    EXPECT_THAT(cache->Lookup(shard_, {}), StatusIs(absl::StatusCode::kDataLoss));
    next.join();

    ASSERT_EQ(ContentOf(list), "the next writer's") << "round " << round;
  }
}

TEST_F(ShardCacheTest, EntryOfAnotherSizeIsRemoved) {
  const auto cache = OpenCache();
  Fill(*cache);
  std::filesystem::resize_file(EntryPath(), 5);

  EXPECT_THAT(cache->Lookup(shard_, {}), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(NamesIn(domain()), IsEmpty());
}

TEST_F(ShardCacheTest, TouchedEntryIsHashedAndRecordedAgain) {
  const auto cache = OpenCache();
  Fill(*cache);
  const std::string old_record = ContentOf(EntryPath() + ".record");
  ASSERT_EQ(chmod(EntryPath().c_str(), 0400), 0);

  MUSTER_EXPECT_OK(cache->Lookup(shard_, {}));

  EXPECT_NE(ContentOf(EntryPath() + ".record"), old_record);
}

TEST_F(ShardCacheTest, AbsentOrTornRecordMeansHashing) {
  const auto cache = OpenCache();
  Fill(*cache);
  const std::string record = ContentOf(EntryPath() + ".record");
  for (const std::string& text : {std::string(), record.substr(0, 30), record + "x"}) {
    std::ofstream(EntryPath() + ".record", std::ios::trunc) << text;
    MUSTER_EXPECT_OK(cache->Lookup(shard_, {}));
    EXPECT_EQ(ContentOf(EntryPath() + ".record"), record);
  }
  std::filesystem::remove(EntryPath() + ".record");
  MUSTER_EXPECT_OK(cache->Lookup(shard_, {}));
  EXPECT_EQ(ContentOf(EntryPath() + ".record"), record);
}

// As on a full disk, or after the clock was set back behind the entry's times.
TEST_F(ShardCacheTest, EntryThatCantBeRecordedIsHashedAndServed) {
  const auto cache = OpenCache();
  Fill(*cache);
  std::filesystem::remove(EntryPath() + ".record");
  std::filesystem::create_directory(EntryPath() + ".record");

  MUSTER_EXPECT_OK(cache->Lookup(shard_, {}));
  EXPECT_THAT(cache->Inventory(10), IsEmpty());

  Rot(5);
  EXPECT_THAT(cache->Lookup(shard_, {}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ShardCacheTest, RecordOfOtherBytesDoesNotVouch) {
  const auto cache = OpenCache();
  Fill(*cache);
  std::filesystem::remove(EntryPath());
  std::ofstream(EntryPath()) << std::string(bytes_.size(), 'x');

  EXPECT_THAT(cache->Lookup(shard_, {}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ShardCacheTest, BadEntryIsReplacedByAcquireAndReported) {
  const auto cache = OpenCache();
  Fill(*cache);
  Rot(0);

  auto acquired = cache->Acquire(shard_, {});

  MUSTER_ASSERT_OK(acquired);
  EXPECT_NE(acquired->part, nullptr);
  EXPECT_THAT(acquired->rotted, StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ShardCacheTest, OpenEntryOutlivesItsRemoval) {
  const auto cache = OpenCache();
  Fill(*cache);
  const auto entry = cache->Lookup(shard_, {});
  MUSTER_ASSERT_OK(entry);
  std::filesystem::remove(EntryPath());

  std::string found(10, '\0');
  MUSTER_EXPECT_OK(entry->Read(5, absl::MakeSpan(found)));
  EXPECT_EQ(found, bytes_.substr(5, 10));
}

TEST_F(ShardCacheTest, WholeMd5ShardIsHashedAsAWhole) {
  const CheckedShard whole = *CheckedShard::Make(ShardWithoutPieces(bytes_, {}));
  const auto cache = OpenCache();
  {
    auto acquired = cache->Acquire(whole, {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
    MUSTER_ASSERT_OK(acquired->part->Commit());
  }
  std::filesystem::remove(absl::StrCat(domain(), "/", whole.ContentKey(), ".record"));

  MUSTER_EXPECT_OK(cache->Lookup(whole, {}));
  EXPECT_THAT(cache->Lookup(shard_, {}), StatusIs(absl::StatusCode::kNotFound));
}

// Returns once this process has `path` open `count` times: the second writer then waits for the
// first.
void AwaitOpenFiles(const std::string& path, int count) {
  AwaitOrFail(absl::StrCat(path, " to be open ", count, " times"), [&] {
    int open = 0;
    for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code closed_meanwhile;
      if (std::filesystem::read_symlink(fd.path(), closed_meanwhile) == path) ++open;
    }
    return open >= count;
  });
}

TEST_F(ShardCacheTest, SecondWriterWaitsAndFindsTheEntry) {
  const auto cache = OpenCache();
  const auto other = OpenCache();
  auto first = cache->Acquire(shard_, {});
  MUSTER_ASSERT_OK(first);
  bool second_found = false;
  std::thread second([&] {
    auto acquired = other->Acquire(shard_, {});
    second_found = acquired.ok() && acquired->entry.has_value();
  });
  AwaitOpenFiles(EntryPath() + ".part", 2);

  EXPECT_THAT(first->part->Write(0, bytes_), IsOk());
  EXPECT_THAT(first->part->Commit(), IsOk());
  second.join();

  EXPECT_TRUE(second_found);
}

TEST_F(ShardCacheTest, SecondWriterTakesOverWhenTheFirstGivesUp) {
  const auto cache = OpenCache();
  const auto other = OpenCache();
  auto first = cache->Acquire(shard_, {});
  MUSTER_ASSERT_OK(first);
  std::thread second([&] { Fill(*other); });
  AwaitOpenFiles(EntryPath() + ".part", 2);

  first->part.reset();
  second.join();

  MUSTER_EXPECT_OK(cache->Lookup(shard_, {}));
}

TEST_F(ShardCacheTest, WaitingWriterCanBeCancelled) {
  const auto cache = OpenCache();
  auto first = cache->Acquire(shard_, {});
  MUSTER_ASSERT_OK(first);
  std::stop_source stop;
  absl::Status second_status;
  std::thread second(
      [&] { second_status = OpenCache()->Acquire(shard_, stop.get_token()).status(); });

  stop.request_stop();
  second.join();

  EXPECT_THAT(second_status, StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ShardCacheTest, LivePartSurvivesAnotherOpen) {
  auto first = OpenCache()->Acquire(shard_, {});
  MUSTER_ASSERT_OK(first);

  OpenCache();

  EXPECT_THAT(NamesIn(domain()),
              ElementsAre(shard_.ContentKey() + ".claims", shard_.ContentKey() + ".names",
                          shard_.ContentKey() + ".part", shard_.ContentKey() + ".pieces"));
}

// A process that dies runs no destructor; its part file stays. The cache was opened before.
class DeadWriterTest : public ShardCacheTest {
 protected:
  void SetUp() override {
    cache_ = OpenCache();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto acquired = cache_->Acquire(shard_, {});
      const bool written =
          acquired.ok() && acquired->part->Write(0, std::string(bytes_.size(), 'x')).ok();
      _exit(written ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    ASSERT_THAT(NamesIn(domain()),
                ElementsAre(shard_.ContentKey() + ".claims", shard_.ContentKey() + ".names",
                            shard_.ContentKey() + ".part", shard_.ContentKey() + ".pieces"));
  }

  std::unique_ptr<ShardCache> cache_;
};

TEST_F(DeadWriterTest, ClaimsOfWrongBytesAreNotTakenOver) {
  const auto acquired = cache_->Acquire(shard_, {});

  MUSTER_ASSERT_OK(acquired);
  EXPECT_THAT(acquired->part->Present(), ElementsAre(false, false, false));
}

TEST_F(DeadWriterTest, ReadOnlyPartDoesNotStopANewWriter) {
  ASSERT_EQ(chmod((EntryPath() + ".part").c_str(), 0444), 0);

  Fill(*cache_);

  MUSTER_EXPECT_OK(cache_->Lookup(shard_, {}));
  EXPECT_THAT(NamesIn(domain()), Not(Contains(HasSubstr(".part"))));
  EXPECT_THAT(NamesIn(domain()), Not(Contains(HasSubstr(".claims"))));
}

TEST_F(ShardCacheTest, OneOfSeveralProcessesWrites) {
  constexpr int kWrote = 10;
  constexpr int kFound = 11;
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    children.push_back(fork());
    ASSERT_GE(children.back(), 0);
    if (children.back() != 0) continue;
    auto cache = ShardCache::Open(root(), {});
    if (!cache.ok()) _exit(1);
    auto acquired = (*cache)->Acquire(shard_, {});
    if (!acquired.ok()) _exit(2);
    if (acquired->entry.has_value()) _exit(kFound);
    if (!acquired->part->Write(0, bytes_).ok()) _exit(3);
    _exit(acquired->part->Commit().ok() ? kWrote : 4);
  }

  std::vector<int> codes;
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    codes.push_back(WEXITSTATUS(status));
  }
  EXPECT_THAT(codes,
              ::testing::UnorderedElementsAre(kWrote, kFound, kFound, kFound, kFound, kFound));
}

TEST(ShardCacheOpenTest, DomainsDoNotShareEntries) {
  const TempDir dir;
  const std::string bytes = TestBytes(100, 1);
  const CheckedShard shard = *CheckedShard::Make(ShardWithoutPieces(bytes, {}));
  auto a = ShardCache::Open(dir.path() + "/c", {.domain = "a"});
  auto b = ShardCache::Open(dir.path() + "/c", {.domain = "b"});
  MUSTER_ASSERT_OK(a);
  MUSTER_ASSERT_OK(b);
  auto acquired = (*a)->Acquire(shard, {});
  MUSTER_ASSERT_OK(acquired);
  MUSTER_ASSERT_OK(acquired->part->Write(0, bytes));
  MUSTER_ASSERT_OK(acquired->part->Commit());

  MUSTER_EXPECT_OK((*a)->Lookup(shard, {}));
  EXPECT_THAT((*b)->Lookup(shard, {}), StatusIs(absl::StatusCode::kNotFound));
}

TEST(ShardCacheOpenTest, BadDomainIsRefused) {
  const TempDir dir;
  for (const char* domain : {"", "..", "a/b", ".hidden", "a b"}) {
    EXPECT_THAT(ShardCache::Open(dir.path() + "/c", {.domain = domain}),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << domain;
  }
}

TEST(ShardCacheOpenTest, FileInPlaceOfTheDirectoryIsRefused) {
  const TempDir dir;
  std::ofstream(dir.path() + "/file") << "x";

  EXPECT_THAT(ShardCache::Open(dir.path() + "/file", {}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("not a directory")));
}

TEST(ShardCacheOpenTest, DirectoryWithOtherContentIsRefusedAndUntouched) {
  const TempDir dir;
  std::ofstream(dir.path() + "/thesis.tex") << "x";

  EXPECT_THAT(ShardCache::Open(dir.path(), {}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("thesis.tex")));
  EXPECT_THAT(NamesIn(dir.path()), ElementsAre("thesis.tex"));
}

TEST(ShardCacheOpenTest, OtherMarkersAreRefused) {
  const TempDir dir;
  const std::string signature = "Signature: 8a477f597d28d172789f06886806bc55\n";
  for (const std::string& text : {signature + "# of a browser\n", std::string("x"), std::string(),
                                  signature + "# Muster shard cache, format 2\n"}) {
    std::ofstream(dir.path() + "/CACHEDIR.TAG", std::ios::trunc) << text;
    EXPECT_THAT(ShardCache::Open(dir.path(), {}), StatusIs(absl::StatusCode::kFailedPrecondition));
  }
}

TEST(ShardCacheOpenTest, HalfMadeMarkerIsMadeAgain) {
  const TempDir dir;
  std::ofstream(dir.path() + "/CACHEDIR.TAG.part") << "Signa";

  MUSTER_EXPECT_OK(ShardCache::Open(dir.path(), {}));
  EXPECT_THAT(NamesIn(dir.path()), ElementsAre("CACHEDIR.TAG", "default"));
}

TEST(ShardCacheOpenTest, UnwritableDirectoryIsRefused) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  const TempDir dir;
  ASSERT_EQ(chmod(dir.path().c_str(), 0500), 0);

  EXPECT_THAT(ShardCache::Open(dir.path() + "/c", {}),
              StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(ShardCache::Open(dir.path(), {}), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(ShardCacheTest, FileSizeLimitIsNoSpaceAndLeavesNothing) {
  const auto cache = OpenCache();
  signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit small = {.rlim_cur = kMiB, .rlim_max = old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);

  const auto acquired = cache->Acquire(shard_, {});

  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_THAT(acquired, StatusIs(absl::StatusCode::kResourceExhausted,
                                 ::testing::AllOf(HasSubstr(EntryPath()),
                                                  HasSubstr(absl::StrCat(bytes_.size(), " bytes")),
                                                  HasSubstr("are free"))));
  EXPECT_THAT(NamesIn(domain()), IsEmpty());
}

TEST(ShardCacheDiskTest, FullDiskIsNoSpaceAndLeavesNothing) {
  const TempDir dir;
  if (mount("tmpfs", dir.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "may not mount a small file system";
  }
  {
    auto cache = ShardCache::Open(dir.path(), {});
    MUSTER_EXPECT_OK(cache);
    const CheckedShard shard = *CheckedShard::Make(ShardWithoutPieces(TestBytes(2 * kMiB, 1), {}));
    EXPECT_THAT((*cache)->Acquire(shard, {}),
                StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("2.0 MiB are needed")));
    EXPECT_THAT(NamesIn(dir.path() + "/default"), IsEmpty());
  }
  EXPECT_EQ(umount(dir.path().c_str()), 0);
}

}  // namespace
}  // namespace muster
