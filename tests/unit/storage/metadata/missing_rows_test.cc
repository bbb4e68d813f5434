// Goal: a store that lost acknowledged rows does not open, unless the loss is accepted, and a refusal
// changes nothing (invariant 1). Method: damage to the files of a store as a killed process leaves it.
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/random.h"
#include "storage/metadata/log_records.h"
#include "storage/metadata/rocksdb_metadata_store.h"
#include "storage/metadata/rocksdb_options.h"
#include "storage/metadata/store_files.h"
#include "storage/metadata/store_marker.h"
#include "storage/metadata/witness.h"
#include "storage/metadata/write_ahead_logs.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;

namespace fs = std::filesystem;

constexpr int kBatches = 40;

MetadataBatch RowBatch(int number) {
  MetadataBatch batch;
  batch.operations.push_back(
      MetadataBatch::Put{absl::StrCat("k", 1000 + number), std::string(number * 7, 'v')});
  batch.revision = static_cast<uint64_t>(number);
  return batch;
}

std::vector<std::string> NamesIn(const std::string& path) {
  return ListStoreFiles(path).value_or(std::vector<std::string>());
}

class MissingRowsTest : public testing::Test {
 protected:
  MissingRowsTest() {
    {
      // Its rows are in a table, and MANIFEST and CURRENT are not the first ones.
      auto store = NewRocksdbMetadataStore(path_);
      history_ = CheckStoreMarker(*random_, **store, "")->history_id;
      for (int i = 1; i <= kBatches / 2; ++i) MUSTER_EXPECT_OK((*store)->Commit(RowBatch(i)));
    }
    auto store = NewRocksdbMetadataStore(path_);
    for (int i = kBatches / 2 + 1; i <= kBatches; ++i) {
      MUSTER_EXPECT_OK((*store)->Commit(RowBatch(i)));
    }
    // As kill -9 leaves it.
    fs::copy(path_, crashed_, fs::copy_options::recursive);
  }

  // A fresh copy of what the killed process left.
  std::string Crashed() {
    const std::string copy = directory_.Join(absl::StrCat("copy", copies_++));
    fs::copy(crashed_, copy, fs::copy_options::recursive);
    return copy;
  }

  static std::string NewestWithRows(const std::string& path, const std::string& suffix) {
    std::string newest;
    for (const std::string& name : NamesIn(path)) {
      const bool fits =
          suffix == "MANIFEST" ? absl::StartsWith(name, suffix) : absl::EndsWith(name, suffix);
      if (fits && fs::file_size(path + "/" + name) > 0) newest = path + "/" + name;
    }
    EXPECT_NE(newest, "") << suffix;
    return newest;
  }

  // Of the newest log: the end of each batch, right before it, and within.
  std::vector<size_t> Cuts() {
    const std::string log = *ReadStoreFile(NewestWithRows(crashed_, ".log"));
    std::vector<size_t> cuts = {0};
    LogRecords records(log);
    while (const auto record = records.Next()) {
      cuts.push_back(record->begin + 3);
      cuts.push_back((record->begin + record->end) / 2);
      cuts.push_back(record->end - 1);
      if (record->end < log.size()) cuts.push_back(record->end);
    }
    EXPECT_GT(cuts.size(), 60u);
    return cuts;
  }

  static std::map<std::string, std::string> FilesOf(const std::string& path) {
    std::map<std::string, std::string> files;
    for (const std::string& name : NamesIn(path)) {
      // RocksDB's lock, and its log of what it does.
      if (!absl::StartsWith(name, "LO")) files[name] = *ReadStoreFile(path + "/" + name);
    }
    return files;
  }

  static int RowsIn(MetadataStore& store) {
    const auto rows = store.Scan("k", "l", 1000);
    EXPECT_THAT(rows, IsOk());
    return rows.ok() ? static_cast<int>(rows->size()) : -1;
  }

