// RocksDB's log format, read without RocksDB: the write-ahead logs and the MANIFEST are written in it.
//
// A log is blocks of 32 KiB. A record is one or more fragments, none of which crosses a block; each
// has a header of checksum, length and type, and with recycled logs the log's number.
#ifndef MUSTER_STORAGE_METADATA_LOG_RECORDS_H_
#define MUSTER_STORAGE_METADATA_LOG_RECORDS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// One physical piece of a record, with a checksum that is right.
struct LogFragment {
  enum class Part { kFull, kFirst, kMiddle, kLast, kSetCompression };

  Part part = Part::kFull;
  size_t begin = 0;
  // Behind its payload.
  size_t end = 0;
  absl::string_view payload;
};

// The fragment whose header is at `begin` of the log `bytes`; nullopt where there is no whole one.
std::optional<LogFragment> FragmentAt(absl::string_view bytes, size_t begin);

// Reads the records of a log one after the other, up to the end or up to the first thing that is no
// record. Not thread-safe.
class LogRecords {
 public:
  // How far the head of a record is kept, which is what identifies it.
  static constexpr size_t kHeadBytes = 12;

  struct Record {
    size_t begin = 0;
    size_t end = 0;
    size_t size_bytes = 0;
    // The first kHeadBytes of the payload, or all of it.
    std::string head;
  };

  // `bytes` is the whole log, and outlives this.
  explicit LogRecords(absl::string_view bytes) : bytes_(bytes) {}

  // nullopt at the end of the whole records.
  std::optional<Record> Next();

  // Once Next has returned nullopt: where the whole records end, and whether nothing follows them
  // but what the writer leaves at the end of a block.
  size_t whole_bytes() const { return whole_bytes_; }
  bool is_clean() const { return whole_bytes_ == bytes_.size(); }
  // Records that are compressed can't be told apart without RocksDB.
  bool is_compressed() const { return compressed_; }

 private:
  // Skips the end of a block that is too short for a header.
  void SkipTrailer();

  const absl::string_view bytes_;
  size_t position_ = 0;
  size_t whole_bytes_ = 0;
  bool compressed_ = false;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_LOG_RECORDS_H_
