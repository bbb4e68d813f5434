// Goal: damage of a log is told from its torn end, at every byte. Method: logs that the real RocksDB
// wrote, with batches in one fragment, in many, and at the ends of blocks.
#include "storage/metadata/write_ahead_logs.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/metadata/log_records.h"
#include "storage/metadata/rocksdb_metadata_store.h"
#include "storage/metadata/store_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using testing::HasSubstr;

namespace fs = std::filesystem;

constexpr size_t kBlock = 32 << 10;

// One of each: small, of several operations, over four blocks, small again.
std::vector<MetadataBatch> Batches() {
  std::vector<MetadataBatch> batches;
  const std::vector<size_t> sizes = {10, 100, 40'000, 1, 7'000, 50, 7, 300};
  for (size_t i = 0; i < sizes.size(); ++i) {
    MetadataBatch batch;
    for (size_t row = 0; row <= i % 3; ++row) {
      batch.operations.push_back(
          MetadataBatch::Put{absl::StrCat("k", i, "-", row), std::string(sizes[i], 'a' + i)});
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

class WriteAheadLogsTest : public testing::Test {
 protected:
  // The bytes of the only log of a store that committed `batches`.
  std::string LogOf(const std::vector<MetadataBatch>& batches) {
    const absl::StatusOr<std::unique_ptr<MetadataStore>> store = NewRocksdbMetadataStore(path_);
    EXPECT_THAT(store, IsOk());
    for (const MetadataBatch& batch : batches) MUSTER_EXPECT_OK((*store)->Commit(batch));
    for (const fs::directory_entry& entry : fs::directory_iterator(path_)) {
      if (entry.path().extension() == ".log") return *ReadStoreFile(entry.path());
    }
    ADD_FAILURE() << "there is no log";
    return "";
  }

  // Where each batch of the log ends.
  static std::vector<size_t> Ends(const std::string& log) {
    std::vector<size_t> ends;
    LogRecords records(log);
    while (const auto record = records.Next()) ends.push_back(record->end);
    EXPECT_TRUE(records.is_clean());
    return ends;
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.Join("data");
};

TEST_F(WriteAheadLogsTest, WholeLogIsReadToItsEnd) {
  const std::string log = LogOf(Batches());

  const LogWalk walk = WalkLog(log, 0);

  EXPECT_EQ(walk.damage, "");
  EXPECT_EQ(walk.first_sequence, 1u);
  EXPECT_EQ(walk.next_sequence, 1u + 1 + 2 + 3 + 1 + 2 + 3 + 1 + 2);
  EXPECT_EQ(walk.whole_bytes, log.size());
  EXPECT_EQ(Ends(log).size(), Batches().size());
}

TEST_F(WriteAheadLogsTest, EveryCutIsATornEndWithTheBatchesBeforeIt) {
  const std::string log = LogOf(Batches());
  const std::vector<size_t> ends = Ends(log);
  const uint64_t next = WalkLog(log, 0).next_sequence;

  size_t whole = 0;
  uint64_t last = 0;
  // Every one around the beginnings of fragments, and some of those within payloads.
  const auto near = [](size_t cut, size_t at) { return cut + 20 > at && cut < at + 40; };
  for (size_t cut = 0; cut <= log.size(); ++cut) {
    bool looked_at = cut % 97 == 0 || near(cut % kBlock, 0) || cut == log.size();
    for (const size_t end : ends) looked_at = looked_at || near(cut, end);
    if (!looked_at) continue;
    while (whole < ends.size() && ends[whole] <= cut) ++whole;
    const LogWalk walk = WalkLog(absl::string_view(log).substr(0, cut), 1);
    ASSERT_EQ(walk.damage, "") << cut;
    ASSERT_GE(walk.next_sequence, last) << cut;
    ASSERT_GE(walk.whole_bytes, whole == 0 ? 0 : ends[whole - 1]) << cut;
    last = walk.next_sequence;
  }
  EXPECT_EQ(last, next);
}

// A crash may leave zeros where the last batch was to be.
TEST_F(WriteAheadLogsTest, ZerosBehindTheWholeBatchesAreATornEnd) {
  const std::string log = LogOf(Batches());
  for (const size_t end : Ends(log)) {
    for (const size_t zeros : {size_t{1}, size_t{6}, size_t{7}, size_t{100}, 2 * kBlock}) {
      const std::string torn = log.substr(0, end) + std::string(zeros, '\0');
      EXPECT_EQ(WalkLog(torn, 1).damage, "") << end << " " << zeros;
    }
  }
}

// A bit that is flipped anywhere is found, or is in the last batch, which the walk then leaves out; the
// witness tells whether that one was acknowledged.
TEST_F(WriteAheadLogsTest, EveryByteThatIsDamagedIsFoundOrCutsTheLastBatch) {
  const std::string log = LogOf(Batches());
  const std::vector<size_t> ends = Ends(log);
  const LogWalk whole = WalkLog(log, 1);
  const size_t last_begin = ends[ends.size() - 2];
  int found = 0;
  for (size_t at = 0; at < log.size(); ++at) {
    // Payloads are of one kind: each of their bytes is covered by the checksum as the next one is.
    if (at % kBlock > 64 && at % 397 != 0 && at + 600 < log.size() && log[at] == log[at + 1])
      continue;
    for (const int bit : {0, 3, 7}) {
      std::string damaged = log;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const LogWalk walk = WalkLog(damaged, 1);
      if (walk.damage.empty()) {
        ASSERT_GE(at, last_begin) << "bit " << bit;
        ASSERT_LT(walk.next_sequence, whole.next_sequence) << at << " bit " << bit;
      }
      ++found;
    }
  }
  EXPECT_GT(found, 1'000);
}

TEST_F(WriteAheadLogsTest, ZeroedHeadersAndBlocksAreDamage) {
  const std::string log = LogOf(Batches());
  std::vector<size_t> begins = Ends(log);
  begins.insert(begins.begin(), 0);
  begins.resize(begins.size() - 2);  // Neither the end nor the last batch.
  for (const size_t begin : begins) {
    for (const size_t zeroed : {size_t{7}, size_t{11}, size_t{20}}) {
      std::string damaged = log;
      damaged.replace(begin, zeroed, std::string(zeroed, '\0'));
      EXPECT_THAT(WalkLog(damaged, 1).damage, HasSubstr("a whole batch follows"))
          << begin << " " << zeroed;
    }
  }
  std::string damaged = log;
  damaged.replace(0, 4096, std::string(4096, '\0'));
  EXPECT_THAT(WalkLog(damaged, 0).damage, HasSubstr("a whole batch follows"));
}

TEST_F(WriteAheadLogsTest, RemovedAndRepeatedPartsAreDamage) {
  MetadataBatch batch;
  batch.operations.push_back(MetadataBatch::Put{"k", "v"});
  const std::string log = LogOf(std::vector<MetadataBatch>(10, batch));
  const std::vector<size_t> ends = Ends(log);
  const size_t third = ends[2] - ends[1];

  EXPECT_THAT(WalkLog(log.substr(0, ends[1]) + log.substr(ends[2]), 1).damage,
              HasSubstr("what is between them is missing"));
  EXPECT_THAT(WalkLog(log.substr(0, ends[2]) + log.substr(ends[1], third), 1).damage,
              HasSubstr("it was written before"));
  const LogWalk gap = WalkLog(log.substr(ends[4]), 2);
  EXPECT_TRUE(gap.gap);
  EXPECT_THAT(gap.damage, HasSubstr("has number 6 where 2 should follow"));
}

class DirectoryOfLogs {
 public:
  explicit DirectoryOfLogs(const std::string& path) : path_(path) { fs::create_directory(path); }
  void Write(int number, const std::string& bytes) {
    std::ofstream(absl::StrCat(path_, "/00000", number, ".log"), std::ios::binary) << bytes;
  }
  LogsFound Walk() {
    const absl::StatusOr<LogsFound> found = WalkLogs(path_);
    EXPECT_THAT(found, IsOk());
    return found.value_or(LogsFound{});
  }

 private:
  const std::string path_;
};

TEST_F(WriteAheadLogsTest, LogsGoOnFromOneAnother) {
  MetadataBatch batch;
  batch.operations.push_back(MetadataBatch::Put{"k", "v"});
  const std::string log = LogOf(std::vector<MetadataBatch>(10, batch));
  const std::vector<size_t> ends = Ends(log);
  DirectoryOfLogs logs(directory_.Join("logs"));
  const std::string first = log.substr(0, ends[3]);
  const std::string second = log.substr(ends[3], ends[5] - ends[3]);
  const std::string third = log.substr(ends[5]);

  logs.Write(3, first);
  logs.Write(5, second);
  logs.Write(8, third);
  logs.Write(9, "");
  EXPECT_EQ(logs.Walk().damage, "");
  EXPECT_EQ(logs.Walk().last_sequence, 10u);

  logs.Write(3, first + second.substr(0, 5));
  EXPECT_EQ(logs.Walk().damage, "")
      << "a crash tore its end, and the next start went on from there";

  logs.Write(5, second.substr(0, ends[4] - ends[3]));
  EXPECT_THAT(logs.Walk().damage, HasSubstr("write-ahead log 000008.log: "));
  EXPECT_EQ(logs.Walk().gap_before, 8u);
  EXPECT_EQ(logs.Walk().last_sequence, 5u);

  logs.Write(5, "");
  EXPECT_EQ(logs.Walk().gap_before, 8u);
}

TEST(ManifestTest, DamageIsToldFromATornEnd) {
  TemporaryDirectory directory;
  const std::string path = directory.Join("data");
  for (int start = 0; start < 3; ++start) {
    const auto store = NewRocksdbMetadataStore(path);
    MUSTER_ASSERT_OK(store);
    MetadataBatch batch;
    batch.operations.push_back(MetadataBatch::Put{"k", std::string(100, 'v')});
    MUSTER_ASSERT_OK((*store)->Commit(batch));
  }
  const auto current = CurrentManifestOf(path);
  MUSTER_ASSERT_OK(current);
  const std::string bytes = *ReadStoreFile(path + "/" + current->name);

  MUSTER_EXPECT_OK(CheckManifest(bytes, bytes.size(), "M"));
  MUSTER_EXPECT_OK(CheckManifest(bytes.substr(0, bytes.size() - 3), 0, "M"));
  EXPECT_THAT(CheckManifest(bytes.substr(0, bytes.size() - 3), bytes.size(), "M"),
              StatusIs(absl::StatusCode::kDataLoss));
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    EXPECT_THAT(CheckManifest(damaged, bytes.size(), "M"), StatusIs(absl::StatusCode::kDataLoss))
        << at;
  }
}

TEST(WriteAheadLogNumberTest, OnlyLogsHaveOne) {
  EXPECT_EQ(WriteAheadLogNumber("000007.log"), 7u);
  EXPECT_EQ(WriteAheadLogNumber("1234567.log"), 1234567u);
  for (const char* name : {"LOG", "000007.sst", ".log", "x7.log", "000007.log.lost", "+7.log"}) {
    EXPECT_EQ(WriteAheadLogNumber(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace muster
