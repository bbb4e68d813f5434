// Durable, ordered rows of bytes: where the server keeps its catalogue.
#ifndef MUSTER_STORAGE_METADATA_METADATA_STORE_H_
#define MUSTER_STORAGE_METADATA_METADATA_STORE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// What one Commit does: all of it, or nothing.
struct MetadataBatch {
  // Holds when the row has exactly this value; nullopt means that the row must not exist.
  struct Condition {
    std::string key;
    std::optional<std::string> value;
  };
  struct Put {
    std::string key;
    std::string value;
  };
  struct Delete {
    std::string key;
  };
  // Deletes every row with begin <= key < end.
  struct DeleteRange {
    std::string begin;
    std::string end;
  };
  using Operation = std::variant<Put, Delete, DeleteRange>;

  std::vector<Condition> conditions;
  // Carried out in this order.
  std::vector<Operation> operations;
  // What the caller calls the state that the batch leads to, rising; 0: nothing. A store only repeats
  // it to people when what it acknowledged is missing.
  uint64_t revision = 0;

  // Keys and values of the conditions and operations, in bytes: what Limits::batch_bytes_max
  // bounds.
  size_t SizeBytes() const;
};

// Thread-safe; calls block. Keys and values are any bytes; keys are ordered as unsigned bytes.
//
// Get and Scan see every Commit that has returned OK before them. kUnavailable: a retry may
// succeed. kDataLoss: the stored bytes are damaged.
class MetadataStore {
 public:
  struct Limits {
    // Conditions and operations of one batch, together.
    size_t batch_operations_max;
    size_t batch_bytes_max;
    size_t value_bytes_max;
  };
  struct Row {
    std::string key;
    std::string value;
  };

  virtual ~MetadataStore() = default;

  // Constant for the life of the store.
  virtual Limits limits() const = 0;

  // kNotFound if there is no such row.
  virtual absl::StatusOr<std::string> Get(absl::string_view key) = 0;

  // The rows with begin <= key < end in key order, at most `limit` (at least 1) of them. To page
  // on, scan again from the last key followed by a zero byte.
  virtual absl::StatusOr<std::vector<Row>> Scan(absl::string_view begin, absl::string_view end,
                                                size_t limit) = 0;

  // Applies the batch as one, and returns OK only when it is durable.
  // kAborted: a condition does not hold; nothing was written. kInvalidArgument: the batch is beyond
  // limits(); nothing was written. Any other error: the outcome is unknown, and the caller must not
  // go on.
  virtual absl::Status Commit(const MetadataBatch& batch) = 0;

  // kAborted once this process no longer leads the store; always OK for a store that only one
  // process can open.
  virtual absl::Status CheckLeadership() = 0;

  // Bytes that may still be written before the storage is full; nullopt where nothing bounds it.
  virtual absl::StatusOr<std::optional<int64_t>> FreeBytes() = 0;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_METADATA_STORE_H_
