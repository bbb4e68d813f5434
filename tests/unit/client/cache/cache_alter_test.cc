// Further names and other modes of entries.
#include "client/cache/cache_alter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/cache/shard_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class CacheAlterTest : public ::testing::Test {
 protected:
  CacheAlterTest() {
    auto acquired = cache_->Acquire(shard_, {});
    MUSTER_EXPECT_OK(acquired);
    MUSTER_EXPECT_OK(acquired->part->Write(0, bytes_));
    MUSTER_EXPECT_OK(acquired->part->Commit());
  }

  std::string EntryPath() const {
    return absl::StrCat(dir_.path(), "/c/default/", shard_.ContentKey());
  }
  std::string LinkPath() const { return dir_.path() + "/link"; }

  absl::Status Link() {
    return cache_->Alter(shard_.ContentKey(),
                         [this](const LockedEntry& entry) {
                           verified_ = entry.verified;
                           return link(entry.path.c_str(), LinkPath().c_str()) == 0
                                      ? absl::OkStatus()
                                      : PathError(errno, "link", entry.path);
                         },
                         {});
  }

  // What counts as verified without being hashed.
  std::vector<Md5Digest> Verified() { return cache_->Inventory(10); }

  const TempDir dir_;
  const std::unique_ptr<ShardCache> cache_ = *ShardCache::Open(dir_.path() + "/c", {});
  const std::string bytes_ = TestBytes(3 * kMiB, 1);
  const CheckedShard shard_ = *CheckedShard::Make(ShardWithPieces(bytes_, {"fake://a/b"}));
  bool verified_ = false;
};

TEST_F(CacheAlterTest, LinkedAndUnlinkedEntryStaysVerified) {
  MUSTER_ASSERT_OK(Link());
  EXPECT_TRUE(verified_);
  EXPECT_EQ(std::filesystem::hard_link_count(EntryPath()), 2u);
  EXPECT_THAT(Verified(), SizeIs(1));

  MUSTER_ASSERT_OK(cache_->Alter(shard_.ContentKey(),
                                 [this](const LockedEntry&) {
                                   std::filesystem::remove(LinkPath());
                                   return absl::OkStatus();
                                 },
                                 {}));

  EXPECT_THAT(Verified(), SizeIs(1));
}

TEST_F(CacheAlterTest, LinkBehindTheCachesBackIsHashedAgain) {
  std::filesystem::create_hard_link(EntryPath(), LinkPath());

  EXPECT_THAT(Verified(), IsEmpty());
  MUSTER_EXPECT_OK(cache_->Lookup(shard_, {}));
  EXPECT_THAT(Verified(), SizeIs(1));
}

TEST_F(CacheAlterTest, EntryWithAnotherModeStaysVerified) {
  MUSTER_ASSERT_OK(cache_->Alter(shard_.ContentKey(),
                                 [](const LockedEntry& entry) {
                                   return fchmod(entry.fd, 0440) == 0
                                              ? absl::OkStatus()
                                              : absl::InternalError("fchmod");
                                 },
                                 {}));

  EXPECT_THAT(Verified(), SizeIs(1));
}

TEST_F(CacheAlterTest, EntryOfAnotherModeIsWrittenSo) {
  const auto cache = ShardCache::Open(dir_.path() + "/other", {.entry_mode = 0440});
  MUSTER_ASSERT_OK(cache);
  auto acquired = (*cache)->Acquire(shard_, {});
  MUSTER_ASSERT_OK(acquired);
  MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
  const auto entry = acquired->part->Commit();
  MUSTER_ASSERT_OK(entry);

  struct stat state {};
  ASSERT_EQ(fstat(entry->fd(), &state), 0);
  EXPECT_EQ(state.st_mode & 07777, 0440u);
  EXPECT_THAT((*cache)->Inventory(10), SizeIs(1));
}

