#include "storage/metadata/opening_check.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/files/disk_room.h"
#include "storage/metadata/rocksdb_options.h"
#include "storage/metadata/rocksdb_rows.h"
#include "storage/metadata/store_files.h"
#include "storage/metadata/store_marker.h"
#include "storage/metadata/write_ahead_logs.h"

namespace muster {
namespace {

// For a new MANIFEST and options file, the directory's own growth, and a first write.
constexpr uint64_t kRoomBytesMin = 1 << 20;

// A directory with tables, logs or a witness but without the file that names the current state has
// lost that file. RocksDB would start an empty store there.
absl::Status CheckStateIsNamed(const std::string& directory,
                               const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const bool of_a_store =
        absl::EndsWith(name, ".sst") || absl::EndsWith(name, ".log") || name == kWitnessFile;
    if (!of_a_store) continue;
    return absl::DataLossError(absl::StrCat(
        ShownDataDirectory(directory), " has ", name,
        " but no CURRENT file, so rows would be lost; restore it from a backup, or use another "
        "directory"));
  }
  return absl::OkStatus();
}

absl::Status Damaged(const std::string& directory, const absl::Status& why) {
  return absl::DataLossError(absl::StrCat(ShownDataDirectory(directory), ": ", why.message(),
                                          "; restore it from a backup"));
}

absl::Status CheckCurrentManifest(const std::string& directory,
                                  const std::optional<Witnessed>& witnessed) {
  const absl::StatusOr<CurrentManifest> current = CurrentManifestOf(directory);
  if (!current.ok()) return Damaged(directory, current.status());
  const absl::StatusOr<std::string> bytes = ReadStoreFile(directory + "/" + current->name);
  if (!bytes.ok()) return Damaged(directory, bytes.status());
  uint64_t durable_bytes = 0;
  if (witnessed.has_value() && witnessed->manifest != 0) {
    if (current->number < witnessed->manifest) {
      return Damaged(directory, absl::DataLossError(
                                    absl::StrCat("CURRENT names ", current->name, ", which number ",
                                                 witnessed->manifest, " has replaced")));
    }
    // A newer one was begun by a start that got no further.
    if (current->number == witnessed->manifest) durable_bytes = witnessed->manifest_bytes;
  }
  const absl::Status whole = CheckManifest(*bytes, durable_bytes, current->name);
  return whole.ok() ? whole : Damaged(directory, whole);
}

// RocksDB tracks the logs that it has closed, and has only a text for one that is gone or too short.
std::optional<uint64_t> LogMissedBy(const absl::Status& status) {
  const absl::string_view text = status.message();
  if (!absl::StrContains(text, "Missing WAL") && !absl::StrContains(text, "Size mismatch: WAL")) {
    return std::nullopt;
  }
  constexpr absl::string_view kNumber = "log number: ";
  const size_t at = text.find(kNumber);
  if (at == absl::string_view::npos) return 0;
  absl::string_view digits = text.substr(at + kNumber.size());
  digits = digits.substr(0, digits.find_first_not_of("0123456789"));
  uint64_t number = 0;
  // All logs, where it does not say which.
  return absl::SimpleAtoi(digits, &number) ? number : 0;
}

std::string MissingBatches(const Witnessed& witnessed, uint64_t sequence, const std::string& end) {
  std::string newest = absl::StrCat("operation ", witnessed.sequence);
  if (witnessed.revision > 0) newest = absl::StrCat("revision ", witnessed.revision);
  return absl::StrCat("rows that were acknowledged are missing: the newest acknowledged is ",
                      newest, ", and the store ends at ", end.empty() ? "an older one" : end,
                      " (operation ", sequence, " of ", witnessed.sequence, ")");
}

// Compares what RocksDB would read with the witness, without a change.
absl::Status CompareWithWitness(const std::string& directory, const DescribeEnd& describe_end,
                                OpeningFindings& findings) {
  absl::StatusOr<std::unique_ptr<rocksdb::DB>> db = OpenReadOnly(directory);
  if (!db.ok()) {
    const std::optional<uint64_t> missed = LogMissedBy(db.status());
    if (missed.has_value()) {
      findings.unusable_logs_from =
          std::min(*missed, findings.unusable_logs_from.value_or(*missed));
    }
    // A damage of the logs that was found before is what it can't get over.
    if (!findings.lost.empty()) return absl::OkStatus();
    if (!missed.has_value()) return db.status();
    findings.lost = absl::StrCat("write-ahead log ", *missed, " is missing or cut");
    return absl::OkStatus();
  }
  if (!findings.lost.empty()) return absl::OkStatus();
  const uint64_t sequence = (*db)->GetLatestSequenceNumber();
  const std::unique_ptr<MetadataStore> rows = ReadOnlyRows(directory, *std::move(db), nullptr);
  if (!findings.witnessed.has_value()) {
    const absl::StatusOr<std::string> history = rows->Get(kStoreHistoryKey);
    if (!history.ok() && !absl::IsNotFound(history.status())) return history.status();
    if (history.ok()) {
      findings.lost = "its WITNESS file is missing, so whether rows are missing can't be told";
    }
  } else if (findings.witnessed->sequence > sequence) {
    findings.lost = MissingBatches(*findings.witnessed, sequence,
                                   describe_end == nullptr ? "" : describe_end(*rows));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OpeningFindings> FindLoss(const std::string& directory, bool thorough,
                                         const DescribeEnd& describe_end) {
  OpeningFindings findings;
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListStoreFiles(directory));
  if (std::find(names.begin(), names.end(), "CURRENT") == names.end()) {
    MUSTER_RETURN_IF_ERROR(CheckStateIsNamed(directory, names));
    return findings;
  }
  const absl::StatusOr<std::optional<Witnessed>> witnessed = Witness::Read(directory);
  if (witnessed.ok()) findings.witnessed = *witnessed;
  MUSTER_RETURN_IF_ERROR(CheckCurrentManifest(directory, findings.witnessed));
  MUSTER_ASSIGN_OR_RETURN(const LogsFound logs, WalkLogs(directory));
  findings.unusable_logs_from = logs.gap_before;
  if (!logs.damage.empty()) {
    findings.lost = absl::StrCat("rows that were acknowledged are missing: ", logs.damage);
    if (findings.witnessed.has_value() && findings.witnessed->revision > 0) {
      absl::StrAppend(&findings.lost, "; the newest acknowledged is revision ",
                      findings.witnessed->revision);
    }
  } else if (absl::IsDataLoss(witnessed.status())) {
    findings.lost = "its WITNESS file is damaged, so whether rows are missing can't be told";
  } else if (!witnessed.ok()) {
    return witnessed.status();
  }
  // The logs were read up to what is witnessed, as after most crashes: no need to ask RocksDB.
  const bool told =
      findings.witnessed.has_value() && logs.last_sequence >= findings.witnessed->sequence;
  if (thorough || (findings.lost.empty() && !told)) {
    MUSTER_RETURN_IF_ERROR(CompareWithWitness(directory, describe_end, findings));
  }
  return findings;
}

bool IsAboutMissedLog(const absl::Status& status) { return LogMissedBy(status).has_value(); }

absl::Status CheckRoomToOpen(const std::string& directory) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListStoreFiles(directory));
  uint64_t needed = kRoomBytesMin;
  for (const std::string& name : names) {
    // The logs become tables, and the MANIFEST is written again.
    if (!WriteAheadLogNumber(name).has_value() && !absl::StartsWith(name, "MANIFEST-")) continue;
    std::error_code error;
    const uint64_t bytes = std::filesystem::file_size(directory + "/" + name, error);
    if (!error) needed += bytes;
  }
  MUSTER_ASSIGN_OR_RETURN(const int64_t free, FreeBytesOf(directory));
  if (static_cast<uint64_t>(free) >= needed) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(ShownDataDirectory(directory), ": its device has ", free,
                   " bytes free, and opening the store "
                   "takes up to ",
                   needed, "; make room and start again: nothing is lost meanwhile"));
}

}  // namespace muster
