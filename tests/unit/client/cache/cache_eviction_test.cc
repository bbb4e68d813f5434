// What goes when a cache is full, what never does, and what a refusal says.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cache/cache_directory.h"
#include "client/cache/cache_files.h"
#include "client/cache/cache_names.h"
#include "client/cache/shard_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/md5.h"
#include "storage/base/random.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/cache/cache_fixtures.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kOwner[] = "assemblies/demo/nodes/n1";

// Shards of 100 bytes, by number, in a cache that has room for three.
class EvictionTest : public ::testing::Test {
 protected:
  static constexpr int64_t kSize = 100;

  std::unique_ptr<ShardCache> OpenCache(int64_t budget = 3 * kSize) {
    auto cache = ShardCache::Open(dir_.path() + "/c", {.budget_bytes = budget});
    EXPECT_THAT(cache, IsOk());
    return *std::move(cache);
  }

  static std::string BytesOf(int number) { return TestBytes(kSize, 100 + number); }
  static CheckedShard ShardOf(int number) {
    return *CheckedShard::Make(ShardWithPieces(BytesOf(number), {}));
  }
  static std::string KeyOf(int number) { return ShardOf(number).ContentKey(); }

  static std::vector<WantedShard> Wanted(const std::vector<int>& numbers) {
    std::vector<WantedShard> wanted;
    for (const int number : numbers) wanted.push_back({KeyOf(number), kSize});
    return wanted;
  }

  // Pulls or finds the shard; the last use of each call is later than that of the one before.
  absl::Status Get(ShardCache& cache, int number) {
    auto acquired = cache.Acquire(ShardOf(number), {});
    if (!acquired.ok()) return acquired.status();
    if (acquired->part != nullptr) {
      const absl::Status written = acquired->part->Write(0, BytesOf(number));
      if (!written.ok()) return written;
      const auto entry = acquired->part->Commit();
      if (!entry.ok()) return entry.status();
    }
    SetLastUse(number, ++uses_);
    return absl::OkStatus();
  }

  std::string PathOf(const std::string& name) const {
    return absl::StrCat(dir_.path(), "/c/default/", name);
  }
  // Real times would depend on how fast the test runs.
  void SetLastUse(int number, int64_t seconds) {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, PathOf(KeyOf(number) + ".use").c_str(), times, 0), 0);
  }

  // The numbers of the entries.
  std::set<int> Held() {
    std::set<int> held;
    for (int number = 0; number < 10; ++number) {
      if (access(PathOf(KeyOf(number)).c_str(), F_OK) == 0) held.insert(number);
    }
    return held;
  }

  TempDir dir_;
  int64_t uses_ = 1'000'000;
};

TEST_F(EvictionTest, LeastRecentlyUsedGoesFirst) {
  const auto cache = OpenCache();
  for (const int number : {0, 1, 2}) MUSTER_ASSERT_OK(Get(*cache, number));
  MUSTER_ASSERT_OK(Get(*cache, 0));

  MUSTER_ASSERT_OK(Get(*cache, 3));

  EXPECT_THAT(Held(), ElementsAre(0, 2, 3));
}

TEST_F(EvictionTest, LookupCountsAsAUseAndOutlivesTheObject) {
  for (const int number : {0, 1, 2}) MUSTER_ASSERT_OK(Get(*OpenCache(), number));
  MUSTER_ASSERT_OK(OpenCache()->Lookup(ShardOf(0), {}));

  MUSTER_ASSERT_OK(Get(*OpenCache(), 3));

  EXPECT_THAT(Held(), ElementsAre(0, 2, 3));
}

TEST_F(EvictionTest, EvictedEntryLeavesNothingBehind) {
  const auto cache = OpenCache(kSize);
  MUSTER_ASSERT_OK(Get(*cache, 0));
  MUSTER_ASSERT_OK(Get(*cache, 1));

  for (const std::string& name : NamesIn(dir_.path() + "/c/default")) {
    EXPECT_TRUE(absl::StartsWith(name, KeyOf(1))) << name;
  }
}

