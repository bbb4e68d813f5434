#include "tests/contract/metadata_store_contract.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using Put = MetadataBatch::Put;
using Remove = MetadataBatch::Delete;
using RemoveRange = MetadataBatch::DeleteRange;
using Condition = MetadataBatch::Condition;

// After every key that the suite uses.
const std::string& End() {
  static const std::string* const end = new std::string(300, '\xff');
  return *end;
}

MetadataBatch Batch(std::vector<MetadataBatch::Operation> operations,
                    std::vector<Condition> conditions = {}) {
  return {std::move(conditions), std::move(operations)};
}

std::vector<std::string> Keys(const absl::StatusOr<std::vector<MetadataStore::Row>>& rows) {
  std::vector<std::string> keys;
  if (!rows.ok()) return {rows.status().ToString()};
  for (const MetadataStore::Row& row : *rows) keys.push_back(row.key);
  return keys;
}

std::vector<std::string> AllKeys(MetadataStore& store) {
  return Keys(store.Scan("", End(), 100'000));
}

}  // namespace

void MetadataStoreContract::SetUp() { Reopen(); }

void MetadataStoreContract::Reopen() {
  store_.reset();
  absl::StatusOr<std::unique_ptr<MetadataStore>> opened = GetParam().open(directory_.Join("store"));
  MUSTER_ASSERT_OK(opened);
  store_ = *std::move(opened);
}

TEST_P(MetadataStoreContract, GetOfAbsentRowIsNotFound) {
  EXPECT_THAT(store().Get("absent"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store().Get(""), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(MetadataStoreContract, GetReturnsWhatWasPut) {
  const std::string bytes("\0\xff\n\r\x80 text\0", 11);
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"k", "v"}, Put{bytes, bytes}, Put{"empty", ""}})));

  EXPECT_THAT(store().Get("k"), IsOkAndHolds("v"));
  EXPECT_THAT(store().Get(bytes), IsOkAndHolds(bytes));
  EXPECT_THAT(store().Get("empty"), IsOkAndHolds(""));
}

TEST_P(MetadataStoreContract, EmptyKeyIsAKey) {
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"", "v"}})));

  EXPECT_THAT(store().Get(""), IsOkAndHolds("v"));
  EXPECT_THAT(AllKeys(store()), ElementsAre(""));
}

TEST_P(MetadataStoreContract, PutReplacesAndDeleteRemoves) {
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"a", "1"}, Put{"b", "1"}})));
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"a", "2"}, Remove{"b"}, Remove{"absent"}})));

  EXPECT_THAT(store().Get("a"), IsOkAndHolds("2"));
  EXPECT_THAT(AllKeys(store()), ElementsAre("a"));
}

TEST_P(MetadataStoreContract, KeysAreOrderedAsUnsignedBytes) {
  std::vector<std::string> keys;
  for (int byte = 0; byte < 256; ++byte) {
    keys.push_back(std::string(1, static_cast<char>(byte)));
    keys.push_back(absl::StrCat(keys.back(), std::string(1, '\0')));
    keys.push_back(absl::StrCat(keys[keys.size() - 2], "z"));
  }
  MetadataBatch batch;
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    batch.operations.push_back(Put{*key, "v"});
    if (batch.operations.size() == 50) {
      MUSTER_ASSERT_OK(store().Commit(batch));
      batch.operations.clear();
    }
  }
  MUSTER_ASSERT_OK(store().Commit(batch));

  EXPECT_EQ(AllKeys(store()), keys);
}

TEST_P(MetadataStoreContract, ScanIncludesItsBeginAndNotItsEnd) {
  MUSTER_ASSERT_OK(
      store().Commit(Batch({Put{"a", "1"}, Put{"b", "2"}, Put{"ba", "3"}, Put{"c", "4"}})));

  EXPECT_THAT(Keys(store().Scan("b", "c", 10)), ElementsAre("b", "ba"));
  EXPECT_THAT(Keys(store().Scan("aa", "ba", 10)), ElementsAre("b"));
  EXPECT_THAT(Keys(store().Scan(absl::string_view("b\0", 2), "d", 10)), ElementsAre("ba", "c"));
  EXPECT_THAT(Keys(store().Scan("b", "b", 10)), IsEmpty());
  EXPECT_THAT(Keys(store().Scan("c", "a", 10)), IsEmpty());
  EXPECT_THAT(Keys(store().Scan("", "", 10)), IsEmpty());
}

