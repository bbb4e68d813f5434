// Checks of entries as they are on the disk, by hand and in the background.
#include "client/cache/cache_scrub.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "client/cache/shard_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class CacheScrubTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const CheckedShard* shard : {&pieces_, &whole_}) {
      auto acquired = cache_->Acquire(*shard, {});
      MUSTER_ASSERT_OK(acquired);
      MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
      MUSTER_ASSERT_OK(acquired->part->Commit());
    }
  }

  std::string PathOf(const CheckedShard& shard, const std::string& suffix = "") const {
    return absl::StrCat(dir_.path(), "/c/default/", shard.ContentKey(), suffix);
  }

  void FlipByte(const CheckedShard& shard, int64_t offset) {
    ASSERT_EQ(chmod(PathOf(shard).c_str(), 0600), 0);
    const UniqueFd fd(open(PathOf(shard).c_str(), O_RDWR));
    char byte = 0;
    ASSERT_EQ(pread(fd.get(), &byte, 1, offset), 1);
    byte ^= 1;
    ASSERT_EQ(pwrite(fd.get(), &byte, 1, offset), 1);
  }

  absl::Status Check(const CheckedShard& shard) {
    return cache_->Check(shard.ContentKey(), {}, {});
  }

  void Scrub(int64_t bytes_per_second) {
    ScrubCache(*cache_, clock_,
               {.bytes_per_second = bytes_per_second,
                .warn = [this](const std::string& warning) { warnings_.push_back(warning); }},
               [this](const std::string& key, const absl::Status& why) {
                 gone_.emplace_back(key, why.code());
               },
               {});
  }

  TempDir dir_;
  FakeClock clock_;
  const std::string bytes_ = TestBytes(3 * kMiB + 5, 4);
  const CheckedShard pieces_ = *CheckedShard::Make(ShardWithPieces(bytes_, {}));
  const CheckedShard whole_ = *CheckedShard::Make(ShardWithoutPieces(bytes_, {}));
  std::unique_ptr<ShardCache> cache_ = *ShardCache::Open(dir_.path() + "/c", {});
  std::vector<std::pair<std::string, absl::StatusCode>> gone_;
  std::vector<std::string> warnings_;
};

TEST_F(CacheScrubTest, GoodEntriesPassAndKeepTheirLastUse) {
  const auto before = cache_->List();

  MUSTER_EXPECT_OK(Check(pieces_));
  MUSTER_EXPECT_OK(Check(whole_));

  const auto after = cache_->List();
  ASSERT_EQ(after->size(), 2u);
  EXPECT_EQ(after->front().last_use, before->front().last_use);
  MUSTER_EXPECT_OK(cache_->Lookup(pieces_, {}));
}

// How many pages of the file are in the page cache.
size_t ResidentPages(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY));
  struct stat state {};
  EXPECT_EQ(fstat(fd.get(), &state), 0);
  const auto size = static_cast<size_t>(state.st_size);
  void* const bytes = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  EXPECT_NE(bytes, MAP_FAILED);
  std::vector<unsigned char> pages((size + 4095) / 4096);
  EXPECT_EQ(mincore(bytes, size, pages.data()), 0);
  munmap(bytes, size);
  return static_cast<size_t>(std::count_if(pages.begin(), pages.end(),
                                           [](unsigned char page) { return (page & 1) != 0; }));
}