TEST_F(EvictionTest, PinnedEntriesStayAndTheRefusalNamesTheirOwner) {
  const auto cache = OpenCache();
  for (const int number : {0, 1, 2}) MUSTER_ASSERT_OK(Get(*cache, number));
  // By another object, as another process does it.
  MUSTER_ASSERT_OK(OpenCache()->SetPin({kOwner, {KeyOf(0), KeyOf(1)}}, {}));

  MUSTER_EXPECT_OK(Get(*cache, 3));
  EXPECT_THAT(Held(), ElementsAre(0, 1, 3));
  MUSTER_ASSERT_OK(cache->SetPin({"assemblies/other/nodes/n2", {KeyOf(3)}}, {}));
  const absl::Status refused = Get(*cache, 4);

  EXPECT_THAT(refused, ErrorIs(absl::StatusCode::kResourceExhausted, "CACHE_FULL"));
  EXPECT_THAT(std::string(refused.message()),
              ::testing::AllOf(
                  HasSubstr(" has room for 0 B, and 100 B are needed; the rest is pinned by "),
                  HasSubstr(absl::StrCat(kOwner, " (200 B)")),
                  HasSubstr("assemblies/other/nodes/n2 (100 B)"), HasSubstr("muster cache unpin")));
  EXPECT_THAT(Held(), ElementsAre(0, 1, 3));
}

TEST_F(EvictionTest, UnpinnedEntriesMayGo) {
  const auto cache = OpenCache(kSize);
  MUSTER_ASSERT_OK(Get(*cache, 0));
  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {KeyOf(0)}}, {}));
  ASSERT_THAT(Get(*cache, 1), StatusIs(absl::StatusCode::kResourceExhausted));

  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {}}, {}));

  MUSTER_EXPECT_OK(Get(*cache, 1));
  EXPECT_THAT(*cache->Pins(), IsEmpty());
}

TEST_F(EvictionTest, PinOfAnAssemblyEndsForThatOneOnly) {
  const auto cache = OpenCache();
  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {KeyOf(0)}, "c1-7"}, {}));
  // It was made again under its name meanwhile.
  MUSTER_ASSERT_OK(OpenCache()->SetPin({kOwner, {KeyOf(0)}, "c1-9"}, {}));

  EXPECT_FALSE(*cache->EndPin(kOwner, "c1-7", {}));
  EXPECT_FALSE(*cache->EndPin(kOwner, "", {}));
  EXPECT_FALSE(*cache->EndPin("assemblies/other/nodes/n1", "c1-9", {}));
  EXPECT_EQ(cache->Pins()->front().uid, "c1-9");
  EXPECT_THAT(cache->Pins()->front().keys, ElementsAre(KeyOf(0)));

  EXPECT_TRUE(*cache->EndPin(kOwner, "c1-9", {}));
  EXPECT_THAT(*cache->Pins(), IsEmpty());
}

TEST_F(EvictionTest, PinThatSaysTheSameIsLeftAsItIs) {
  const auto cache = OpenCache();
  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {KeyOf(0), KeyOf(1)}}, {}));
  const std::string path = PathOf(absl::StrCat("pins/", Md5ToHex(Md5Of(kOwner))));
  struct stat before = {};
  ASSERT_EQ(stat(path.c_str(), &before), 0);

  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {KeyOf(0), KeyOf(1)}}, {}));

  struct stat after = {};
  ASSERT_EQ(stat(path.c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino) << "a full disk has no room for another";
  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {KeyOf(1)}}, {}));
  EXPECT_THAT(cache->Pins()->front().keys, ElementsAre(KeyOf(1)));
}

// One that is called as a shard of the version.
CheckedShard Named(const std::string& bytes, const std::string& version, int index) {
  PullShard shard = ShardWithPieces(bytes, {});
  shard.shard.set_name(absl::StrCat("models/llama/versions/", version, "/shards/", index));
  return *CheckedShard::Make(shard);
}

TEST_F(EvictionTest, ListSaysWhatAnEntryIsCalledInEachVersionThatHasIt) {
  const auto cache = OpenCache();
  const CheckedShard v1 = Named(BytesOf(0), "v1", 3);
  auto acquired = cache->Acquire(v1, {});
  MUSTER_ASSERT_OK(acquired);
  EXPECT_THAT(cache->List()->front().names, ElementsAre("models/llama/versions/v1/shards/3"));
  MUSTER_ASSERT_OK(acquired->part->Write(0, BytesOf(0)));
  MUSTER_ASSERT_OK(acquired->part->Commit());
  for (int repeat = 0; repeat < 2; ++repeat) {
    MUSTER_ASSERT_OK(cache->Lookup(v1, {}));
    MUSTER_ASSERT_OK(cache->Lookup(Named(BytesOf(0), "v2", 0), {}));
  }

  EXPECT_THAT(cache->List()->front().names, ElementsAre("models/llama/versions/v1/shards/3",
                                                        "models/llama/versions/v2/shards/0"));

  MUSTER_ASSERT_OK(cache->Evict({.target_bytes = 0}, {}));
  EXPECT_NE(access(PathOf(KeyOf(0) + ".names").c_str(), F_OK), 0);
}

