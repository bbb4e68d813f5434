// A metadata store on a local disk: the server's default.
#ifndef MUSTER_STORAGE_METADATA_ROCKSDB_METADATA_STORE_H_
#define MUSTER_STORAGE_METADATA_ROCKSDB_METADATA_STORE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// Opens the store in `directory`, which is made (mode 0700) when it is absent. One process at a
// time can have it open. After a Commit whose outcome is unknown, every later one is refused until
// the store is opened again.
//
// kFailedPrecondition: another process has it open, or it is not a directory. kPermissionDenied:
// not writable. kDataLoss: what is there is damaged. kResourceExhausted: the disk is full.
// kInvalidArgument: the path's form.
absl::StatusOr<std::unique_ptr<MetadataStore>> NewRocksdbMetadataStore(absl::string_view directory);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_ROCKSDB_METADATA_STORE_H_