  // Opens it: all rows are there, or it is refused and nothing was changed.
  static void ExpectCompleteOrRefused(const std::string& path, const std::string& what) {
    const std::map<std::string, std::string> before = FilesOf(path);
    const auto store = NewRocksdbMetadataStore(path);
    if (store.ok()) {
      // A damaged block of a table is found when it is read.
      const auto rows = (*store)->Scan("k", "l", 1000);
      if (rows.ok()) {
        EXPECT_EQ(rows->size(), static_cast<size_t>(kBatches)) << what;
      } else {
        EXPECT_THAT(rows, StatusIs(absl::StatusCode::kDataLoss)) << what;
      }
      return;
    }
    EXPECT_THAT(store, StatusIs(absl::StatusCode::kDataLoss)) << what;
    EXPECT_TRUE(FilesOf(path) == before) << what << ": a file was changed; " << store.status();
  }

  void ExpectRefused(const std::string& path, const std::string& text) {
    const std::map<std::string, std::string> before = FilesOf(path);
    EXPECT_THAT(NewRocksdbMetadataStore(path),
                StatusIs(absl::StatusCode::kDataLoss, AllOf(HasSubstr(text), HasSubstr(path))));
    EXPECT_TRUE(FilesOf(path) == before) << "a file was changed";
  }

  // Opens it with what is there, and then in the ordinary way. Returns how many rows there are.
  int AcceptLoss(const std::string& path) {
    RocksdbOpenOptions options;
    options.history_after_loss = random_->NextId();
    auto opened = OpenRocksdbMetadataStore(path, options);
    EXPECT_THAT(opened, IsOk());
    if (!opened.ok()) return -1;
    EXPECT_NE(opened->lost, "");
    const int rows = RowsIn(*opened->store);
    // It is the first rows of those that were acknowledged.
    for (int i = 1; i <= rows; ++i)
      EXPECT_THAT(opened->store->Get(absl::StrCat("k", 1000 + i)), IsOk());
    EXPECT_EQ(CheckStoreMarker(*random_, *opened->store, "")->history_id,
              options.history_after_loss);
    MUSTER_EXPECT_OK(opened->store->Commit(RowBatch(kBatches + 1)));
    opened->store.reset();
    auto again = NewRocksdbMetadataStore(path);
    EXPECT_THAT(again, IsOk());
    EXPECT_EQ(RowsIn(**again), rows + 1);
    EXPECT_EQ(CheckStoreMarker(*random_, **again, "")->history_id, options.history_after_loss);
    return rows;
  }

  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  TemporaryDirectory directory_;
  const std::string path_ = directory_.Join("data");
  const std::string crashed_ = directory_.Join("crashed");
  std::string history_;
  int copies_ = 0;
};

TEST_F(MissingRowsTest, WithoutDamageEverythingIsThere) {
  const std::string path = Crashed();
  auto store = NewRocksdbMetadataStore(path);
  MUSTER_ASSERT_OK(store);
  EXPECT_EQ(RowsIn(**store), kBatches);
  EXPECT_EQ(CheckStoreMarker(*random_, **store, "")->history_id, history_);
}

TEST_F(MissingRowsTest, EveryCutOfTheLogIsRefused) {
  for (const size_t cut : Cuts()) {
    const std::string path = Crashed();
    fs::resize_file(NewestWithRows(path, ".log"), cut);
    ExpectRefused(path, "the newest acknowledged is revision 40, and the store ends at");
    fs::remove_all(path);
  }
}

TEST_F(MissingRowsTest, EveryCutBehindTheWitnessOpensWithTheBatchesBeforeIt) {
  const std::string log = *ReadStoreFile(NewestWithRows(crashed_, ".log"));
  for (const size_t cut : Cuts()) {
    const std::string path = Crashed();
    // As after a power loss, which takes what was not synced: the witness was older.
    const uint64_t sequence = WalkLog(log, 0).first_sequence - 1;
    MUSTER_ASSERT_OK(Witness::Make(path, {.sequence = sequence}));
    fs::resize_file(NewestWithRows(path, ".log"), cut);
    const LogWalk walk = WalkLog(log.substr(0, cut), 0);
    const auto store = NewRocksdbMetadataStore(path);
    MUSTER_ASSERT_OK(store);
    const int whole =
        walk.next_sequence == 0 ? 0 : static_cast<int>(walk.next_sequence - walk.first_sequence);
    ASSERT_EQ(RowsIn(**store), kBatches / 2 + whole) << cut;
    fs::remove_all(path);
  }
}