TEST_P(MetadataStoreContract, ScanReturnsValues) {
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"a", std::string(3, '\0')}, Put{"b", ""}})));

  const absl::StatusOr<std::vector<MetadataStore::Row>> rows = store().Scan("a", "z", 10);

  MUSTER_ASSERT_OK(rows);
  ASSERT_THAT(*rows, SizeIs(2));
  EXPECT_EQ((*rows)[0].value, std::string(3, '\0'));
  EXPECT_EQ((*rows)[1].value, "");
}

TEST_P(MetadataStoreContract, ScanOfNoRowsIsInvalid) {
  EXPECT_THAT(store().Scan("a", "z", 0), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(MetadataStoreContract, ScanTakesAnyLimit) {
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"a", "1"}})));

  EXPECT_THAT(Keys(store().Scan("a", "z", SIZE_MAX)), ElementsAre("a"));
}

TEST_P(MetadataStoreContract, PagingVisitsEveryRowOnce) {
  std::vector<std::string> keys;
  for (int i = 0; i < 23; ++i) {
    keys.push_back(std::string(static_cast<size_t>(i), '\0'));
    MUSTER_ASSERT_OK(store().Commit(Batch({Put{keys.back(), "v"}})));
  }

  std::vector<std::string> seen;
  std::string begin;
  while (true) {
    const absl::StatusOr<std::vector<MetadataStore::Row>> page = store().Scan(begin, End(), 5);
    MUSTER_ASSERT_OK(page);
    ASSERT_LE(page->size(), 5u);
    for (const MetadataStore::Row& row : *page) seen.push_back(row.key);
    if (page->size() < 5) break;
    begin = absl::StrCat(page->back().key, std::string(1, '\0'));
  }
  EXPECT_EQ(seen, keys);
}

TEST_P(MetadataStoreContract, DeleteRangeIncludesItsBeginAndNotItsEnd) {
  MUSTER_ASSERT_OK(store().Commit(
      Batch({Put{"a", ""}, Put{"b", ""}, Put{"b\xff\xff", ""}, Put{"c", ""}, Put{"d", ""}})));

  MUSTER_ASSERT_OK(store().Commit(Batch({RemoveRange{"b", "c"}})));

  EXPECT_THAT(AllKeys(store()), ElementsAre("a", "c", "d"));
  EXPECT_THAT(store().Get("b"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store().Get("c"), IsOk());
}

TEST_P(MetadataStoreContract, EmptyDeleteRangeDeletesNothing) {
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"a", ""}, Put{"b", ""}})));

  MUSTER_ASSERT_OK(
      store().Commit(Batch({RemoveRange{"b", "a"}, RemoveRange{"a", "a"}, RemoveRange{"", ""}})));

  EXPECT_THAT(AllKeys(store()), ElementsAre("a", "b"));
}

TEST_P(MetadataStoreContract, OperationsAreCarriedOutInOrder) {
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"a", "0"}, Put{"b", "0"}})));

  MUSTER_ASSERT_OK(
      store().Commit(Batch({Put{"a", "1"}, RemoveRange{"a", "c"}, Put{"b", "2"}, Put{"c", "1"},
                            Remove{"c"}, Put{"d", "1"}, Remove{"d"}, Put{"d", "2"}})));

  EXPECT_THAT(AllKeys(store()), ElementsAre("b", "d"));
  EXPECT_THAT(store().Get("b"), IsOkAndHolds("2"));
  EXPECT_THAT(store().Get("d"), IsOkAndHolds("2"));
}

TEST_P(MetadataStoreContract, ConditionsThatHoldLetTheBatchThrough) {
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"a", "1"}, Put{"empty", ""}})));

  MUSTER_EXPECT_OK(store().Commit(
      Batch({Put{"a", "2"}}, {{"a", "1"}, {"empty", ""}, {"absent", std::nullopt}})));

  EXPECT_THAT(store().Get("a"), IsOkAndHolds("2"));
}

