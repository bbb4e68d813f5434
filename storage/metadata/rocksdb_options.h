// How this store uses RocksDB, and what RocksDB's errors mean. Internal to storage/metadata and its tests.
//
// Thread-safe: no state.
#ifndef MUSTER_STORAGE_METADATA_ROCKSDB_OPTIONS_H_
#define MUSTER_STORAGE_METADATA_ROCKSDB_OPTIONS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"

namespace muster {

rocksdb::Options StoreOptions();

// "data directory "DIR"", for messages.
std::string ShownDataDirectory(const std::string& directory);

// For a call on an open store.
absl::Status FromRocksdb(const rocksdb::Status& status, const std::string& directory);

// For an attempt to open one.
absl::Status FromRocksdbOpen(const rocksdb::Status& status, const std::string& directory);

// Opens what is in `directory` without a change to any file, its logs included. Nobody may write to it
// meanwhile.
absl::StatusOr<std::unique_ptr<rocksdb::DB>> OpenReadOnly(const std::string& directory);

// Holds the lock that RocksDB takes on a store, so that no other process opens it. Movable.
class StoreLock {
 public:
  // kFailedPrecondition: another process, or this one, has the store open.
  static absl::StatusOr<StoreLock> Take(const std::string& directory);

  StoreLock(StoreLock&& other) noexcept;
  StoreLock& operator=(StoreLock&&) = delete;
  ~StoreLock();

 private:
  explicit StoreLock(rocksdb::FileLock* lock) : lock_(lock) {}

  rocksdb::FileLock* lock_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_ROCKSDB_OPTIONS_H_
