// How an acknowledged Commit stays:
//
// 1. Every Commit is one record of the write-ahead log, synced before it reaches the memtable. So readers
//    see only what is durable, and a batch is there whole or not at all.
// 2. Before RocksDB opens the store, its logs are walked (write_ahead_logs.h). An incomplete record at
//    the end is what a crash leaves of a batch that nobody was told of, and RocksDB drops it. A record
//    that is damaged anywhere else refuses the store with kDataLoss: RocksDB would take some of that
//    damage for the end, and drop acknowledged rows silently.
// 3. After a write that fails, nobody knows whether its record is in the log. The store then refuses every
//    Commit until it is opened again and the log has been read back.
// 4. A directory with tables or logs but without the file that names the current state has lost
//    that file. RocksDB would start an empty store there; this refuses it.
// 5. What is cut off at a whole record, emptied or removed is missed by the witness (witness.h), which
//    says up to where batches, and the file that names the tables, were durable. It is written after
//    each Commit and never synced by it. Logs that RocksDB has closed it tracks itself.
// 6. Nothing is changed by a start that refuses. With a loss that was accepted, the row of the history
//    is written before the witness forgets what is missing, so that a start that gets no further
//    refuses again.
#include "storage/metadata/rocksdb_metadata_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rocksdb/listener.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_error.h"
#include "storage/files/posix_file.h"
#include "storage/files/unique_fd.h"
#include "storage/metadata/data_directory.h"
#include "storage/metadata/opening_check.h"
#include "storage/metadata/rocksdb_options.h"
#include "storage/metadata/rocksdb_rows.h"
#include "storage/metadata/store_files.h"
#include "storage/metadata/store_marker.h"
#include "storage/metadata/witness.h"

namespace muster {
namespace {

// Notes the MANIFEST that CURRENT names as far as it is durable.
absl::Status NoteManifest(const std::string& directory, Witness& witness) {
  MUSTER_ASSIGN_OR_RETURN(const CurrentManifest current, CurrentManifestOf(directory));
  const std::string path = absl::StrCat(directory, "/", current.name);
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return PathError(errno, "open it", path);
  MUSTER_ASSIGN_OR_RETURN(const struct stat info, StatOf(fd.get(), path));
  // Another thread of RocksDB may be writing to it now.
  MUSTER_RETURN_IF_ERROR(SyncData(fd.get(), path));
  return witness.NoteManifest(current.number, static_cast<uint64_t>(info.st_size));
}

// RocksDB removes a log only after it has told of the flush that made it needless. From then on a
// MANIFEST without that flush would lack rows.
class FlushListener final : public rocksdb::EventListener {
 public:
  explicit FlushListener(std::string directory) : directory_(std::move(directory)) {}

  void Use(std::shared_ptr<Witness> witness) {
    MutexLock lock(mutex_);
    witness_ = std::move(witness);
  }

  void OnFlushCompleted(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    MutexLock lock(mutex_);
    // Without it the witness is only older than it could be.
    if (witness_ != nullptr) NoteManifest(directory_, *witness_).IgnoreError();
  }