// An engine that reads the entries keeps its pages, and those of one that nobody reads don't push
// out others.
TEST_F(CacheScrubTest, CheckLeavesThePageCacheAsItWas) {
  const std::string path = PathOf(pieces_);
  const size_t warm = ResidentPages(path);

  MUSTER_ASSERT_OK(Check(pieces_));
  EXPECT_EQ(ResidentPages(path), warm);

  const UniqueFd fd(open(path.c_str(), O_RDONLY));
  ASSERT_EQ(posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  const size_t cold = ResidentPages(path);
  MUSTER_ASSERT_OK(Check(pieces_));
  EXPECT_EQ(ResidentPages(path), cold);
}

// Invariant 3 (docs/design.md).
TEST_F(CacheScrubTest, BadEntryIsRemovedThoughItsRecordVouches) {
  for (const CheckedShard* shard : {&pieces_, &whole_}) {
    FlipByte(*shard, 2 * kMiB + 1);

    EXPECT_THAT(Check(*shard), ErrorIs(absl::StatusCode::kDataLoss, "CACHE_ENTRY_CORRUPT"));

    EXPECT_THAT(Check(*shard), StatusIs(absl::StatusCode::kNotFound));
  }
  EXPECT_THAT(NamesIn(dir_.path() + "/c/default"), IsEmpty());
}

TEST_F(CacheScrubTest, EntryOfAnotherSizeIsRemoved) {
  ASSERT_EQ(chmod(PathOf(pieces_).c_str(), 0600), 0);
  std::filesystem::resize_file(PathOf(pieces_), 7);

  EXPECT_THAT(Check(pieces_), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(CacheScrubTest, EntryWithoutAUsablePieceListIsNotCheckedUntilItIsUsed) {
  FlipByte(pieces_, 0);
  std::fstream list(PathOf(pieces_, ".pieces"), std::ios::in | std::ios::out | std::ios::binary);
  list.seekp(20);
  list.put('\0').put('\0').put('\0');
  list.close();

  EXPECT_THAT(Check(pieces_), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_TRUE(std::filesystem::exists(PathOf(pieces_)));

  std::filesystem::remove(PathOf(pieces_, ".pieces"));
  EXPECT_THAT(cache_->Lookup(pieces_, {}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(CacheScrubTest, UseWritesAMissingPieceList) {
  std::filesystem::remove(PathOf(pieces_, ".pieces"));
  ASSERT_THAT(Check(pieces_), StatusIs(absl::StatusCode::kNotFound));

  MUSTER_ASSERT_OK(cache_->Lookup(pieces_, {}));

  MUSTER_EXPECT_OK(Check(pieces_));
}

// Also one of the right length.
TEST_F(CacheScrubTest, PassTellsOfEntriesThatItCantCheckAndUseMendsThem) {
  const std::string list = ContentOf(PathOf(pieces_, ".pieces"));
  std::string torn = list;
  torn[torn.size() - 5] ^= 1;
  std::ofstream(PathOf(pieces_, ".pieces"), std::ios::trunc | std::ios::binary) << torn;

  Scrub(1'000'000'000);

  EXPECT_THAT(gone_, IsEmpty());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr(pieces_.ContentKey())));
  MUSTER_EXPECT_OK(cache_->Lookup(pieces_, {}));
  EXPECT_EQ(ContentOf(PathOf(pieces_, ".pieces")), list);
  MUSTER_EXPECT_OK(Check(pieces_));
}

TEST_F(CacheScrubTest, KeysThatNameNoEntryAreRefused) {
  for (const char* key : {"", "x", "../../etc/passwd", "md5-zz-5", "root-1-2-3"}) {
    EXPECT_FALSE(cache_->Check(key, {}, {}).ok()) << key;
  }
}

TEST_F(CacheScrubTest, PassTellsOfBadEntriesAndOfPinnedOnesThatAreGone) {
  FlipByte(pieces_, 1);
  const std::string absent = absl::StrCat("md5-", std::string(32, 'a'), "-9");
  MUSTER_ASSERT_OK(cache_->SetPin({"assemblies/a/nodes/n", {absent, whole_.ContentKey()}}, {}));

  Scrub(1'000'000'000);

  EXPECT_THAT(gone_, ElementsAre(Pair(pieces_.ContentKey(), absl::StatusCode::kDataLoss),
                                 Pair(absent, absl::StatusCode::kNotFound)));
}

TEST_F(CacheScrubTest, PassKeepsToItsRate) {
  const absl::Duration begin = clock_.Monotonic();

  Scrub(kMiB);

  // Two entries of three MiB; the last read is not waited for.
  EXPECT_GE(clock_.Monotonic() - begin, absl::Seconds(5));
  EXPECT_LE(clock_.Monotonic() - begin, absl::Seconds(7));
  EXPECT_THAT(gone_, IsEmpty());
}

}  // namespace
}  // namespace muster
