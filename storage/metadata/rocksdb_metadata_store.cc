// How an acknowledged Commit stays:
//
// 1. Every Commit is one record of the write-ahead log, synced before it reaches the memtable. So
//    readers see only what is durable, and a batch is there whole or not at all.
// 2. On opening, an incomplete record at the end of the log is dropped: a crash tore it before its
//    sync returned, so nobody got an OK. A damaged record anywhere else refuses the store with
//    kDataLoss, because RocksDB's default, to stop there and carry on, would drop acknowledged rows
//    silently. The strictest mode would refuse torn ends too, which every power loss may leave.
// 3. After a write that fails, nobody knows whether its record is in the log. The store then refuses
//    every Commit until it is opened again and the log has been read back.
// 4. A directory with tables or logs but without the file that names the current state has lost that
//    file. RocksDB would start an empty store there; this refuses it.
#include "storage/metadata/rocksdb_metadata_store.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/convenience.h"
#include "rocksdb/db.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/options.h"
#include "rocksdb/table.h"
#include "rocksdb/write_batch.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/files/disk_room.h"
#include "storage/metadata/batch_limits.h"
#include "storage/metadata/data_directory.h"

namespace muster {
namespace {

constexpr MetadataStore::Limits kLimits = {
    .batch_operations_max = 10'000,
    .batch_bytes_max = 32 << 20,
    .value_bytes_max = kRowValueBytesMax,
};

constexpr size_t kWriteBufferBytes = 16 << 20;
constexpr size_t kBlockCacheBytes = 32 << 20;
constexpr size_t kWalBytesMax = 64 << 20;
constexpr size_t kInfoLogBytesMax = 4 << 20;
constexpr size_t kInfoLogFilesMax = 4;
constexpr int kOpenFilesMax = 512;

rocksdb::Slice ToSlice(absl::string_view bytes) { return {bytes.data(), bytes.size()}; }

std::string ToString(const rocksdb::Slice& slice) {
  return std::string(slice.data(), slice.size());
}

rocksdb::CompressionType BestCompression() {
  const std::vector<rocksdb::CompressionType> supported = rocksdb::GetSupportedCompressions();
  const bool has_zstd =
      std::find(supported.begin(), supported.end(), rocksdb::kZSTD) != supported.end();
  return has_zstd ? rocksdb::kZSTD : rocksdb::kNoCompression;
}

rocksdb::Options StoreOptions() {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));

  rocksdb::Options options;
  options.create_if_missing = true;
  options.paranoid_checks = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.max_total_wal_size = kWalBytesMax;
  options.write_buffer_size = kWriteBufferBytes;
  options.max_write_buffer_number = 3;
  // Fresh tables are soon merged into the next level, which holds most and so is the one to compress.
  options.compression_per_level = {rocksdb::kNoCompression, rocksdb::kNoCompression,
                                   BestCompression()};
  options.max_open_files = kOpenFilesMax;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.max_log_file_size = kInfoLogBytesMax;
  options.keep_log_file_num = kInfoLogFilesMax;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

std::string Shown(const std::string& directory) {
  return absl::StrCat("data directory \"", absl::CHexEscape(directory), "\"");
}

// For a call on an open store.
absl::Status FromRocksdb(const rocksdb::Status& status, const std::string& directory) {
  const std::string message = absl::StrCat(Shown(directory), ": ", status.ToString());
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit) {
    return absl::ResourceExhaustedError(message);
  }
  if (status.IsCorruption() || status.IsPathNotFound()) return absl::DataLossError(message);
  if (status.IsBusy() || status.IsTimedOut() || status.IsTryAgain()) {
    return absl::UnavailableError(message);
  }
  return absl::InternalError(message);
}