TEST_F(EvictionTest, NamesOfAnEntryAreBoundedAndNothingElseIsTakenForOne) {
  const auto cache = OpenCache();
  MUSTER_ASSERT_OK(Get(*cache, 0));
  for (int version = 0; version < 40; ++version) {
    MUSTER_ASSERT_OK(cache->Lookup(Named(BytesOf(0), absl::StrCat("v", version), 0), {}));
  }
  EXPECT_EQ(cache->List()->front().names.size(), kMaxNamesOfEntry);
  EXPECT_EQ(cache->List()->front().names.back(), "models/llama/versions/v39/shards/0");

  const std::string path = PathOf(KeyOf(0) + ".names");
  for (const std::string& text :
       {std::string("\x1b[2J\nmodels/a/versions/b/shards/1\nmodels/a/versions/../shards/1"),
        std::string(1 << 20, 'x')}) {
    std::ofstream(path, std::ios::trunc) << text;
    const auto names = cache->List()->front().names;
    EXPECT_TRUE(names.empty() || names == std::vector<std::string>{"models/a/versions/b/shards/1"});
  }
  // A link is not followed.
  ASSERT_EQ(unlink(path.c_str()), 0);
  ASSERT_EQ(symlink("/etc/hostname", path.c_str()), 0);
  EXPECT_THAT(cache->List()->front().names, IsEmpty());
  MUSTER_EXPECT_OK(cache->Lookup(Named(BytesOf(0), "v1", 0), {}));
}

// Else a damaged cache would evict what is pinned.
TEST_F(EvictionTest, FileInThePlaceOfThePinsIsNotTakenForNoPins) {
  const auto cache = OpenCache(kSize);
  MUSTER_ASSERT_OK(Get(*cache, 0));
  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {}}, {}));
  ASSERT_EQ(rmdir(PathOf("pins").c_str()), 0);
  ASSERT_EQ(symlink(PathOf(KeyOf(0)).c_str(), PathOf("pins").c_str()), 0);

  const auto is_refused = StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("/pins"));
  EXPECT_THAT(cache->Pins(), is_refused);
  EXPECT_THAT(cache->SetPin({kOwner, {KeyOf(0)}}, {}), is_refused);
  EXPECT_THAT(Get(*cache, 1), is_refused);

  EXPECT_THAT(Held(), ElementsAre(0));
}

TEST_F(EvictionTest, ShardThatIsOpenStays) {
  const auto cache = OpenCache(kSize);
  MUSTER_ASSERT_OK(Get(*cache, 0));
  auto open = OpenCache(kSize)->Lookup(ShardOf(0), {});
  MUSTER_ASSERT_OK(open);

  EXPECT_THAT(Get(*cache, 1), StatusIs(absl::StatusCode::kResourceExhausted,
                                       HasSubstr("transfers under way (100 B)")));

  open = absl::CancelledError("closed");
  MUSTER_EXPECT_OK(Get(*cache, 1));
}