TEST_F(CacheAlterTest, BytesThatChangeMeanwhileAreNotRecorded) {
  ASSERT_EQ(chmod(EntryPath().c_str(), 0600), 0);
  MUSTER_ASSERT_OK(cache_->Lookup(shard_, {}));
  ASSERT_THAT(Verified(), SizeIs(1));

  MUSTER_ASSERT_OK(cache_->Alter(shard_.ContentKey(),
                                 [](const LockedEntry& entry) {
                                   const UniqueFd fd(open(entry.path.c_str(), O_WRONLY));
                                   return WriteAt(fd.get(), entry.path, 5, "x");
                                 },
                                 {}));

  EXPECT_THAT(Verified(), IsEmpty());
  EXPECT_THAT(cache_->Lookup(shard_, {}), StatusIs(absl::StatusCode::kDataLoss));
}

// Between the change and the new record, while that waits for a tick of the clock.
TEST_F(CacheAlterTest, BytesThatChangeBeforeTheNewRecordAreNotRecorded) {
  const std::string record = EntryPath() + ".record";
  for (int round = 0; round < 10; ++round) {
    std::atomic<bool> linked = false;
    std::thread other([&] {
      // Settling wipes the record.
      AwaitOrFail("the record to be wiped", [&] { return linked || ContentOf(record).size() < 2; });
      struct stat state {};
      ASSERT_EQ(stat(EntryPath().c_str(), &state), 0);
      const UniqueFd fd(open(EntryPath().c_str(), O_WRONLY));
      MUSTER_ASSERT_OK(WriteAt(fd.get(), EntryPath(), 5, "altered"));
      const timespec times[2] = {state.st_atim, state.st_mtim};
      ASSERT_EQ(futimens(fd.get(), times), 0);
    });
    MUSTER_EXPECT_OK(Link());
    linked = true;
    other.join();

    EXPECT_THAT(Verified(), IsEmpty());
    EXPECT_THAT(cache_->Lookup(shard_, {}), StatusIs(absl::StatusCode::kDataLoss));
    std::filesystem::remove(LinkPath());
    auto acquired = cache_->Acquire(shard_, {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
    MUSTER_ASSERT_OK(acquired->part->Commit());
  }
}

TEST_F(CacheAlterTest, EntryThatDidNotCountAsVerifiedStaysSo) {
  ASSERT_EQ(chmod(EntryPath().c_str(), 0600), 0);

  MUSTER_ASSERT_OK(Link());

  EXPECT_FALSE(verified_);
  EXPECT_THAT(Verified(), IsEmpty());
}

TEST_F(CacheAlterTest, ErrorIsReturnedAndTheEntryStaysVerified) {
  MUSTER_ASSERT_OK(Link());

  EXPECT_THAT(Link(), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("can't link")));

  EXPECT_THAT(Verified(), SizeIs(1));
}

TEST_F(CacheAlterTest, AbsentEntryIsNotFound) {
  std::filesystem::remove(EntryPath());

  EXPECT_THAT(Link(), StatusIs(absl::StatusCode::kNotFound));
}

TEST(CopyBytesTest, RangeIsCopiedToItsPlace) {
  const TempDir dir;
  const std::string from_path = dir.path() + "/from";
  const std::string to_path = dir.path() + "/to";
  const UniqueFd from(open(from_path.c_str(), O_RDWR | O_CREAT, 0600));
  const UniqueFd to(open(to_path.c_str(), O_RDWR | O_CREAT, 0600));
  const std::string bytes = TestBytes(5'000'000, 3);
  MUSTER_ASSERT_OK(WriteAt(from.get(), from_path, 0, bytes));

  MUSTER_ASSERT_OK(
      CopyBytes({from.get(), from_path, 1'000}, {to.get(), to_path, 77}, 4'000'000, {}));

  std::string found(4'000'000, '\0');
  MUSTER_ASSERT_OK(ReadAt(to.get(), to_path, 77, absl::MakeSpan(found)));
  EXPECT_EQ(found, bytes.substr(1'000, 4'000'000));
  EXPECT_THAT(CopyBytes({from.get(), from_path, 4'999'999}, {to.get(), to_path, 0}, 2, {}),
              StatusIs(absl::StatusCode::kOutOfRange));
}

}  // namespace
}  // namespace muster
