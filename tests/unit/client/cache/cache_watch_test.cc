// Programs that write to the files of entries, as they can through a view's hard links, and who notices.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cache/cache_scrub.h"
#include "client/cache/shard_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

// The file, mapped for writing; what it was opened as is closed.
class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    memory_ = mmap(nullptr, kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    EXPECT_NE(memory_, MAP_FAILED) << path;
  }
  ~Mapping() { munmap(memory_, kMiB); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  char& at(size_t offset) { return static_cast<char*>(memory_)[offset]; }

 private:
  void* memory_ = nullptr;
};

class CacheWatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Fill();
    ASSERT_EQ(chmod(EntryPath().c_str(), 0644), 0);
    MUSTER_ASSERT_OK(cache_->Lookup(shard_, {}));
    MUSTER_ASSERT_OK(cache_->SetPin({"assemblies/a/nodes/n", {shard_.ContentKey()}}, {}));
  }

  void Fill() {
    auto acquired = cache_->Acquire(shard_, {});
    MUSTER_ASSERT_OK(acquired);
    ASSERT_NE(acquired->part, nullptr);
    MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
    MUSTER_ASSERT_OK(acquired->part->Commit());
  }

  std::string EntryPath() const {
    return absl::StrCat(dir_.path(), "/c/default/", shard_.ContentKey());
  }

  void Write(const std::string& bytes) {
    const UniqueFd fd(open(EntryPath().c_str(), O_WRONLY | O_CLOEXEC));
    MUSTER_ASSERT_OK(WriteAt(fd.get(), EntryPath(), 5, bytes));
  }

  absl::Status Confirm() { return cache_->Confirm(shard_.ContentKey(), {}); }

  void Look() {
    watch_.Look([this](const std::string& key,
                       const absl::Status& why) { gone_.emplace_back(key, why.code()); },
                {});
  }

  const TempDir dir_;
  const std::unique_ptr<ShardCache> cache_ = *ShardCache::Open(dir_.path() + "/c", {});
  const std::string bytes_ = TestBytes(3 * kMiB, 1);
  const CheckedShard shard_ = *CheckedShard::Make(ShardWithPieces(bytes_, {}));
  CacheWatch watch_{*cache_};
  std::vector<std::pair<std::string, absl::StatusCode>> gone_;
};

// A store through a mapping that was stored to before moves no time of the file: it is not recorded as
// verified while it is mapped, so that there is no such store behind the record's back.
TEST_F(CacheWatchTest, EntryThatIsMappedForWritingIsNeverGivenOut) {
  Mapping mapping(EntryPath());
  char& byte = mapping.at(3);
  // The same byte: what is there is right, for now.
  const char right = byte;
  byte = right;

  EXPECT_THAT(cache_->Lookup(shard_, {}),
              ErrorIs(absl::StatusCode::kDataLoss, "CACHE_ENTRY_WRITABLE"));
  EXPECT_THAT(cache_->Inventory(10), IsEmpty());

  // The next entry is another file.
  Fill();
  byte ^= 1;
  const auto entry = cache_->Lookup(shard_, {});
  MUSTER_ASSERT_OK(entry);
  EXPECT_EQ(ContentOf(entry->path()), bytes_);
}

TEST_F(CacheWatchTest, UnchangedEntryIsConfirmedAndKeepsItsLastUse) {
  const absl::Time last_use = cache_->List()->front().last_use;

  MUSTER_EXPECT_OK(Confirm());

  EXPECT_EQ(cache_->List()->front().last_use, last_use);
}

TEST_F(CacheWatchTest, ChangedEntryIsRemovedAndOneThatWasOnlyTouchedIsRecorded) {
  Write(bytes_.substr(5, 10));
  EXPECT_THAT(cache_->Inventory(10), IsEmpty());
  MUSTER_EXPECT_OK(Confirm());
  EXPECT_THAT(cache_->Inventory(10), SizeIs(1));

  Write("0123456789");

  EXPECT_THAT(Confirm(), ErrorIs(absl::StatusCode::kDataLoss, "CACHE_ENTRY_CORRUPT"));
  EXPECT_THAT(Confirm(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(CacheWatchTest, LinkOfAnEntryThatIsMappedForWritingIsNotRecorded) {
  std::optional<Mapping> mapping(EntryPath());
  MUSTER_ASSERT_OK(cache_->Alter(shard_.ContentKey(),
                                 [](const LockedEntry& entry) {
                                   return fchmod(entry.fd, 0600) == 0
                                              ? absl::OkStatus()
                                              : absl::InternalError("fchmod");
                                 },
                                 {}));
  mapping->at(3) ^= 1;
  mapping.reset();

  EXPECT_THAT(cache_->Inventory(10), IsEmpty());
  EXPECT_THAT(Confirm(), ErrorIs(absl::StatusCode::kDataLoss, "CACHE_ENTRY_CORRUPT"));
}

TEST_F(CacheWatchTest, LookTellsOfWhatWasChangedOrRemovedOnce) {
  Look();
  EXPECT_THAT(gone_, IsEmpty());

  Write("0123456789");
  Look();
  Look();
  EXPECT_THAT(gone_, ElementsAre(Pair(shard_.ContentKey(), absl::StatusCode::kDataLoss)));

  Fill();
  Look();
  std::filesystem::remove(EntryPath());
  Look();
  Look();
  EXPECT_THAT(gone_, ElementsAre(Pair(shard_.ContentKey(), absl::StatusCode::kDataLoss),
                                 Pair(shard_.ContentKey(), absl::StatusCode::kNotFound)));
}

TEST_F(CacheWatchTest, LookTellsOfAMapping) {
  const Mapping mapping(EntryPath());

  Look();

  EXPECT_THAT(gone_, ElementsAre(Pair(shard_.ContentKey(), absl::StatusCode::kDataLoss)));
}

// Those that are not pinned are no business of the agent's, and others are fetched for the first time.
TEST_F(CacheWatchTest, LookPassesOverWhatIsNotPinnedOrWasNeverThere) {
  MUSTER_ASSERT_OK(cache_->SetPin(
      {"assemblies/a/nodes/n", {absl::StrCat("md5-", std::string(32, 'a'), "-9")}}, {}));
  Write("0123456789");

  Look();
  Look();

  EXPECT_THAT(gone_, IsEmpty());
}

}  // namespace
}  // namespace muster
