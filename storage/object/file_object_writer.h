// Writes one object of the file backend.
#ifndef MUSTER_STORAGE_OBJECT_FILE_OBJECT_WRITER_H_
#define MUSTER_STORAGE_OBJECT_FILE_OBJECT_WRITER_H_

#include <sys/stat.h>

#include <memory>

#include "absl/status/statusor.h"
#include "storage/base/random.h"
#include "storage/files/staged_file.h"
#include "storage/object/object_store.h"

namespace muster {

// Differs once the content was replaced: the inode, the time of the last change and the size.
ObjectInfo InfoOf(const struct stat& info);

// Thread-safe as ObjectWriter says. kResourceExhausted at once when the announced size doesn't fit.
absl::StatusOr<std::unique_ptr<ObjectWriter>> NewFileObjectWriter(
    Random& random, FileDestination destination, const ObjectStore::WriteOptions& options);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_FILE_OBJECT_WRITER_H_
