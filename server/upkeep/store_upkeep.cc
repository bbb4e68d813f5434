#include "server/upkeep/store_upkeep.h"

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "muster/store/rows.pb.h"
#include "server/registry/live_tables.h"
#include "server/registry/registry.h"
#include "server/registry/row_keys.h"
#include "server/upkeep/row_check.h"
#include "storage/base/status_macros.h"
#include "storage/files/staged_file.h"
#include "storage/metadata/rocksdb_metadata_store.h"
#include "storage/metadata/store_copy.h"
#include "storage/metadata/store_marker.h"

namespace muster {
namespace {

constexpr size_t kRowsPerScan = 1'000;
constexpr uint64_t kProblemsToldMax = 100;
// A table that comes and goes while a running server's store is copied makes another try.
constexpr int kCopyAttemptsMax = 5;

void AddProblem(StoreReport& report, std::string problem) {
  if (report.problem_count++ < kProblemsToldMax) report.problems.push_back(std::move(problem));
}

std::string ClusterOf(absl::string_view marker) {
  const size_t at = marker.rfind("cluster=");
  return at == absl::string_view::npos ? "" : std::string(marker.substr(at + 8));
}

void Note(const MetadataStore::Row& row, StoreReport& report) {
  ++report.rows;
  report.bytes += row.key.size() + row.value.size();
  if (const absl::Status checked = CheckRow(row.key, row.value); !checked.ok()) {
    AddProblem(report, std::string(checked.message()));
    return;
  }
  if (row.key == kStoreMarkerKey) report.cluster_id = ClusterOf(row.value);
  if (row.key == kStoreHistoryKey) report.history_id = ParseHistory(row.value).value_or("");
  if (row.key == RevisionKey()) {
    store::RevisionRow revision;
    revision.ParseFromString(row.value);
    report.revision = revision.revision();
  }
}

// A directory for a store beside its final name.
absl::StatusOr<StagedDirectory> StageStore(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(StagedDirectory staged, StagedDirectory::Create(path));
  std::error_code error;
  std::filesystem::permissions(staged.staging_path(), std::filesystem::perms::owner_all, error);
  if (error) return absl::InternalError(absl::StrCat(path, ": ", error.message()));
  return staged;
}

absl::StatusOr<StoreReport> CopyAndCheck(const std::string& from, const std::string& to) {
  for (int attempt = 1;; ++attempt) {
    const absl::Status copied = CopyStore(from, to);
    const absl::StatusOr<StoreReport> report =
        copied.ok() ? CheckDataDirectory(to) : absl::StatusOr<StoreReport>(copied);
    const bool again = absl::IsDataLoss(report.status()) || absl::IsNotFound(report.status()) ||
                       absl::IsFailedPrecondition(report.status());
    if (report.ok() || !again || attempt == kCopyAttemptsMax) return report;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(to, error)) {
      std::filesystem::remove_all(entry.path(), error);
    }
  }
}

absl::Status FirstProblem(const StoreReport& report, const std::string& path) {
  if (report.ok()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("\"", path, "\": ", report.problems[0], "; ",
                                          report.problem_count,
                                          " problems in all, see musterd check"));
}

}  // namespace

absl::StatusOr<StoreReport> CheckRows(MetadataStore& store) {
  StoreReport report;
  // No row's key begins with this many 0xff bytes.
  const std::string end(64, '\xff');
  std::string begin;
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<MetadataStore::Row> rows,
                            store.Scan(begin, end, kRowsPerScan));
    for (const MetadataStore::Row& row : rows) Note(row, report);
    if (rows.size() < kRowsPerScan) break;
    begin = rows.back().key + '\0';
  }
  if (report.rows > 0 && report.cluster_id.empty() && report.ok()) {
    AddProblem(report, "there is no marker row, so the store is not Muster's");
  }
  // Rows that can't be read, a load need not survive.
  if (!report.ok()) return report;
  LiveTables live(LiveTables::Options{});
  Registry registry(Registry::Options{}, live);
  if (const absl::Status loaded = registry.Load(store).status(); !loaded.ok()) {
    AddProblem(report, std::string(loaded.message()));
  }
  return report;
}

absl::StatusOr<StoreReport> CheckDataDirectory(const std::string& directory) {
  MUSTER_ASSIGN_OR_RETURN(const ReadOnlyRocksdb opened, OpenRocksdbReadOnly(directory));
  return CheckRows(*opened.store);
}

absl::StatusOr<StoreReport> BackUp(const std::string& directory, const std::string& destination) {
  MUSTER_ASSIGN_OR_RETURN(StagedDirectory staged, StageStore(destination));
  MUSTER_ASSIGN_OR_RETURN(StoreReport report, CopyAndCheck(directory, staged.staging_path()));
  MUSTER_RETURN_IF_ERROR(FirstProblem(report, directory));
  MUSTER_RETURN_IF_ERROR(staged.Commit());
  return report;
}

absl::StatusOr<StoreReport> Restore(Random& random, const std::string& backup,
                                    const std::string& directory) {
  MUSTER_ASSIGN_OR_RETURN(StagedDirectory staged, StageStore(directory));
  MUSTER_ASSIGN_OR_RETURN(StoreReport report, CopyAndCheck(backup, staged.staging_path()));
  MUSTER_RETURN_IF_ERROR(FirstProblem(report, backup));
  {
    MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<MetadataStore> store,
                            NewRocksdbMetadataStore(staged.staging_path()));
    MUSTER_ASSIGN_OR_RETURN(report.history_id, BeginHistory(random, *store));
  }
  MUSTER_RETURN_IF_ERROR(staged.Commit());
  return report;
}

absl::StatusOr<uint64_t> CountContentKeys(const std::string& directory,
                                          const std::string& master_key_id) {
  MUSTER_ASSIGN_OR_RETURN(const ReadOnlyRocksdb opened, OpenRocksdbReadOnly(directory));
  LiveTables live(LiveTables::Options{});
  Registry registry(Registry::Options{}, live);
  MUSTER_RETURN_IF_ERROR(registry.Load(*opened.store).status());
  const auto& counts = registry.catalogue().content_keys().by_master_key();
  const auto found = counts.find(master_key_id);
  return found == counts.end() ? 0 : found->second;
}

std::string EndOfRows(MetadataStore& store) {
  const absl::StatusOr<std::string> packed = store.Get(RevisionKey());
  store::RevisionRow row;
  if (!packed.ok() || !row.ParseFromString(*packed)) return "";
  return absl::StrCat("revision ", row.revision());
}

}  // namespace muster