// RocksDB has no codes for a lock that is taken or for a missing right, so their texts decide.
absl::Status FromRocksdbOpen(const rocksdb::Status& status, const std::string& directory) {
  const std::string text = status.ToString();
  const std::string message = absl::StrCat(Shown(directory), ": ", text);
  if (status.IsIOError() && absl::StrContains(text, "lock hold by current process")) {
    return absl::FailedPreconditionError(
        absl::StrCat(Shown(directory), " is in use by this process; close it first"));
  }
  if (status.IsIOError() && absl::StrContains(text, "While lock file")) {
    return absl::FailedPreconditionError(
        absl::StrCat(Shown(directory),
                     " is in use by another process; stop that one, or use another directory"));
  }
  if (absl::StrContains(text, "Permission denied") ||
      absl::StrContains(text, "Read-only file system")) {
    return absl::PermissionDeniedError(message);
  }
  if (status.IsCorruption() || status.IsPathNotFound()) {
    return absl::DataLossError(absl::StrCat(message, "; restore it from a backup"));
  }
  if (status.IsInvalidArgument() || status.IsNotSupported()) {
    return absl::FailedPreconditionError(absl::StrCat(
        message, "; another program made it: use another directory, or a release that knows it"));
  }
  return FromRocksdb(status, directory);
}

// Number 4 of the list on top.
absl::Status CheckStateIsNamed(const std::string& directory) {
  std::error_code error;
  if (std::filesystem::exists(directory + "/CURRENT", error)) return absl::OkStatus();
  std::filesystem::directory_iterator entry(directory, error);
  const std::filesystem::directory_iterator end;
  for (; !error && entry != end; entry.increment(error)) {
    const std::string extension = entry->path().extension().string();
    if (extension == ".sst" || extension == ".log") {
      return absl::DataLossError(absl::StrCat(
          Shown(directory), " has ", entry->path().filename().string(),
          " but no CURRENT file, so rows would be lost; restore it, or use another directory"));
    }
  }
  if (error) {
    return absl::InternalError(
        absl::StrCat(Shown(directory), ": can't list it: ", error.message()));
  }
  return absl::OkStatus();
}

const std::string& KeyOf(const MetadataBatch::Operation& operation) {
  const auto* put = std::get_if<MetadataBatch::Put>(&operation);
  return put != nullptr ? put->key : std::get<MetadataBatch::Delete>(operation).key;
}

// The operations in key order, as the search for a place in the memtable is short where the last one
// went in just before; those of one key stay as they were. (RocksDB's hints for that would do without
// sorting, but mix up rows and range deletes.) A batch that deletes ranges keeps its order.
std::vector<const MetadataBatch::Operation*> InWritingOrder(const MetadataBatch& batch) {
  std::vector<const MetadataBatch::Operation*> order;
  order.reserve(batch.operations.size());
  bool ranges = false;
  for (const MetadataBatch::Operation& operation : batch.operations) {
    order.push_back(&operation);
    ranges = ranges || std::holds_alternative<MetadataBatch::DeleteRange>(operation);
  }
  if (ranges) return order;
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return KeyOf(*a) < KeyOf(*b); });
  return order;
}

// Turns the operations of a batch into RocksDB's form.
class BatchBuilder {
 public:
  explicit BatchBuilder(const MetadataBatch& batch)
      : batch_(batch.SizeBytes() + kRecordBytes * batch.operations.size()) {}

  rocksdb::Status operator()(const MetadataBatch::Put& put) {
    return batch_.Put(put.key, put.value);
  }
  rocksdb::Status operator()(const MetadataBatch::Delete& remove) {
    return batch_.Delete(remove.key);
  }
  // RocksDB refuses a range that ends before it begins; it is an empty one here.
  rocksdb::Status operator()(const MetadataBatch::DeleteRange& range) {
    if (range.begin >= range.end) return rocksdb::Status::OK();
    return batch_.DeleteRange(range.begin, range.end);
  }

  rocksdb::WriteBatch& batch() { return batch_; }

 private:
  // What RocksDB adds to the bytes of an operation, at most.
  static constexpr size_t kRecordBytes = 16;

  rocksdb::WriteBatch batch_;
};

