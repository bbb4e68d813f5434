// A metadata store on a local disk: the server's default.
#ifndef MUSTER_STORAGE_METADATA_ROCKSDB_METADATA_STORE_H_
#define MUSTER_STORAGE_METADATA_ROCKSDB_METADATA_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

struct RocksdbOpenOptions {
  // With an id of a new history, a store opens although acknowledged rows are missing, with those up to
  // the first one that is, and has this history from then on. "": it is refused.
  std::string history_after_loss;
  // Says in words where the rows of a store end, such as "revision 44", for the error about missing
  // ones; may be left out.
  std::function<std::string(MetadataStore& store)> describe_end;
};

struct OpenedRocksdb {
  std::unique_ptr<MetadataStore> store;
  // What is missing, where that was accepted; "": nothing.
  std::string lost;
};

// Opens the store in `directory`, which is made (mode 0700) when it is absent. One process at a
// time can have it open. After a Commit whose outcome is unknown, every later one is refused until
// the store is opened again.
//
// kFailedPrecondition: another process has it open, or it is no directory. kPermissionDenied: not
// writable. kDataLoss: what is there is damaged, or less than what was acknowledged; no file was
// changed. kResourceExhausted: the disk is full. kInvalidArgument: the path's form.
absl::StatusOr<OpenedRocksdb> OpenRocksdbMetadataStore(absl::string_view directory,
                                                       const RocksdbOpenOptions& options);

// The same, where no loss is accepted.
absl::StatusOr<std::unique_ptr<MetadataStore>> NewRocksdbMetadataStore(absl::string_view directory);

// What can be told of a store's files.
struct RocksdbState {
  uint64_t sequence = 0;
  // As the witness has it; 0 where there is none.
  uint64_t acknowledged_revision = 0;
};

// Opens the store in `directory` to look at it: no file is changed, Commit fails, and no other process
// opens the store meanwhile. Every block was read and its checksum compared. kNotFound: there is no
// store; kDataLoss as above.
struct ReadOnlyRocksdb {
  std::unique_ptr<MetadataStore> store;
  RocksdbState state;
};
absl::StatusOr<ReadOnlyRocksdb> OpenRocksdbReadOnly(const std::string& directory);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_ROCKSDB_METADATA_STORE_H_
