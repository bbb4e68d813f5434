#include "server/upkeep/store_upkeep.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/registry/row_keys.h"
#include "storage/metadata/rocksdb_metadata_store.h"
#include "storage/metadata/store_marker.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;

// Rows of most kinds, in memory.
class StoreUpkeepTest : public testing::Test {
 protected:
  StoreUpkeepTest() {
    MUSTER_EXPECT_OK(fixture_.Do(CreateVersion("models/draft/versions/v1", 3, 4, 2)));
    MUSTER_EXPECT_OK(fixture_.Do(ShardOf("models/draft/versions/v1", 2, 2)));
    MUSTER_EXPECT_OK(fixture_.Do(TensorsOf("models/draft/versions/v1", 2, 0, {"a"})));
    MUSTER_EXPECT_OK(fixture_.Do(CompanionOf("models/draft/versions/v1", "config.json")));
    fixture_.Publish(kVersion, 4);
    const uint64_t epoch = fixture_.Register("nodes/n1");
    MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
    MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/n1", epoch)));
    const uint64_t generation = fixture_.Plan(kAssembly, {{"nodes/n1", {0, 1, 2, 3}}});
    MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, "nodes/n1", epoch, generation, {0, 1, 2})));
    Put(std::string(kStoreMarkerKey), "muster format=1 cluster=prod");
    Put(std::string(kStoreHistoryKey), HistoryValue(std::string(32, 'a')));
    MUSTER_EXPECT_OK(CheckStoreMarker(*random_, fixture_.store(), "prod"));
  }

  void Put(const std::string& key, const std::string& value) {
    MetadataBatch batch;
    batch.operations.push_back(MetadataBatch::Put{key, value});
    MUSTER_EXPECT_OK(fixture_.store().Commit(batch));
  }

  std::vector<MetadataStore::Row> AllRows() {
    const auto rows = fixture_.store().Scan("", std::string(64, '\xff'), 100'000);
    EXPECT_THAT(rows, IsOk());
    return rows.value_or(std::vector<MetadataStore::Row>());
  }

  StoreReport Check() {
    const absl::StatusOr<StoreReport> report = CheckRows(fixture_.store());
    EXPECT_THAT(report, IsOk());
    return report.value_or(StoreReport{});
  }

  // The same rows in a data directory.
  std::string OnDisk() {
    const std::string path = directory_.Join("data");
    const auto store = NewRocksdbMetadataStore(path);
    MUSTER_EXPECT_OK(store);
    MetadataBatch batch;
    for (const MetadataStore::Row& row : AllRows()) {
      batch.operations.push_back(MetadataBatch::Put{row.key, row.value});
    }
    batch.revision = fixture_.revision().value;
    MUSTER_EXPECT_OK((*store)->Commit(batch));
    return path;
  }

  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  TemporaryDirectory directory_;
  RegistryFixture fixture_;
};

TEST_F(StoreUpkeepTest, GoodRowsAreCounted) {
  const StoreReport report = Check();

  EXPECT_TRUE(report.ok()) << report.problems[0];
  EXPECT_EQ(report.rows, AllRows().size());
  EXPECT_EQ(report.revision, fixture_.revision().value);
  EXPECT_EQ(report.cluster_id, "prod");
  EXPECT_EQ(report.history_id, std::string(32, 'a'));
  EXPECT_EQ(EndOfRows(fixture_.store()), absl::StrCat("revision ", fixture_.revision().value));
}

TEST_F(StoreUpkeepTest, EveryRowThatIsDamagedIsTold) {
  for (const MetadataStore::Row& row : AllRows()) {
    Put(row.key, "\xff\xff\xff");
    const StoreReport report = Check();
    EXPECT_EQ(report.problem_count, 1u) << absl::CHexEscape(row.key);
    EXPECT_THAT(report.problems, Contains(HasSubstr(absl::CHexEscape(row.key))));
    Put(row.key, row.value);
  }
  EXPECT_TRUE(Check().ok());
}

// Each row can be read, but they don't fit one another.
TEST_F(StoreUpkeepTest, RowsThatNoServerWouldLoadAreTold) {
  for (const MetadataStore::Row& row : AllRows()) {
    if (!absl::StartsWith(row.key, "s")) continue;
    Put(ShardKey(VersionUid(9'999), ShardIndex(0)), row.value);
    break;
  }
  const StoreReport report = Check();
  EXPECT_EQ(report.problem_count, 1u);
  EXPECT_THAT(report.problems, Contains(HasSubstr("has no model version")));
}

TEST_F(StoreUpkeepTest, OnlyTheFirstProblemsAreTold) {
  for (int i = 0; i < 250; ++i) Put(absl::StrCat("x", i), "?");

  const StoreReport report = Check();

  EXPECT_EQ(report.problem_count, 250u);
  EXPECT_EQ(report.problems.size(), 100u);
}

TEST_F(StoreUpkeepTest, BackupAndRestoreBringTheRowsBackInANewHistory) {
  const std::string data = OnDisk();
  const std::string backup = directory_.Join("backup");
  const std::string restored = directory_.Join("restored");

  const auto backed_up = BackUp(data, backup);
  MUSTER_ASSERT_OK(backed_up);
  EXPECT_EQ(backed_up->rows, AllRows().size());
  const auto report = Restore(*random_, backup, restored);
  MUSTER_ASSERT_OK(report);
  EXPECT_NE(report->history_id, std::string(32, 'a'));
  EXPECT_EQ(fs::status(restored).permissions(), fs::perms::owner_all);

  const auto store = NewRocksdbMetadataStore(restored);
  MUSTER_ASSERT_OK(store);
  for (const MetadataStore::Row& row : AllRows()) {
    if (row.key == kStoreHistoryKey) continue;
    EXPECT_THAT((*store)->Get(row.key), IsOkAndHolds(row.value));
  }
  const auto identity = CheckStoreMarker(*random_, **store, "prod");
  MUSTER_ASSERT_OK(identity);
  EXPECT_EQ(identity->history_id, report->history_id);
  // The backup can be used again.
  MUSTER_EXPECT_OK(CheckDataDirectory(backup));
}

TEST_F(StoreUpkeepTest, BackupOfDamagedRowsIsRefusedAndLeavesNothing) {
  Put(VersionKey(VersionUid(12'345)), "\xff\xff\xff");
  const std::string data = OnDisk();

  EXPECT_THAT(BackUp(data, directory_.Join("backup")),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("is no VersionRow")));
  EXPECT_THAT(BackUp(directory_.Join("absent"), directory_.Join("backup")),
              StatusIs(absl::StatusCode::kNotFound));
  int entries = 0;
  for (const auto& entry : fs::directory_iterator(directory_.path())) {
    EXPECT_EQ(entry.path(), data);
    ++entries;
  }
  EXPECT_EQ(entries, 1);
}

TEST_F(StoreUpkeepTest, NothingIsOverwritten) {
  const std::string data = OnDisk();
  const std::string backup = directory_.Join("backup");
  MUSTER_ASSERT_OK(BackUp(data, backup));

  EXPECT_THAT(BackUp(data, backup), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(Restore(*random_, backup, data), StatusIs(absl::StatusCode::kAlreadyExists));
}

}  // namespace
}  // namespace muster