TEST_F(EvictionTest, EntryThatIsBeingVerifiedStays) {
  const auto cache = OpenCache();
  MUSTER_ASSERT_OK(Get(*cache, 0));
  ASSERT_EQ(unlink(PathOf(KeyOf(0) + ".record").c_str()), 0);
  UniqueFd other(open(PathOf(KeyOf(0)).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(TryLockExclusive(other.get()));
  absl::Status found = absl::UnknownError("not there yet");
  std::thread reader([&] { found = OpenCache()->Lookup(ShardOf(0), {}).status(); });
  // The reader waits for the lock that is held here.
  AwaitOrFail("the reader to use the entry", [&] { return cache->List()->front().in_use; });

  const auto gone = cache->Evict({.target_bytes = 0}, {});
  other.Reset();
  reader.join();

  MUSTER_ASSERT_OK(gone);
  EXPECT_THAT(*gone, IsEmpty());
  MUSTER_EXPECT_OK(found);
  EXPECT_THAT(Held(), ElementsAre(0));
}

TEST_F(EvictionTest, TransfersPinDiesWithItsProcess) {
  const auto cache = OpenCache(kSize);
  MUSTER_ASSERT_OK(Get(*cache, 0));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto open = cache->Lookup(ShardOf(0), {});
    // Runs no destructor.
    _exit(open.ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);

  MUSTER_EXPECT_OK(Get(*cache, 1));
}

TEST_F(EvictionTest, PartsCountAndGoBeforeEntries) {
  const auto cache = OpenCache();
  for (const int number : {0, 1}) MUSTER_ASSERT_OK(Get(*cache, number));
  {
    auto acquired = cache->Acquire(ShardOf(5), {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, BytesOf(5)));
    // Under way it stays: an entry goes instead.
    MUSTER_ASSERT_OK(Get(*cache, 2));
    EXPECT_THAT(Held(), ElementsAre(1, 2));
  }

  MUSTER_ASSERT_OK(Get(*cache, 3));

  EXPECT_THAT(Held(), ElementsAre(1, 2, 3));
  EXPECT_NE(access(PathOf(KeyOf(5) + ".part").c_str(), F_OK), 0);
}

TEST_F(EvictionTest, LeftPartNeedsNoRoomTwice) {
  const auto cache = OpenCache(kSize);
  {
    auto acquired = cache->Acquire(ShardOf(0), {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, BytesOf(0)));
  }
  EXPECT_EQ(cache->Room(Wanted({0}))->needed_bytes, 0);

  MUSTER_EXPECT_OK(Get(*cache, 0));
}

TEST_F(EvictionTest, ShardLargerThanTheBudgetIsRefusedAndEvictsNothing) {
  MUSTER_ASSERT_OK(Get(*OpenCache(), 0));

  EXPECT_THAT(Get(*OpenCache(kSize - 1), 1),
              ErrorIs(absl::StatusCode::kResourceExhausted, "CACHE_FULL"));

  EXPECT_THAT(Held(), ElementsAre(0));
}

TEST_F(EvictionTest, RoomCountsWhatIsWantedNeitherAsPinnedNorEvictable) {
  const auto cache = OpenCache();
  for (const int number : {0, 1, 2}) MUSTER_ASSERT_OK(Get(*cache, number));
  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {KeyOf(1)}}, {}));

  const auto fits = cache->Room(Wanted({0, 4}));
  const auto does_not = cache->Room(Wanted({0, 4, 5}));

  MUSTER_ASSERT_OK(fits);
  MUSTER_ASSERT_OK(does_not);
  EXPECT_EQ(fits->needed_bytes, 100);
  EXPECT_EQ(fits->pinned_bytes, 100);
  EXPECT_EQ(fits->evictable_bytes, 100);
  EXPECT_EQ(fits->free_bytes, 0);
  EXPECT_EQ(fits->Available(), 100);
  EXPECT_TRUE(fits->Fits());
  EXPECT_EQ(does_not->needed_bytes, 200);
  EXPECT_FALSE(does_not->Fits());
}

TEST_F(EvictionTest, EvictTakesPinnedEntriesOnlyByForce) {
  const auto cache = OpenCache();
  for (const int number : {0, 1}) MUSTER_ASSERT_OK(Get(*cache, number));
  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {KeyOf(0)}}, {}));

  const auto gentle = cache->Evict({.target_bytes = 0}, {});
  EXPECT_THAT(Held(), ElementsAre(0));
  const auto forced = cache->Evict({.keys = {KeyOf(0)}, .force = true}, {});

  MUSTER_ASSERT_OK(gentle);
  ASSERT_EQ(gentle->size(), 1u);
  EXPECT_EQ(gentle->front().key, KeyOf(1));
  MUSTER_ASSERT_OK(forced);
  EXPECT_THAT(Held(), IsEmpty());
}

TEST_F(EvictionTest, EvictStopsAtItsTarget) {
  const auto cache = OpenCache();
  for (const int number : {0, 1, 2}) MUSTER_ASSERT_OK(Get(*cache, number));

  MUSTER_ASSERT_OK(cache->Evict({.target_bytes = 2 * kSize}, {}));

  EXPECT_THAT(Held(), ElementsAre(1, 2));
}

TEST_F(EvictionTest, UnreadablePinEvictsNothing) {
  const auto cache = OpenCache(kSize);
  MUSTER_ASSERT_OK(Get(*cache, 0));
  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {KeyOf(0)}}, {}));
  const std::string pin = PathOf("pins/" + NamesIn(PathOf("pins")).front());
  ASSERT_EQ(truncate(pin.c_str(), 0), 0);

  EXPECT_THAT(Get(*cache, 1), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(pin)));

  EXPECT_THAT(Held(), ElementsAre(0));
}

