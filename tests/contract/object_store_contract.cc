#include "tests/contract/object_store_contract.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <stop_token>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/object/rate_limit.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// The smallest part that a writer takes.
constexpr int64_t kPart = int64_t{1} << 20;

// Bytes in which no two aligned words of a part are alike, so that a misplaced range shows.
std::string Pattern(int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  uint32_t state = 12345;
  for (char& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

std::vector<std::string> BadKeys() {
  return {
      "", "/a", "a//b", "a/", ".", "..", "a/..", "./a", "a/../b", "a/./b", std::string("a\0b", 3)};
}

std::vector<std::string> OddKeys() {
  return {"with space/and more", "per%20cent", "per cent", "100%", "\xC3\xA4\xE6\xBC\xA2", "a?b#c",
          "plus+&=;,'()",        "...",        ".hidden",  "~",    std::string(200, 'n')};
}

}  // namespace

absl::StatusOr<ObjectInfo> ObjectReadContract::Put(const std::string& key,
                                                   const std::string& bytes) {
  if (GetParam().fill == nullptr) return store().Put(key, bytes, {});
  GetParam().fill(directory(), key, bytes);
  return store().Stat(key, {});
}

absl::StatusOr<std::string> ObjectReadContract::ReadRange(const std::string& key, int64_t offset,
                                                          size_t size,
                                                          const std::string& if_version) {
  std::string bytes(size, '?');
  const absl::Status status =
      store().Read(key, offset, absl::MakeSpan(bytes.data(), bytes.size()), {if_version});
  if (!status.ok()) return status;
  return bytes;
}

std::vector<std::string> ObjectReadContract::Keys(const std::string& prefix,
                                                  const std::string& after, size_t limit) {
  const auto listed = store().List(prefix, {after, limit});
  if (!listed.ok()) return {listed.status().ToString()};
  std::vector<std::string> keys;
  for (const ObjectStore::ListedObject& object : *listed) keys.push_back(object.key);
  return keys;
}

absl::StatusOr<std::unique_ptr<ObjectWriter>> ObjectReadContract::Create(const std::string& key,
                                                                         int64_t size,
                                                                         bool must_not_exist) {
  return store().Create(key, {size, kPart, must_not_exist});
}

void ObjectStoreContract::ExpectNothingBehind(int visible) {
  EXPECT_THAT(Keys(""), SizeIs(visible));
  if (GetParam().count_stored != nullptr) {
    EXPECT_EQ(GetParam().count_stored(directory()), visible);
  }
}

TEST_P(ObjectReadContract, AbsentObjectIsNotFoundAndNamed) {
  EXPECT_THAT(store().Stat("absent", {}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent")));
  EXPECT_THAT(ReadRange("absent", 0, 1),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent")));
  EXPECT_THAT(store().Stat("no/such/folder", {}), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(ObjectReadContract, PutObjectIsReadBack) {
  const std::string bytes("\0\xff text\n", 8);

  const absl::StatusOr<ObjectInfo> put = Put("a/b/c", bytes);

  MUSTER_ASSERT_OK(put);
  EXPECT_EQ(put->size_bytes, 8);
  const absl::StatusOr<ObjectInfo> stat = store().Stat("a/b/c", {});
  MUSTER_ASSERT_OK(stat);
  EXPECT_EQ(stat->size_bytes, 8);
  EXPECT_EQ(stat->version, put->version);
  EXPECT_THAT(ReadRange("a/b/c", 0, 8), IsOkAndHolds(bytes));
}

TEST_P(ObjectReadContract, RangesAreReadAtEveryEdge) {
  MUSTER_ASSERT_OK(Put("k", "0123456789"));

  EXPECT_THAT(ReadRange("k", 0, 1), IsOkAndHolds("0"));
  EXPECT_THAT(ReadRange("k", 3, 4), IsOkAndHolds("3456"));
  EXPECT_THAT(ReadRange("k", 9, 1), IsOkAndHolds("9"));
  EXPECT_THAT(ReadRange("k", 0, 0), IsOkAndHolds(""));
  EXPECT_THAT(ReadRange("k", 10, 0), IsOkAndHolds(""));
}

TEST_P(ObjectReadContract, ReadBeyondTheEndIsOutOfRange) {
  MUSTER_ASSERT_OK(Put("k", "0123456789"));

  EXPECT_THAT(ReadRange("k", 0, 11), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("10")));
  EXPECT_THAT(ReadRange("k", 9, 2), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(ReadRange("k", 10, 1), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(ReadRange("k", 11, 0), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(ReadRange("k", std::numeric_limits<int64_t>::max(), 1),
              StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_P(ObjectReadContract, NegativeOffsetIsInvalid) {
  MUSTER_ASSERT_OK(Put("k", "0123456789"));

  EXPECT_THAT(ReadRange("k", -1, 1), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(ObjectReadContract, EmptyObjectIsAnObject) {
  MUSTER_ASSERT_OK(Put("empty", ""));

  const absl::StatusOr<ObjectInfo> stat = store().Stat("empty", {});
  MUSTER_ASSERT_OK(stat);
  EXPECT_EQ(stat->size_bytes, 0);
  EXPECT_THAT(ReadRange("empty", 0, 0), IsOkAndHolds(""));
  EXPECT_THAT(ReadRange("empty", 0, 1), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_P(ObjectReadContract, BadKeysAreInvalidToRead) {
  MUSTER_ASSERT_OK(Put("a/b", "x"));
  for (const std::string& key : BadKeys()) {
    EXPECT_THAT(store().Stat(key, {}), StatusIs(absl::StatusCode::kInvalidArgument)) << key;
    EXPECT_THAT(ReadRange(key, 0, 1), StatusIs(absl::StatusCode::kInvalidArgument)) << key;
  }
}

TEST_P(ObjectStoreContract, BadKeysAreInvalidToWrite) {
  MUSTER_ASSERT_OK(Put("a/b", "x"));
  for (const std::string& key : BadKeys()) {
    EXPECT_THAT(Put(key, "x"), StatusIs(absl::StatusCode::kInvalidArgument)) << key;
    EXPECT_THAT(Create(key, 0), StatusIs(absl::StatusCode::kInvalidArgument)) << key;
    EXPECT_THAT(store().Delete(key), StatusIs(absl::StatusCode::kInvalidArgument)) << key;
  }
  EXPECT_THAT(store().List("../", {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store().List("a/../", {}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(ObjectReadContract, OddKeysAreKeptApart) {
  for (const std::string& key : OddKeys()) MUSTER_ASSERT_OK(Put(key, key));

  for (const std::string& key : OddKeys()) {
    EXPECT_THAT(ReadRange(key, 0, key.size()), IsOkAndHolds(key));
  }
}

TEST_P(ObjectStoreContract, OddKeysAreListed) {
  for (const std::string& key : OddKeys()) MUSTER_ASSERT_OK(Put(key, key));

  std::vector<std::string> sorted = OddKeys();
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(Keys(""), sorted);
}

TEST_P(ObjectStoreContract, PutReplaces) {
  const absl::StatusOr<ObjectInfo> first = Put("k", "first");
  const absl::StatusOr<ObjectInfo> second = Put("k", "other");

  MUSTER_ASSERT_OK(first);
  MUSTER_ASSERT_OK(second);
  EXPECT_THAT(ReadRange("k", 0, 5), IsOkAndHolds("other"));
  if (GetParam().has_versions) {
    EXPECT_NE(first->version, second->version);
  }
  ExpectNothingBehind(1);
}

TEST_P(ObjectReadContract, ReadsFromSeveralThreadsDoNotMix) {
  const std::string bytes = Pattern(kPart);
  MUSTER_ASSERT_OK(Put("k", bytes));
  constexpr int kThreads = 4;
  constexpr size_t kRange = 50'000;
  std::atomic<int> failures = 0;

  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 10; ++i) {
        const size_t offset = (i * kThreads + static_cast<size_t>(t)) * 23'456;
        const auto read = ReadRange("k", static_cast<int64_t>(offset), kRange);
        if (!read.ok() || *read != bytes.substr(offset, kRange)) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(failures, 0);
}

TEST_P(ObjectReadContract, StoppedReadIsCancelled) {
  MUSTER_ASSERT_OK(Put("k", "0123456789"));
  std::stop_source source;
  source.request_stop();
  std::string out(10, '?');

  EXPECT_THAT(
      store().Read("k", 0, absl::MakeSpan(out.data(), out.size()), {.stop = source.get_token()}),
      StatusIs(absl::StatusCode::kCancelled, HasSubstr("k")));
}

TEST_P(ObjectReadContract, EveryByteIsTakenFromTheRateLimit) {
  MUSTER_ASSERT_OK(Put("k", Pattern(kPart)));
  FakeClock clock;
  RateLimit limit(clock, kPart);
  const absl::Duration begin = clock.Monotonic();
  std::string out(kPart, '?');

  MUSTER_ASSERT_OK(store().Read("k", 0, absl::MakeSpan(out.data(), out.size()), {.limit = &limit}));

  EXPECT_TRUE(out == Pattern(kPart));
  EXPECT_NEAR(absl::ToDoubleSeconds(clock.Monotonic() - begin), 1.0, 0.01);
}

TEST_P(ObjectReadContract, PinnedReadFailsOnceTheObjectIsReplaced) {
  if (!GetParam().has_versions) GTEST_SKIP() << "the backend has no versions";
  const absl::StatusOr<ObjectInfo> first = Put("k", "first");
  MUSTER_ASSERT_OK(first);
  EXPECT_THAT(ReadRange("k", 0, 5, first->version), IsOkAndHolds("first"));

  MUSTER_ASSERT_OK(Put("k", "other"));

  EXPECT_THAT(ReadRange("k", 0, 5, first->version), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(ReadRange("k", 0, 5, "nonsense"), StatusIs(absl::StatusCode::kAborted));
}

TEST_P(ObjectStoreContract, PutOverAnObjectThatMustNotExistIsRefused) {
  MUSTER_ASSERT_OK(store().Put("k", "first", {.must_not_exist = true}));

  EXPECT_THAT(store().Put("k", "second", {.must_not_exist = true}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("k")));

  EXPECT_THAT(ReadRange("k", 0, 5), IsOkAndHolds("first"));
  ExpectNothingBehind(1);
}

TEST_P(ObjectStoreContract, StreamedWriteTakesPartsInAnyOrder) {
  const int64_t size = 3 * kPart + 12'345;
  const std::string bytes = Pattern(size);
  auto writer = Create("dir/k", size);
  MUSTER_ASSERT_OK(writer);

  MUSTER_ASSERT_OK((*writer)->Write(3 * kPart, absl::string_view(bytes).substr(3 * kPart)));
  MUSTER_ASSERT_OK((*writer)->Write(0, absl::string_view(bytes).substr(0, kPart)));
  MUSTER_ASSERT_OK((*writer)->Write(kPart, absl::string_view(bytes).substr(kPart, 2 * kPart)));
  const absl::StatusOr<ObjectInfo> info = (*writer)->Commit();

  MUSTER_ASSERT_OK(info);
  EXPECT_EQ(info->size_bytes, size);
  EXPECT_EQ(info->version, store().Stat("dir/k", {})->version);
  EXPECT_TRUE(*ReadRange("dir/k", 0, bytes.size()) == bytes);
  EXPECT_TRUE(*ReadRange("dir/k", kPart - 5, 10) == bytes.substr(kPart - 5, 10));
  ExpectNothingBehind(1);
}

TEST_P(ObjectStoreContract, StreamedWriteTakesPartsFromSeveralThreads) {
  constexpr int kThreads = 4;
  const int64_t size = 11 * kPart + 1;
  const std::string bytes = Pattern(size);
  auto writer = Create("k", size);
  MUSTER_ASSERT_OK(writer);
  std::atomic<int64_t> next = 0;
  std::atomic<int> failures = 0;

  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int64_t part = next++; part * kPart < size; part = next++) {
        const absl::string_view range = absl::string_view(bytes).substr(part * kPart, kPart);
        if (!(*writer)->Write(part * kPart, range).ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(failures, 0);
  MUSTER_ASSERT_OK((*writer)->Commit());
  EXPECT_TRUE(*ReadRange("k", 0, bytes.size()) == bytes);
}

TEST_P(ObjectStoreContract, StreamedWriteOfAnEmptyObject) {
  auto writer = Create("k", 0);
  MUSTER_ASSERT_OK(writer);

  MUSTER_EXPECT_OK((*writer)->Write(0, ""));
  MUSTER_EXPECT_OK((*writer)->Commit());

  EXPECT_EQ(store().Stat("k", {})->size_bytes, 0);
}

TEST_P(ObjectStoreContract, EmptyWriteChangesNothing) {
  auto writer = Create("k", 3);
  MUSTER_ASSERT_OK(writer);

  MUSTER_EXPECT_OK((*writer)->Write(0, "abc"));
  MUSTER_EXPECT_OK((*writer)->Write(0, ""));
  MUSTER_EXPECT_OK((*writer)->Commit());

  EXPECT_THAT(ReadRange("k", 0, 3), IsOkAndHolds("abc"));
}

TEST_P(ObjectStoreContract, NothingIsVisibleBeforeCommit) {
  auto writer = Create("k", 3);
  MUSTER_ASSERT_OK(writer);
  MUSTER_ASSERT_OK((*writer)->Write(0, "abc"));

  EXPECT_THAT(store().Stat("k", {}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Keys(""), IsEmpty());

  MUSTER_ASSERT_OK((*writer)->Commit());
  EXPECT_THAT(Keys(""), ElementsAre("k"));
}

TEST_P(ObjectStoreContract, UncommittedWriterLeavesNothingBehind) {
  MUSTER_ASSERT_OK(Put("k", "old"));
  {
    auto writer = Create("k", 3);
    MUSTER_ASSERT_OK(writer);
    MUSTER_ASSERT_OK((*writer)->Write(0, "new"));
  }

  EXPECT_THAT(ReadRange("k", 0, 3), IsOkAndHolds("old"));
  ExpectNothingBehind(1);
}

TEST_P(ObjectStoreContract, LastOfTwoWritersToCommitWins) {
  auto first = Create("k", 3);
  auto second = Create("k", 3);
  MUSTER_ASSERT_OK(first);
  MUSTER_ASSERT_OK(second);
  MUSTER_ASSERT_OK((*first)->Write(0, "one"));
  MUSTER_ASSERT_OK((*second)->Write(0, "two"));

  MUSTER_EXPECT_OK((*second)->Commit());
  MUSTER_EXPECT_OK((*first)->Commit());

  EXPECT_THAT(ReadRange("k", 0, 3), IsOkAndHolds("one"));
}

TEST_P(ObjectStoreContract, WritesOutsideTheRulesAreInvalid) {
  const std::string part(kPart, 'p');
  auto writer = Create("k", 2 * kPart + 10);
  MUSTER_ASSERT_OK(writer);
  const auto invalid = StatusIs(absl::StatusCode::kInvalidArgument);
  MUSTER_ASSERT_OK((*writer)->Write(kPart, part));

  EXPECT_THAT((*writer)->Write(-kPart, part), invalid);
  EXPECT_THAT((*writer)->Write(1, part), invalid) << "not at a multiple of the part size";
  EXPECT_THAT((*writer)->Write(0, "short"), invalid) << "not a whole part";
  EXPECT_THAT((*writer)->Write(kPart, part), invalid) << "written already";
  EXPECT_THAT((*writer)->Write(0, part + part), invalid) << "overlaps its end";
  EXPECT_THAT((*writer)->Write(2 * kPart, std::string(11, 'x')), invalid) << "beyond the end";
  EXPECT_THAT((*writer)->Write(3 * kPart, part), invalid) << "beyond the end";
  EXPECT_THAT((*writer)->Write(std::numeric_limits<int64_t>::max() / kPart * kPart, part), invalid);

  MUSTER_EXPECT_OK((*writer)->Write(0, part));
  MUSTER_EXPECT_OK((*writer)->Write(2 * kPart, std::string(10, 'x')));
  MUSTER_EXPECT_OK((*writer)->Commit());
}

TEST_P(ObjectStoreContract, CommitWithMissingBytesIsRefusedUntilTheyAreThere) {
  auto writer = Create("k", kPart + 1);
  MUSTER_ASSERT_OK(writer);
  MUSTER_ASSERT_OK((*writer)->Write(kPart, "x"));

  EXPECT_THAT((*writer)->Commit(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Keys(""), IsEmpty());

  MUSTER_ASSERT_OK((*writer)->Write(0, std::string(kPart, 'p')));
  MUSTER_EXPECT_OK((*writer)->Commit());
}

TEST_P(ObjectStoreContract, WriterIsDoneAfterCommit) {
  auto writer = Create("k", 3);
  MUSTER_ASSERT_OK(writer);
  MUSTER_ASSERT_OK((*writer)->Write(0, "abc"));
  MUSTER_ASSERT_OK((*writer)->Commit());

  EXPECT_THAT((*writer)->Write(0, "xyz"), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT((*writer)->Commit(), StatusIs(absl::StatusCode::kFailedPrecondition));
  writer->reset();
  EXPECT_THAT(ReadRange("k", 0, 3), IsOkAndHolds("abc"));
}

TEST_P(ObjectStoreContract, WriteOptionsOutsideTheirBoundsAreInvalid) {
  EXPECT_THAT(store().Create("k", {.size_bytes = -1}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  for (const int64_t part : {int64_t{0}, int64_t{-1}, kPart - 1, 64 * kPart + 1}) {
    EXPECT_THAT(store().Create("k", {.size_bytes = 1, .part_size_bytes = part}),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  MUSTER_EXPECT_OK(store().Create("k", {.size_bytes = 1, .part_size_bytes = 64 * kPart}));
  ExpectNothingBehind(0);
}

TEST_P(ObjectStoreContract, CommitOverAnObjectThatMustNotExistIsRefused) {
  auto writer = Create("k", 3, /*must_not_exist=*/true);
  MUSTER_ASSERT_OK(writer);
  MUSTER_ASSERT_OK((*writer)->Write(0, "abc"));
  MUSTER_ASSERT_OK(Put("k", "old"));

  EXPECT_THAT((*writer)->Commit(), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("k")));

  writer->reset();
  EXPECT_THAT(ReadRange("k", 0, 3), IsOkAndHolds("old"));
  ExpectNothingBehind(1);
}

TEST_P(ObjectStoreContract, OneOfSeveralRacingCreatorsWins) {
  constexpr int kThreads = 4;
  for (int round = 0; round < 10; ++round) {
    const std::string key = absl::StrCat("round", round);
    std::atomic<int> won = 0;
    std::atomic<int> lost = 0;
    std::atomic<int> winner = -1;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const absl::StatusOr<ObjectInfo> put =
            store().Put(key, absl::StrCat(t), {.must_not_exist = true});
        if (put.ok()) {
          ++won;
          winner = t;
        }
        if (absl::IsAlreadyExists(put.status())) ++lost;
      });
    }
    for (std::thread& thread : threads) thread.join();

    EXPECT_EQ(won, 1);
    EXPECT_EQ(lost, kThreads - 1);
    EXPECT_THAT(ReadRange(key, 0, 1), IsOkAndHolds(absl::StrCat(winner.load())));
  }
  ExpectNothingBehind(10);
}

// Goal: a reader finds the old object or the new one, never a mixture.
TEST_P(ObjectReadContract, ReplacingIsAtomicForReaders) {
  const std::string a(20'000, 'a');
  const std::string b(20'000, 'b');
  MUSTER_ASSERT_OK(Put("k", a));
  std::atomic<bool> done = false;
  std::atomic<int> torn = 0;

  std::thread reader([&] {
    while (!done) {
      const absl::StatusOr<std::string> read = ReadRange("k", 0, a.size());
      if (!read.ok() || (*read != a && *read != b)) ++torn;
    }
  });
  for (int i = 0; i < 30; ++i) MUSTER_EXPECT_OK(Put("k", i % 2 == 0 ? b : a));
  done = true;
  reader.join();

  EXPECT_EQ(torn, 0);
}

TEST_P(ObjectStoreContract, ListIsInKeyOrderWithSizes) {
  const std::vector<std::string> keys = {
      "a-b", "a.txt", "a/b", "a/b.c/d",
      "a/c", "a0",    "b",   GetParam().takes_any_key ? "\xff" : "\xc3\xbc"};
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) MUSTER_ASSERT_OK(Put(*key, *key));

  const auto listed = store().List("", {});

  MUSTER_ASSERT_OK(listed);
  EXPECT_EQ(Keys(""), keys);
  for (const ObjectStore::ListedObject& object : *listed) {
    EXPECT_EQ(object.size_bytes, static_cast<int64_t>(object.key.size()));
  }
}

TEST_P(ObjectStoreContract, ListTakesAnyPrefix) {
  for (const char* key : {"a", "ab", "abc/d", "abc/de/f", "abd", "b"})
    MUSTER_ASSERT_OK(Put(key, ""));

  EXPECT_THAT(Keys("a"), ElementsAre("a", "ab", "abc/d", "abc/de/f", "abd"));
  EXPECT_THAT(Keys("ab"), ElementsAre("ab", "abc/d", "abc/de/f", "abd"));
  EXPECT_THAT(Keys("abc"), ElementsAre("abc/d", "abc/de/f"));
  EXPECT_THAT(Keys("abc/"), ElementsAre("abc/d", "abc/de/f"));
  EXPECT_THAT(Keys("abc/d"), ElementsAre("abc/d", "abc/de/f"));
  EXPECT_THAT(Keys("abc/de"), ElementsAre("abc/de/f"));
  EXPECT_THAT(Keys("abc/de/f"), ElementsAre("abc/de/f"));
  EXPECT_THAT(Keys("b/"), IsEmpty());
  EXPECT_THAT(Keys("zz"), IsEmpty());
  EXPECT_THAT(Keys("zz/y"), IsEmpty());
}

TEST_P(ObjectStoreContract, ListPagesVisitEveryObjectOnce) {
  std::vector<std::string> keys;
  for (const char* folder : {"", "p/", "p/q/", "p-/", "r/s/t/"}) {
    for (int i = 0; i < 7; ++i) keys.push_back(absl::StrCat(folder, "k", i));
  }
  for (const std::string& key : keys) MUSTER_ASSERT_OK(Put(key, ""));
  std::sort(keys.begin(), keys.end());

  for (const size_t limit : {1, 3, 7, 35, 36}) {
    std::vector<std::string> seen;
    while (true) {
      const std::vector<std::string> page = Keys("", seen.empty() ? "" : seen.back(), limit);
      ASSERT_LE(page.size(), limit);
      seen.insert(seen.end(), page.begin(), page.end());
      if (page.size() < limit) break;
    }
    EXPECT_EQ(seen, keys) << "pages of " << limit;
  }
}

TEST_P(ObjectStoreContract, ListGoesOnAfterAnyKey) {
  for (const char* key : {"a/b", "a/c", "b/x", "c"}) MUSTER_ASSERT_OK(Put(key, ""));

  EXPECT_THAT(Keys("", "a/bb"), ElementsAre("a/c", "b/x", "c"));
  EXPECT_THAT(Keys("", "a"), ElementsAre("a/b", "a/c", "b/x", "c"));
  EXPECT_THAT(Keys("", "a/"), ElementsAre("a/b", "a/c", "b/x", "c"));
  EXPECT_THAT(Keys("", "a0"), ElementsAre("b/x", "c"));
  EXPECT_THAT(Keys("b", "a"), ElementsAre("b/x"));
  EXPECT_THAT(Keys("a/", "b"), IsEmpty());
  EXPECT_THAT(Keys("", "c"), IsEmpty());
}

TEST_P(ObjectStoreContract, ListOfNoObjectsIsInvalid) {
  EXPECT_THAT(store().List("", {.after = "", .limit = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(ObjectStoreContract, DeleteRemovesAndMayBeRepeated) {
  MUSTER_ASSERT_OK(Put("a/k", "x"));
  MUSTER_ASSERT_OK(Put("a/l", "x"));

  MUSTER_EXPECT_OK(store().Delete("a/k"));
  MUSTER_EXPECT_OK(store().Delete("a/k"));
  MUSTER_EXPECT_OK(store().Delete("never/there"));

  EXPECT_THAT(store().Stat("a/k", {}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Keys(""), ElementsAre("a/l"));
  MUSTER_EXPECT_OK(store().Put("a/k", "again", {.must_not_exist = true}));
}

TEST_P(ReadOnlyObjectContract, EverythingButReadingIsUnimplementedAndNamesTheObject) {
  MUSTER_ASSERT_OK(Put("a/k", "x"));
  const auto refused = StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("a/k"));

  EXPECT_THAT(store().Put("a/k", "y", {}), refused);
  EXPECT_THAT(store().Create("a/k", {.size_bytes = 1}), refused);
  EXPECT_THAT(store().Delete("a/k"), refused);
  EXPECT_THAT(store().List("a/k", {}), refused);

  EXPECT_THAT(ReadRange("a/k", 0, 1), IsOkAndHolds("x"));
}

}  // namespace muster
