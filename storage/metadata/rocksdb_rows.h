// The interface of a metadata store over an open RocksDB. Internal to storage/metadata.
#ifndef MUSTER_STORAGE_METADATA_ROCKSDB_ROWS_H_
#define MUSTER_STORAGE_METADATA_ROCKSDB_ROWS_H_

#include <memory>
#include <string>

#include "rocksdb/db.h"
#include "storage/metadata/metadata_store.h"
#include "storage/metadata/rocksdb_options.h"
#include "storage/metadata/witness.h"

namespace muster {

// Each batch that is durable is noted in `witness`.
std::unique_ptr<MetadataStore> RocksdbRows(const std::string& directory,
                                           std::unique_ptr<rocksdb::DB> db,
                                           std::shared_ptr<Witness> witness);

// Over a store that was opened to be read; Commit fails. `lock` is held as long.
std::unique_ptr<MetadataStore> ReadOnlyRows(const std::string& directory,
                                            std::unique_ptr<rocksdb::DB> db,
                                            std::shared_ptr<StoreLock> lock);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_ROCKSDB_ROWS_H_