TEST_F(MissingRowsTest, NoFileOfTheStoreCanBeDamagedUnseen) {
  const std::vector<std::string> files = {
      ".log", ".sst", "MANIFEST", "CURRENT", "OPTIONS", "IDENTITY", std::string(kWitnessFile)};
  const std::unique_ptr<Random> chance = NewSeededRandom(7);
  for (const std::string& kind : files) {
    for (int round = 0; round < 24; ++round) {
      const std::string path = Crashed();
      std::string file = path + "/" + kind;
      if (kind[0] == '.' || kind == "MANIFEST") file = NewestWithRows(path, kind);
      if (kind == "OPTIONS")
        file = path + "/" + [&] {
          for (const std::string& name : NamesIn(path)) {
            if (absl::StartsWith(name, kind)) return name;
          }
          return std::string();
        }();
      std::string bytes = *ReadStoreFile(file);
      const size_t at = chance->Below(bytes.size());
      const std::string what = absl::StrCat(kind, " round ", round, " byte ", at);
      if (round == 0) {
        fs::remove(file);
      } else if (round == 1) {
        fs::resize_file(file, 0);
      } else if (round < 9) {
        fs::resize_file(file, at);
      } else {
        bytes[at] = static_cast<char>(bytes[at] ^ (round % 2 == 0 ? 1 << round % 8 : 0xff));
        std::ofstream(file, std::ios::binary) << bytes;
      }
      ExpectCompleteOrRefused(path, what);
      fs::remove_all(path);
    }
  }
}

TEST_F(MissingRowsTest, LossThatIsAcceptedLeavesTheFirstRowsAndANewHistory) {
  {
    const std::string path = Crashed();
    fs::resize_file(NewestWithRows(path, ".log"), fs::file_size(NewestWithRows(path, ".log")) / 2);
    const int rows = AcceptLoss(path);
    EXPECT_GT(rows, kBatches / 2);
    EXPECT_LT(rows, kBatches);
  }
  {
    const std::string path = Crashed();
    fs::remove(NewestWithRows(path, ".log"));
    EXPECT_EQ(AcceptLoss(path), kBatches / 2);
  }
  {
    // Whole batches follow behind the damage, and must not be used: it would be a store with a hole.
    const std::string path = Crashed();
    const std::string file = NewestWithRows(path, ".log");
    std::string bytes = *ReadStoreFile(file);
    bytes[bytes.size() / 2] ^= 1;
    std::ofstream(file, std::ios::binary) << bytes;
    ExpectRefused(path, "a whole batch follows");
    const int rows = AcceptLoss(path);
    EXPECT_GT(rows, kBatches / 2);
    EXPECT_LT(rows, kBatches);
  }
}

TEST_F(MissingRowsTest, WitnessThatIsGoneIsMissed) {
  const std::string path = Crashed();
  fs::remove(path + "/WITNESS");
  ExpectRefused(path, "WITNESS file is missing");
  EXPECT_EQ(AcceptLoss(path), kBatches);

  const std::string damaged = Crashed();
  fs::resize_file(damaged + "/WITNESS", 0);
  ExpectRefused(damaged, "WITNESS file is damaged");
  EXPECT_EQ(AcceptLoss(damaged), kBatches);
}

TEST_F(MissingRowsTest, AcceptingALossThatIsNoneChangesNoHistory) {
  const std::string path = Crashed();
  RocksdbOpenOptions options;
  options.history_after_loss = std::string(32, 'a');
  auto opened = OpenRocksdbMetadataStore(path, options);
  MUSTER_ASSERT_OK(opened);
  EXPECT_EQ(opened->lost, "");
  EXPECT_EQ(CheckStoreMarker(*random_, *opened->store, "")->history_id, history_);
}

TEST_F(MissingRowsTest, StoreOfAnOlderBuildOpensWithoutAWitness) {
  const std::string path = directory_.Join("old");
  {
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(StoreOptions(), path, &db).ok());
    const std::unique_ptr<rocksdb::DB> owned(db);
    rocksdb::WriteOptions sync;
    sync.sync = true;
    ASSERT_TRUE(db->Put(sync, "k1", "v").ok());
  }
  auto store = NewRocksdbMetadataStore(path);
  MUSTER_ASSERT_OK(store);
  EXPECT_EQ(RowsIn(**store), 1);
}

