#include "client/cache/cache_record.h"

#include <fcntl.h>

#include <fstream>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

class CacheRecordTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(dir_.path() + "/entry") << "bytes";
    dir_fd_ = UniqueFd(open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY));
    entry_fd_ = UniqueFd(open((dir_.path() + "/entry").c_str(), O_RDWR));
    ASSERT_TRUE(dir_fd_.valid() && entry_fd_.valid());
  }

  TempDir dir_;
  UniqueFd dir_fd_;
  UniqueFd entry_fd_;
};

// A change in the tick of the entry's last change would not show in its times.
TEST_F(CacheRecordTest, SettleWaitsForTheNextTick) {
  const CacheRecord record(dir_fd_.get(), "entry");
  for (int i = 0; i < 5; ++i) {
    MUSTER_ASSERT_OK(WriteAt(entry_fd_.get(), "entry", 0, "other"));

    const auto settled = record.Settle(entry_fd_.get());

    MUSTER_ASSERT_OK(settled);
    struct stat now {};
    ASSERT_EQ(stat((dir_.path() + "/entry.record").c_str(), &now), 0);
    EXPECT_LT(std::tie(settled->st_ctim.tv_sec, settled->st_ctim.tv_nsec),
              std::tie(now.st_mtim.tv_sec, now.st_mtim.tv_nsec));
  }
}

TEST_F(CacheRecordTest, WrittenRecordVouchesUntilTheEntryChanges) {
  const CacheRecord record(dir_fd_.get(), "entry");
  const auto settled = record.Settle(entry_fd_.get());
  MUSTER_ASSERT_OK(settled);
  EXPECT_FALSE(record.Vouches(*settled));
  MUSTER_ASSERT_OK(record.Write(*settled));
  EXPECT_TRUE(record.Vouches(*settled));

  MUSTER_ASSERT_OK(WriteAt(entry_fd_.get(), "entry", 0, "other"));

  struct stat changed {};
  ASSERT_EQ(fstat(entry_fd_.get(), &changed), 0);
  EXPECT_FALSE(record.Vouches(changed));
}

TEST_F(CacheRecordTest, RecordOfAnotherNameDoesNotVouch) {
  const CacheRecord record(dir_fd_.get(), "entry");
  const auto settled = record.Settle(entry_fd_.get());
  MUSTER_ASSERT_OK(settled);
  MUSTER_ASSERT_OK(record.Write(*settled));
  ASSERT_EQ(
      rename((dir_.path() + "/entry.record").c_str(), (dir_.path() + "/renamed.record").c_str()),
      0);

  EXPECT_FALSE(CacheRecord(dir_fd_.get(), "renamed").Vouches(*settled));
}

}  // namespace
}  // namespace muster