TEST_P(MetadataStoreContract, ConditionThatDoesNotHoldWritesNothing) {
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"a", "1"}, Put{"empty", ""}})));
  const std::vector<Condition> failing = {{"a", "2"},   {"a", "1x"},
                                          {"a", ""},    {"a", std::nullopt},
                                          {"gone", ""}, {"empty", std::nullopt}};

  for (const Condition& condition : failing) {
    EXPECT_THAT(store().Commit(Batch({Put{"new", "v"}, Remove{"a"}, RemoveRange{"", "z"}},
                                     {{"a", "1"}, condition})),
                StatusIs(absl::StatusCode::kAborted));
  }

  EXPECT_THAT(AllKeys(store()), ElementsAre("a", "empty"));
}

TEST_P(MetadataStoreContract, ConditionsLookAtTheStateBeforeTheBatch) {
  EXPECT_THAT(store().Commit(Batch({Put{"a", "1"}}, {{"a", "1"}})),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(store().Commit(Batch({Put{"a", "1"}}, {{"a", std::nullopt}})), IsOk());
}

TEST_P(MetadataStoreContract, AbortedCommitDoesNotHinderTheNext) {
  ASSERT_THAT(store().Commit(Batch({}, {{"a", "1"}})), StatusIs(absl::StatusCode::kAborted));

  MUSTER_EXPECT_OK(store().Commit(Batch({Put{"a", "1"}})));
}

TEST_P(MetadataStoreContract, EmptyBatchIsFine) {
  MUSTER_EXPECT_OK(store().Commit(MetadataBatch{}));
}

TEST_P(MetadataStoreContract, BatchAtTheOperationLimitIsWritten) {
  const size_t limit = store().limits().batch_operations_max;
  MetadataBatch batch;
  batch.conditions.push_back({"absent", std::nullopt});
  for (size_t i = 1; i < limit; ++i) batch.operations.push_back(Put{absl::StrCat("k", i), ""});

  MUSTER_EXPECT_OK(store().Commit(batch));

  EXPECT_THAT(AllKeys(store()), SizeIs(limit - 1));
}

TEST_P(MetadataStoreContract, BatchBeyondTheOperationLimitWritesNothing) {
  const size_t limit = store().limits().batch_operations_max;
  MetadataBatch batch;
  batch.conditions.push_back({"absent", std::nullopt});
  for (size_t i = 0; i < limit; ++i) batch.operations.push_back(Put{absl::StrCat("k", i), ""});

  EXPECT_THAT(store().Commit(batch), StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_THAT(AllKeys(store()), IsEmpty());
}

TEST_P(MetadataStoreContract, ValueAtTheLimitIsKeptAndBeyondItRefused) {
  const size_t limit = store().limits().value_bytes_max;

  MUSTER_EXPECT_OK(store().Commit(Batch({Put{"at", std::string(limit, 'v')}})));
  EXPECT_THAT(
      store().Commit(Batch({Put{"small", "v"}, Put{"beyond", std::string(limit + 1, 'v')}})),
      StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_THAT(store().Get("at"), IsOkAndHolds(std::string(limit, 'v')));
  EXPECT_THAT(AllKeys(store()), ElementsAre("at"));
}

TEST_P(MetadataStoreContract, BytesAtTheLimitAreWrittenAndBeyondItRefused) {
  const MetadataStore::Limits limits = store().limits();
  MetadataBatch batch;
  for (int i = 0; batch.SizeBytes() < limits.batch_bytes_max; ++i) {
    const std::string key = absl::StrCat("k", i);
    const size_t left = limits.batch_bytes_max - batch.SizeBytes();
    ASSERT_GT(left, key.size());
    const size_t value = std::min(limits.value_bytes_max, left - key.size());
    // Leaves room for one more key rather than a rest that is too short for one.
    const size_t rest = left - key.size() - value;
    batch.operations.push_back(
        Put{key, std::string(rest > 0 && rest < 16 ? value - 16 : value, 'v')});
  }
  ASSERT_EQ(batch.SizeBytes(), limits.batch_bytes_max);
  MetadataBatch beyond = batch;
  beyond.conditions.push_back({"x", std::nullopt});

  EXPECT_THAT(store().Commit(beyond), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(AllKeys(store()), IsEmpty());
  MUSTER_EXPECT_OK(store().Commit(batch));
  EXPECT_THAT(AllKeys(store()), SizeIs(batch.operations.size()));
}

TEST_P(MetadataStoreContract, LimitsAllowWhatTheServerNeeds) {
  // No command needs more than 50 rows or 512 KiB at once, and no row more than 256 KiB.
  EXPECT_GE(store().limits().batch_operations_max, 100u);
  EXPECT_GE(store().limits().batch_bytes_max, size_t{1} << 20);
  EXPECT_EQ(store().limits().value_bytes_max, size_t{256} << 10);
}

TEST_P(MetadataStoreContract, LeadsAndTellsFreeSpace) {
  MUSTER_EXPECT_OK(store().CheckLeadership());
  const absl::StatusOr<std::optional<int64_t>> free = store().FreeBytes();
  MUSTER_ASSERT_OK(free);
  EXPECT_GE(free->value_or(0), 0);
}

// Goal: a condition and its write are one step. Threads count one row up by compare and swap.
TEST_P(MetadataStoreContract, ConcurrentConditionalCommitsLoseNoUpdate) {
  constexpr int kThreads = 4;
  constexpr int kIncrements = 25;
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"counter", "0"}})));
  std::atomic<int> failures = 0;

  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, &failures] {
      for (int done = 0; done < kIncrements;) {
        const absl::StatusOr<std::string> value = store().Get("counter");
        if (!value.ok()) {
          ++failures;
          return;
        }
        const absl::Status status = store().Commit(
            Batch({Put{"counter", absl::StrCat(std::stoi(*value) + 1)}}, {{"counter", *value}}));
        if (status.ok()) ++done;
        if (!status.ok() && !absl::IsAborted(status)) {
          ++failures;
          return;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(failures, 0);
  EXPECT_THAT(store().Get("counter"), IsOkAndHolds(absl::StrCat(kThreads * kIncrements)));
}

// Goal: a reader never sees half a batch. The writer moves two rows together; a scan must find them
// equal.
TEST_P(MetadataStoreContract, ScanSeesBatchesWholeWhileTheyAreWritten) {
  MUSTER_ASSERT_OK(store().Commit(Batch({Put{"a", "0"}, Put{"b", "0"}})));
  std::atomic<bool> done = false;
  std::atomic<int> torn = 0;

  std::thread reader([&] {
    while (!done) {
      const absl::StatusOr<std::vector<MetadataStore::Row>> rows = store().Scan("a", "c", 10);
      if (!rows.ok() || rows->size() != 2 || (*rows)[0].value != (*rows)[1].value) ++torn;
    }
  });
  for (int i = 1; i <= 100; ++i) {
    MUSTER_EXPECT_OK(store().Commit(Batch({Put{"a", absl::StrCat(i)}, Put{"b", absl::StrCat(i)}})));
  }
  done = true;
  reader.join();

  EXPECT_EQ(torn, 0);
}

TEST_P(MetadataStoreContract, ReopeningFindsWhatWasCommitted) {
  if (!GetParam().survives_reopening) GTEST_SKIP() << "the backend keeps nothing";
  const std::string big(store().limits().value_bytes_max, 'b');
  MUSTER_ASSERT_OK(
      store().Commit(Batch({Put{"a", "1"}, Put{"b", big}, Put{"c", "1"}, Put{"d", "1"}})));
  MUSTER_ASSERT_OK(store().Commit(Batch({Remove{"a"}, RemoveRange{"c", "d"}})));

  Reopen();

  EXPECT_THAT(AllKeys(store()), ElementsAre("b", "d"));
  EXPECT_THAT(store().Get("b"), IsOkAndHolds(big));
  MUSTER_EXPECT_OK(store().Commit(Batch({Put{"e", "1"}}, {{"d", "1"}, {"a", std::nullopt}})));
}

}  // namespace muster