class RocksdbMetadataStore final : public MetadataStore {
 public:
  RocksdbMetadataStore(std::string directory, std::unique_ptr<rocksdb::DB> db)
      : directory_(std::move(directory)), db_(std::move(db)) {
    read_options_.verify_checksums = true;
  }

  Limits limits() const override { return kLimits; }

  absl::StatusOr<std::string> Get(absl::string_view key) override {
    std::string value;
    const rocksdb::Status status = db_->Get(read_options_, ToSlice(key), &value);
    if (status.IsNotFound()) return absl::NotFoundError("no such row");
    if (!status.ok()) return FromRocksdb(status, directory_);
    return value;
  }

  absl::StatusOr<std::vector<Row>> Scan(absl::string_view begin, absl::string_view end,
                                        size_t limit) override {
    MUSTER_RETURN_IF_ERROR(CheckScanLimit(limit));
    std::vector<Row> found;
    if (begin >= end) return found;
    const rocksdb::Slice upper = ToSlice(end);
    rocksdb::ReadOptions options = read_options_;
    options.iterate_upper_bound = &upper;
    const std::unique_ptr<rocksdb::Iterator> row(db_->NewIterator(options));
    for (row->Seek(ToSlice(begin)); row->Valid() && found.size() < limit; row->Next()) {
      found.push_back({ToString(row->key()), ToString(row->value())});
    }
    if (!row->status().ok()) return FromRocksdb(row->status(), directory_);
    return found;
  }

  absl::Status Commit(const MetadataBatch& batch) override {
    MUSTER_RETURN_IF_ERROR(CheckBatch(batch, kLimits));
    BatchBuilder builder(batch);
    for (const MetadataBatch::Operation* operation : InWritingOrder(batch)) {
      const rocksdb::Status added = std::visit(builder, *operation);
      if (!added.ok()) return FromRocksdb(added, directory_);
    }
    MutexLock lock(commit_mutex_);
    if (!failed_.ok()) return failed_;
    for (const MetadataBatch::Condition& condition : batch.conditions) {
      MUSTER_RETURN_IF_ERROR(CheckCondition(condition));
    }
    rocksdb::WriteOptions options;
    options.sync = true;
    const rocksdb::Status written = db_->Write(options, &builder.batch());
    if (!written.ok()) failed_ = FromRocksdb(written, directory_);
    return failed_;
  }

  absl::Status CheckLeadership() override { return absl::OkStatus(); }

  absl::StatusOr<std::optional<int64_t>> FreeBytes() override {
    MUSTER_ASSIGN_OR_RETURN(const int64_t free, FreeBytesOf(directory_));
    return std::optional<int64_t>(free);
  }

 private:
  absl::Status CheckCondition(const MetadataBatch::Condition& condition) {
    const absl::StatusOr<std::string> value = Get(condition.key);
    if (!value.ok() && !absl::IsNotFound(value.status())) return value.status();
    const bool holds = value.ok() ? condition.value.has_value() && *condition.value == *value
                                  : !condition.value.has_value();
    if (!holds) return absl::AbortedError("a condition of the batch does not hold");
    return absl::OkStatus();
  }

  const std::string directory_;
  const std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ReadOptions read_options_;
  // Held from the look at the conditions to the end of the write, so that nothing comes between
  // them.
  Mutex commit_mutex_;
  // Number 3 of the list on top.
  absl::Status failed_ MUSTER_GUARDED_BY(commit_mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetadataStore>> NewRocksdbMetadataStore(
    absl::string_view directory) {
  const std::string path(directory);
  MUSTER_RETURN_IF_ERROR(PrepareDataDirectory(path));
  MUSTER_RETURN_IF_ERROR(CheckStateIsNamed(path));
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(StoreOptions(), path, &db);
  if (!opened.ok()) return FromRocksdbOpen(opened, path);
  return std::make_unique<RocksdbMetadataStore>(path, std::unique_ptr<rocksdb::DB>(db));
}

}  // namespace muster
