#include "storage/metadata/rocksdb_options.h"

#include <algorithm>
#include <cstdarg>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/convenience.h"
#include "rocksdb/env.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/table.h"

namespace muster {
namespace {

constexpr size_t kWriteBufferBytes = 16 << 20;
constexpr size_t kBlockCacheBytes = 32 << 20;
constexpr size_t kWalBytesMax = 64 << 20;
constexpr size_t kInfoLogBytesMax = 4 << 20;
constexpr size_t kInfoLogFilesMax = 4;
// All: a store has some dozens of tables, and one that was closed for a bound costs each range delete in it anew.
constexpr int kOpenFilesMax = -1;

rocksdb::CompressionType BestCompression() {
  const std::vector<rocksdb::CompressionType> supported = rocksdb::GetSupportedCompressions();
  const bool has_zstd =
      std::find(supported.begin(), supported.end(), rocksdb::kZSTD) != supported.end();
  return has_zstd ? rocksdb::kZSTD : rocksdb::kNoCompression;
}

// RocksDB would begin a file LOG in a directory that is only looked at.
class NoInfoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

std::string LockPath(const std::string& directory) { return directory + "/LOCK"; }

}  // namespace

rocksdb::Options StoreOptions() {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));

  rocksdb::Options options;
  options.create_if_missing = true;
  options.paranoid_checks = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  // So that a log that was closed is missed when it is gone or cut.
  options.track_and_verify_wals_in_manifest = true;
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

std::string ShownDataDirectory(const std::string& directory) {
  return absl::StrCat("data directory \"", absl::CHexEscape(directory), "\"");
}

absl::Status FromRocksdb(const rocksdb::Status& status, const std::string& directory) {
  const std::string message = absl::StrCat(ShownDataDirectory(directory), ": ", status.ToString());
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
  const std::string message = absl::StrCat(ShownDataDirectory(directory), ": ", text);
  if (status.IsIOError() && absl::StrContains(text, "lock hold by current process")) {
    return absl::FailedPreconditionError(
        absl::StrCat(ShownDataDirectory(directory), " is in use by this process; close it first"));
  }
  if (status.IsIOError() && absl::StrContains(text, "While lock file")) {
    return absl::FailedPreconditionError(
        absl::StrCat(ShownDataDirectory(directory),
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

absl::StatusOr<std::unique_ptr<rocksdb::DB>> OpenReadOnly(const std::string& directory) {
  rocksdb::Options options = StoreOptions();
  options.create_if_missing = false;
  options.info_log = std::make_shared<NoInfoLog>();
  // By families, as RocksDB opens a store without logs in another way otherwise.
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, options}};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::OpenForReadOnly(options, directory, families, &handles, &db);
  if (!opened.ok()) return FromRocksdbOpen(opened, directory);
  std::unique_ptr<rocksdb::DB> owned(db);
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    owned->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  return owned;
}

absl::StatusOr<StoreLock> StoreLock::Take(const std::string& directory) {
  rocksdb::FileLock* lock = nullptr;
  const rocksdb::Status taken = rocksdb::Env::Default()->LockFile(LockPath(directory), &lock);
  if (!taken.ok()) return FromRocksdbOpen(taken, directory);
  return StoreLock(lock);
}

StoreLock::StoreLock(StoreLock&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)) {}

StoreLock::~StoreLock() {
  if (lock_ != nullptr) rocksdb::Env::Default()->UnlockFile(lock_).PermitUncheckedError();
}

}  // namespace muster