 private:
  const std::string directory_;
  Mutex mutex_;
  std::shared_ptr<Witness> witness_ MUSTER_GUARDED_BY(mutex_);
};

absl::Status LossError(const std::string& directory, absl::string_view lost) {
  return absl::DataLossError(absl::StrCat(
      ShownDataDirectory(directory), ": ", lost,
      "; nothing was changed. Restore a backup, or go on without them by --accept-loss"));
}

// Renews the history before anything says that the store is whole.
absl::Status WriteHistory(rocksdb::DB& db, const std::string& directory,
                          const std::string& history_id) {
  rocksdb::WriteOptions options;
  options.sync = true;
  const rocksdb::Status written =
      db.Put(options, rocksdb::Slice(kStoreHistoryKey.data(), kStoreHistoryKey.size()),
             HistoryValue(history_id));
  return written.ok() ? absl::OkStatus() : FromRocksdb(written, directory);
}

absl::StatusOr<std::shared_ptr<Witness>> BeginWitness(const std::string& directory,
                                                      uint64_t sequence,
                                                      const std::optional<Witnessed>& before) {
  Witnessed state;
  state.sequence = sequence;
  if (before.has_value()) state.revision = before->revision;
  MUSTER_ASSIGN_OR_RETURN(std::shared_ptr<Witness> witness, Witness::Make(directory, state));
  MUSTER_RETURN_IF_ERROR(NoteManifest(directory, *witness));
  return witness;
}

}  // namespace

absl::StatusOr<OpenedRocksdb> OpenRocksdbMetadataStore(absl::string_view directory,
                                                       const RocksdbOpenOptions& options) {
  const std::string path(directory);
  MUSTER_RETURN_IF_ERROR(PrepareDataDirectory(path));
  MUSTER_RETURN_IF_ERROR(CheckRoomToOpen(path));
  const bool accept_loss = !options.history_after_loss.empty();
  OpenedRocksdb opened;
  rocksdb::Options rocksdb_options = StoreOptions();
  OpeningFindings findings;
  {
    MUSTER_ASSIGN_OR_RETURN(const StoreLock lock, StoreLock::Take(path));
    MUSTER_ASSIGN_OR_RETURN(findings, FindLoss(path, accept_loss, options.describe_end));
    if (!findings.lost.empty() && !accept_loss) return LossError(path, findings.lost);
    if (!findings.lost.empty()) {
      // Up to the first batch that is missing, and not tied to logs that are gone.
      rocksdb_options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
      rocksdb_options.track_and_verify_wals_in_manifest = false;
      if (findings.unusable_logs_from.has_value()) {
        MUSTER_RETURN_IF_ERROR(SetLogsAside(path, *findings.unusable_logs_from));
      }
    }
  }
  const auto listener = std::make_shared<FlushListener>(path);
  rocksdb_options.listeners.push_back(listener);
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(rocksdb_options, path, &raw);
  if (!status.ok()) {
    const absl::Status error = FromRocksdbOpen(status, path);
    return IsAboutMissedLog(error) ? LossError(path, status.ToString()) : error;
  }
  std::unique_ptr<rocksdb::DB> db(raw);
  const uint64_t sequence = db->GetLatestSequenceNumber();
  if (!findings.lost.empty()) {
    MUSTER_RETURN_IF_ERROR(WriteHistory(*db, path, options.history_after_loss));
    opened.lost = findings.lost;
    findings.witnessed = std::nullopt;
  } else if (findings.witnessed.has_value() && findings.witnessed->sequence > sequence) {
    return LossError(path, absl::StrCat("it was read up to operation ", sequence, " only, of ",
                                        findings.witnessed->sequence));
  }
  MUSTER_ASSIGN_OR_RETURN(const std::shared_ptr<Witness> witness,
                          BeginWitness(path, db->GetLatestSequenceNumber(), findings.witnessed));
  listener->Use(witness);
  opened.store = RocksdbRows(path, std::move(db), witness);
  return opened;
}

absl::StatusOr<ReadOnlyRocksdb> OpenRocksdbReadOnly(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return absl::NotFoundError(ShownDataDirectory(directory) + " is not there");
  }
  std::shared_ptr<StoreLock> lock;
  // Without the lock's file no server was ever here, and taking the lock would make it. Of a medium that
  // can only be read nobody can write the store either.
  if (std::filesystem::exists(directory + "/LOCK", error)) {
    absl::StatusOr<StoreLock> taken = StoreLock::Take(directory);
    if (taken.ok()) {
      lock = std::make_shared<StoreLock>(*std::move(taken));
    } else if (!absl::IsPermissionDenied(taken.status())) {
      return taken.status();
    }
  }
  MUSTER_ASSIGN_OR_RETURN(const OpeningFindings findings,
                          FindLoss(directory, /*thorough=*/true, nullptr));
  if (!findings.lost.empty()) {
    return absl::DataLossError(absl::StrCat(ShownDataDirectory(directory), ": ", findings.lost));
  }
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<rocksdb::DB> db, OpenReadOnly(directory));
  const rocksdb::Status read = db->VerifyChecksum();
  if (!read.ok()) return FromRocksdb(read, directory);
  ReadOnlyRocksdb opened;
  opened.state.sequence = db->GetLatestSequenceNumber();
  if (findings.witnessed.has_value()) {
    opened.state.acknowledged_revision = findings.witnessed->revision;
  }
  opened.store = ReadOnlyRows(directory, std::move(db), std::move(lock));
  return opened;
}

absl::StatusOr<std::unique_ptr<MetadataStore>> NewRocksdbMetadataStore(
    absl::string_view directory) {
  MUSTER_ASSIGN_OR_RETURN(OpenedRocksdb opened, OpenRocksdbMetadataStore(directory, {}));
  return std::move(opened.store);
}

}  // namespace muster