TEST_F(MissingRowsTest, ErrorSaysInTheCallersWordsWhereTheStoreEnds) {
  const std::string path = Crashed();
  fs::remove(NewestWithRows(path, ".log"));
  RocksdbOpenOptions options;
  options.describe_end = [](MetadataStore& store) { return absl::StrCat("row ", RowsIn(store)); };
  EXPECT_THAT(OpenRocksdbMetadataStore(path, options),
              StatusIs(absl::StatusCode::kDataLoss,
                       HasSubstr("is revision 40, and the store ends at row 20 (operation ")));
}

// A log that RocksDB has closed, and has not made a table of: only RocksDB knows that it is needed.
TEST_F(MissingRowsTest, ClosedLogThatIsGoneOrCutIsMissed) {
  const std::string source = directory_.Join("two-logs");
  rocksdb::Options options = StoreOptions();
  options.write_buffer_size = 64 << 10;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, source, &db).ok());
  std::unique_ptr<rocksdb::DB> owned(db);
  ASSERT_TRUE(db->PauseBackgroundWork().ok());
  rocksdb::WriteOptions sync;
  sync.sync = true;
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(db->Put(sync, absl::StrCat("k", 1001 + i), std::string(10'000, 'v')).ok());
  }
  MUSTER_ASSERT_OK(Witness::Make(source, {.sequence = db->GetLatestSequenceNumber()}));
  std::vector<std::string> logs;
  for (const std::string& name : NamesIn(source)) {
    if (WriteAheadLogNumber(name).has_value()) logs.push_back(name);
  }
  ASSERT_GE(logs.size(), 2u);
  const auto copy = [&](const std::string& name) {
    fs::copy(source, directory_.Join(name), fs::copy_options::recursive);
    return directory_.Join(name);
  };
  const std::string whole = copy("whole"), gone = copy("gone"), cut = copy("cut");
  ASSERT_TRUE(db->ContinueBackgroundWork().ok());
  fs::remove(gone + "/" + logs[0]);
  fs::resize_file(cut + "/" + logs[0], fs::file_size(cut + "/" + logs[0]) / 2);

  EXPECT_EQ(RowsIn(**NewRocksdbMetadataStore(whole)), 12);
  EXPECT_THAT(NewRocksdbMetadataStore(gone),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr("Missing WAL"), HasSubstr("--accept-loss"))));
  EXPECT_THAT(NewRocksdbMetadataStore(cut),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("what is between them is missing")));
  // The logs behind it must not be replayed over the hole.
  EXPECT_EQ(AcceptLoss(gone), 0);
  EXPECT_LT(AcceptLoss(cut), 6);
}

TEST_F(MissingRowsTest, LookingChangesNothingAndKeepsOthersOut) {
  const std::string path = Crashed();
  const std::map<std::string, std::string> before = FilesOf(path);
  {
    const auto opened = OpenRocksdbReadOnly(path);
    MUSTER_ASSERT_OK(opened);
    EXPECT_EQ(RowsIn(*opened->store), kBatches);
    EXPECT_EQ(opened->state.acknowledged_revision, 40u);
    EXPECT_FALSE(opened->store->Commit(RowBatch(1)).ok());
    EXPECT_THAT(NewRocksdbMetadataStore(path), StatusIs(absl::StatusCode::kFailedPrecondition));
  }
  EXPECT_TRUE(FilesOf(path) == before) << "a file was changed";
  EXPECT_THAT(OpenRocksdbReadOnly(directory_.Join("absent")),
              StatusIs(absl::StatusCode::kNotFound));
  const auto running = NewRocksdbMetadataStore(path);
  EXPECT_THAT(OpenRocksdbReadOnly(path),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("in use")));
}

TEST_F(MissingRowsTest, LookingFindsADamagedBlock) {
  const std::string path = Crashed();
  const std::string file = NewestWithRows(path, ".sst");
  std::string bytes = *ReadStoreFile(file);
  bytes[10] ^= 1;
  std::ofstream(file, std::ios::binary) << bytes;

  EXPECT_THAT(OpenRocksdbReadOnly(path), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(path)));
}

}  // namespace
}  // namespace muster
