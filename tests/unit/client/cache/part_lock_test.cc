// Writers of one shard in several processes, of which one stands still.
#include "client/cache/part_lock.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cache/shard_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A child process has written the first piece of a shard, and does nothing until it is told to.
class StandingWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MUSTER_ASSERT_OK(ShardCache::Open(root(), {}));
    ASSERT_EQ(pipe(written_), 0);
    ASSERT_EQ(pipe(go_on_), 0);
    child_ = fork();
    ASSERT_GE(child_, 0);
    if (child_ == 0) RunChild();
    char byte = 0;
    ASSERT_EQ(read(written_[0], &byte, 1), 1);
  }

  void TearDown() override {
    if (child_ > 0) {
      EXPECT_EQ(LetGoOn(), 0);
    }
    for (const int fd : {written_[0], written_[1], go_on_[0], go_on_[1]}) close(fd);
  }

  [[noreturn]] void RunChild() {
    auto cache = ShardCache::Open(root(), {});
    if (!cache.ok()) _exit(1);
    auto acquired = (*cache)->Acquire(shard_, {});
    if (!acquired.ok() || acquired->part == nullptr) _exit(2);
    const absl::string_view bytes = bytes_;
    if (!acquired->part->Write(0, bytes.substr(0, kMiB)).ok()) _exit(3);
    char byte = 0;
    if (write(written_[1], &byte, 1) != 1 || read(go_on_[0], &byte, 1) != 1) _exit(4);
    if (!acquired->part->Write(kMiB, bytes.substr(kMiB)).ok()) _exit(5);
    const auto entry = acquired->part->Commit();
    _exit(entry.ok() && entry->path() == EntryPath() ? 0 : 6);
  }

  // Returns the child's exit code: 0 when it got the entry.
  int LetGoOn() {
    const char byte = 0;
    EXPECT_EQ(write(go_on_[1], &byte, 1), 1);
    int status = 0;
    EXPECT_EQ(waitpid(child_, &status, 0), child_);
    child_ = 0;
    return WEXITSTATUS(status);
  }

  std::unique_ptr<ShardCache> OpenCache(ShardCache::Options options = {}) {
    options.writer_patience = absl::Milliseconds(200);
    options.warn = [this](const std::string& warning) { warnings_.push_back(warning); };
    auto cache = ShardCache::Open(root(), options);
    EXPECT_THAT(cache, IsOk());
    return *std::move(cache);
  }

  std::string root() const { return dir_.path() + "/cache"; }
  std::string domain() const { return root() + "/default"; }
  std::string EntryPath() const { return absl::StrCat(domain(), "/", shard_.ContentKey()); }

  const TempDir dir_;
  const std::string bytes_ = TestBytes(3 * kMiB, 7);
  const CheckedShard shard_ = *CheckedShard::Make(ShardWithPieces(bytes_, {}));
  std::vector<std::string> warnings_;
  int written_[2] = {};
  int go_on_[2] = {};
  pid_t child_ = 0;
};

TEST_F(StandingWriterTest, ShardIsFetchedBesideItAndBothEndWell) {
  const auto cache = OpenCache();

  auto acquired = cache->Acquire(shard_, {});
  MUSTER_ASSERT_OK(acquired);
  ASSERT_NE(acquired->part, nullptr);
  EXPECT_THAT(acquired->part->Present(), Each(false));
  EXPECT_THAT(NamesIn(domain()), Contains(shard_.ContentKey() + ".2.part"));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr(absl::StrCat("process ", child_))));
  MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
  MUSTER_ASSERT_OK(acquired->part->Commit());
  struct stat before {};
  ASSERT_EQ(stat(EntryPath().c_str(), &before), 0);

  EXPECT_EQ(LetGoOn(), 0);

  struct stat after {};
  ASSERT_EQ(stat(EntryPath().c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
  EXPECT_EQ(ContentOf(EntryPath()), bytes_);
  // The child ended before it removed its part.
  OpenCache();
  EXPECT_THAT(NamesIn(domain()), Each(Not(HasSubstr(".part"))));
  EXPECT_THAT(NamesIn(domain()), Each(Not(HasSubstr(".claims"))));
  MUSTER_EXPECT_OK(cache->Check(shard_.ContentKey(), {}, {}));
}

TEST_F(StandingWriterTest, TheOneThatEndsFirstMakesTheEntryOfBoth) {
  const auto cache = OpenCache();
  auto acquired = cache->Acquire(shard_, {});
  MUSTER_ASSERT_OK(acquired);
  ASSERT_NE(acquired->part, nullptr);
  MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_));
  ASSERT_EQ(LetGoOn(), 0);

  const auto entry = acquired->part->Commit();
  acquired->part.reset();

  MUSTER_ASSERT_OK(entry);
  struct stat found {};
  struct stat named {};
  ASSERT_EQ(fstat(entry->fd(), &found), 0);
  ASSERT_EQ(stat(EntryPath().c_str(), &named), 0);
  EXPECT_EQ(found.st_ino, named.st_ino);
  EXPECT_THAT(NamesIn(domain()), Each(Not(HasSubstr(".part"))));
  EXPECT_THAT(NamesIn(domain()), Contains(shard_.ContentKey() + ".pieces"));
}

TEST_F(StandingWriterTest, RoomIsForBoth) {
  ShardCache::Options options;
  options.budget_bytes = 6 * kMiB - 1;
  EXPECT_THAT(OpenCache(options)->Acquire(shard_, {}),
              ErrorIs(absl::StatusCode::kResourceExhausted, "CACHE_FULL"));
  options.budget_bytes = 6 * kMiB;
  MUSTER_EXPECT_OK(OpenCache(options)->Acquire(shard_, {}));
}

TEST_F(StandingWriterTest, PartOfADeadWriterBesideItIsTakenOver) {
  {
    auto acquired = OpenCache()->Acquire(shard_, {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_.substr(0, 2 * kMiB)));
  }
  EXPECT_THAT(NamesIn(domain()), Contains(shard_.ContentKey() + ".2.claims"));

  const auto acquired = OpenCache()->Acquire(shard_, {});

  MUSTER_ASSERT_OK(acquired);
  EXPECT_THAT(acquired->part->Present(), ElementsAre(true, true, false));
}

TEST_F(StandingWriterTest, PartBesideItMayBeEvicted) {
  const auto cache = OpenCache();
  {
    auto acquired = cache->Acquire(shard_, {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, bytes_.substr(0, 2 * kMiB)));
  }

  const auto gone = cache->Evict({}, {});

  MUSTER_ASSERT_OK(gone);
  EXPECT_EQ(gone->size(), 1u);
  EXPECT_THAT(NamesIn(domain()),
              ElementsAre(shard_.ContentKey() + ".claims", shard_.ContentKey() + ".names",
                          shard_.ContentKey() + ".part", shard_.ContentKey() + ".pieces"));
}

}  // namespace
}  // namespace muster
