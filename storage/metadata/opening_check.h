// What is looked at before RocksDB opens a store for writing: opening it changes files, and would take
// some losses for a normal end.
//
// Thread-safe: no state. Nothing is changed.
#ifndef MUSTER_STORAGE_METADATA_OPENING_CHECK_H_
#define MUSTER_STORAGE_METADATA_OPENING_CHECK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/metadata/metadata_store.h"
#include "storage/metadata/witness.h"

namespace muster {

struct OpeningFindings {
  // nullopt: the store is new, or older than witnesses.
  std::optional<Witnessed> witnessed;
  // Rows that were acknowledged are missing, or may be: why, in a sentence without an end. "": none.
  std::string lost;
  // Logs from this number on can't be replayed on what is there.
  std::optional<uint64_t> unusable_logs_from;
};

// Says in words where the rows of a store end, such as "revision 44".
using DescribeEnd = std::function<std::string(MetadataStore& store)>;

// The caller holds the store's lock. `thorough` also looks at what RocksDB looks at itself when it
// opens the store. kDataLoss: the store can't be opened, whatever loss is accepted.
absl::StatusOr<OpeningFindings> FindLoss(const std::string& directory, bool thorough,
                                         const DescribeEnd& describe_end);

// Whether RocksDB could not open a store because of a log that is gone or too short.
bool IsAboutMissedLog(const absl::Status& status);

// kResourceExhausted unless the device of `directory` has room for what opening the store writes.
// RocksDB may end the process where it has not.
absl::Status CheckRoomToOpen(const std::string& directory);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_OPENING_CHECK_H_
