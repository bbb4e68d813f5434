// Whether the write-ahead logs of a store hold every batch that they should, told before RocksDB opens
// them: it takes some damage for the end of the log, and drops what follows.
#ifndef MUSTER_STORAGE_METADATA_WRITE_AHEAD_LOGS_H_
#define MUSTER_STORAGE_METADATA_WRITE_AHEAD_LOGS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// Each operation of a batch takes one sequence number; a batch is known by its first one.
struct LogWalk {
  // Of the first whole batch; 0: there is none.
  uint64_t first_sequence = 0;
  // What the batch behind the whole ones will have; `expected` where there is none.
  uint64_t next_sequence = 0;
  // Up to where batches are whole.
  size_t whole_bytes = 0;
  // Why this can't be what a crash leaves; "" for a log that is whole, or torn at its end.
  std::string damage;
  // The batches do not go on from those before this log.
  bool gap = false;
};

// Walks the log `bytes`, whose first batch should have the number `expected`; 0: any.
//
// A torn end is what a crash leaves of the last batch, which nobody was told of: no whole batch
// follows it, since the next one is written only when the last one is durable.
LogWalk WalkLog(absl::string_view bytes, uint64_t expected);

struct LogsFound {
  // The newest number of a whole batch; 0: there is none.
  uint64_t last_sequence = 0;
  uint64_t bytes = 0;
  // As in LogWalk, with the file's name.
  std::string damage;
  // Logs from this number on do not go on from those before.
  std::optional<uint64_t> gap_before;
};

// Walks all logs of `directory`, in the order in which they were written. A torn end in the middle of
// them is what a crash left before the one after it was begun. Errors are those of reading.
absl::StatusOr<LogsFound> WalkLogs(const std::string& directory);

// kDataLoss unless the MANIFEST `bytes` is whole up to `durable_bytes`, and no whole record follows
// a break behind that. `name` is for the message.
absl::Status CheckManifest(absl::string_view bytes, uint64_t durable_bytes, absl::string_view name);

// The number of a write-ahead log by its file's name; nullopt for another file.
std::optional<uint64_t> WriteAheadLogNumber(absl::string_view name);

// Renames the logs from number `from` on, so that RocksDB does not find them: "000007.log.lost".
absl::Status SetLogsAside(const std::string& directory, uint64_t from);

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_WRITE_AHEAD_LOGS_H_