TEST_F(EvictionTest, ListShowsUseOwnersAndParts) {
  const auto cache = OpenCache();
  for (const int number : {0, 1}) MUSTER_ASSERT_OK(Get(*cache, number));
  MUSTER_ASSERT_OK(cache->SetPin({kOwner, {KeyOf(1)}}, {}));
  const auto open = cache->Lookup(ShardOf(0), {});
  SetLastUse(0, 5);
  {
    auto acquired = cache->Acquire(ShardOf(2), {});
    MUSTER_ASSERT_OK(acquired);
    MUSTER_ASSERT_OK(acquired->part->Write(0, BytesOf(2)));
  }

  const auto items = cache->List();

  MUSTER_ASSERT_OK(items);
  ASSERT_EQ(items->size(), 3u);
  EXPECT_TRUE((*items)[0].is_part);
  EXPECT_FALSE((*items)[0].in_use);
  EXPECT_EQ((*items)[1].key, KeyOf(0));
  EXPECT_TRUE((*items)[1].in_use);
  EXPECT_EQ((*items)[1].last_use, absl::FromUnixSeconds(5));
  EXPECT_EQ((*items)[2].key, KeyOf(1));
  EXPECT_THAT((*items)[2].owners, ElementsAre(kOwner));
}

TEST_F(EvictionTest, NetworkFileSystemsAreKnownByTheirMagic) {
  EXPECT_EQ(NetworkFileSystemName(0x6969), "NFS");
  // As a signed 32-bit field has it.
  EXPECT_EQ(NetworkFileSystemName(static_cast<int32_t>(0xFF534D42)), "CIFS");
  for (const int64_t local : {0xEF53L, 0x58465342L, 0x9123683EL, 0x01021994L, 0x794C7630L}) {
    EXPECT_EQ(NetworkFileSystemName(local), "") << local;
  }
}

// Several caches with threads of their own get shards under pressure, pin some of them, and look
// whether what is pinned or open stays.
class PressureTest : public EvictionTest, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(PressureTest, WhatIsPinnedOrOpenIsNeverEvicted) {
  SCOPED_TRACE(absl::StrCat("seed ", GetParam()));
  constexpr int kThreads = 4;
  constexpr int kSteps = 60;
  constexpr int kShards = 10;
  constexpr int64_t kBudget = 7 * kSize;
  std::vector<CheckedShard> shards;
  for (int number = 0; number < kShards; ++number) shards.push_back(ShardOf(number));
  std::atomic<int> refused = 0;
  std::atomic<int> fetched = 0;
  const auto run = [&](int thread) {
    const auto random = NewSeededRandom(GetParam() * 1000 + static_cast<uint64_t>(thread));
    const auto cache = OpenCache(kBudget);
    const std::string owner = absl::StrCat("assemblies/a/nodes/n", thread);
    // At most one per thread is pinned and one is open, so that there is room for every thread.
    int pinned = -1;
    for (int step = 0; step < kSteps; ++step) {
      const int number = static_cast<int>(random->Below(kShards));
      const bool pins = random->Below(3) == 0;
      if (pins) {
        MUSTER_EXPECT_OK(cache->SetPin({owner, {shards[number].ContentKey()}}, {}));
        pinned = -1;
      }
      auto acquired = cache->Acquire(shards[number], {});
      if (!acquired.ok()) {
        EXPECT_THAT(acquired.status(), ErrorIs(absl::StatusCode::kResourceExhausted, "CACHE_FULL"));
        ++refused;
        continue;
      }
      if (acquired->part != nullptr) {
        ++fetched;
        MUSTER_EXPECT_OK(acquired->part->Write(0, BytesOf(number)));
        if (random->Below(4) == 0) continue;
        MUSTER_EXPECT_OK(acquired->part->Commit());
      }
      if (pins) pinned = number;
      if (pinned >= 0) {
        EXPECT_EQ(access(PathOf(shards[pinned].ContentKey()).c_str(), F_OK), 0)
            << "thread " << thread << ", step " << step << ": shard " << pinned << " is gone";
      }
      if (acquired->entry.has_value()) {
        EXPECT_EQ(access(acquired->entry->path().c_str(), F_OK), 0) << "open, and gone";
      }
    }
  };
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) threads.emplace_back(run, thread);
  for (std::thread& thread : threads) thread.join();

  int64_t used = 0;
  const auto items = OpenCache(kBudget)->List();
  MUSTER_ASSERT_OK(items);
  for (const CacheItem& item : *items) {
    used += item.size_bytes;
    EXPECT_FALSE(item.in_use) << item.key;
  }
  EXPECT_LE(used, kBudget);
  EXPECT_GT(fetched, kShards);
  for (const int number : Held()) {
    EXPECT_TRUE(ContentOf(PathOf(shards[static_cast<size_t>(number)].ContentKey())) ==
                BytesOf(number));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PressureTest, ::testing::Range<uint64_t>(1, 5));

}  // namespace
}  // namespace muster
