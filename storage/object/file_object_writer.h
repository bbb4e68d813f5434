// Writes one object of the file backend.
#ifndef MUSTER_STORAGE_OBJECT_FILE_OBJECT_WRITER_H_
#define MUSTER_STORAGE_OBJECT_FILE_OBJECT_WRITER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "storage/base/random.h"
#include "storage/object/local_file.h"
#include "storage/object/object_store.h"

namespace muster {

// Where the object goes: `name` in `directory`, which was opened for reading.
struct FileDestination {
  LocalFile directory;
  std::string name;
  std::string uri;
};

// Thread-safe as ObjectWriter says. kResourceExhausted at once when the announced size doesn't fit.
absl::StatusOr<std::unique_ptr<ObjectWriter>> NewFileObjectWriter(
    Random& random, FileDestination destination, const ObjectStore::WriteOptions& options);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_FILE_OBJECT_WRITER_H_
