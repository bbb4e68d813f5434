// The header of a safetensors file: which tensors it has, and where.
//
// A file is 8 bytes of little-endian header length, the header (JSON, padded with spaces), then the
// tensors' bytes without holes up to the end of the file.
#ifndef MUSTER_CLIENT_FORMAT_SAFETENSORS_HEADER_H_
#define MUSTER_CLIENT_FORMAT_SAFETENSORS_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/format/byte_source.h"
#include "client/format/dtype.h"

namespace muster {

// The format's own cap on the header, without the 8 bytes before it.
inline constexpr int64_t kMaxSafetensorsHeaderBytes = 100'000'000;
inline constexpr int64_t kSafetensorsLengthBytes = 8;

// One tensor; the views are good as long as the header that they came from is neither moved nor
// destroyed.
struct TensorInfo {
  absl::string_view name;
  absl::string_view dtype;
  TensorShape shape;
  // Range in the data section; add SafetensorsHeader::data_begin_bytes() for the place in the file.
  int64_t begin_bytes = 0;
  int64_t end_bytes = 0;
};

// A checked header as a compact table: at most 3 times the header's bytes, typically less than
// once.
//
// A value; thread-safe for reading. Tensors are in order of their bytes.
class SafetensorsHeader {
 public:
  size_t tensor_count() const { return records_.size(); }
  // `i` is below tensor_count().
  TensorInfo tensor(size_t i) const;
  absl::string_view tensor_name(size_t i) const;
  std::optional<size_t> Find(absl::string_view name) const;

  // The file's "__metadata__".
  std::map<std::string, std::string> Metadata() const;

  // Where the data section starts in the file, and its size.
  int64_t data_begin_bytes() const { return data_begin_bytes_; }
  int64_t data_size_bytes() const { return data_size_bytes_; }

  // Dtypes that this program doesn't know, so that their tensors' sizes could not be checked; at
  // most 100 of them.
  std::vector<std::string> UnknownDtypes() const;
  // Fields of tensors that the format doesn't define; like other readers, this one skips them.
  int64_t ignored_field_count() const { return ignored_field_count_; }

 private:
  friend class SafetensorsHeaderParser;

  // Strings and shapes lie in `arena_`; one entry is the name, the dtype (both with their length
  // before them), the number of dimensions, and each dimension, all numbers as varints. So no entry
  // is longer than the JSON that it came from.
  struct Record {
    int64_t begin_bytes;
    int64_t end_bytes;
    uint32_t entry;
    // Not of this tensor: the i-th record holds the position of the i-th tensor in order of names.
    uint32_t by_name;
  };

  absl::string_view StringAt(size_t& position) const;
  uint64_t VarintAt(size_t& position) const;

  std::string arena_;
  // A deque grows without copying, a vector needs three times the space for a moment.
  std::deque<Record> records_;
  // Arena positions of key and value, in order of keys.
  std::deque<uint32_t> metadata_;
  int64_t data_begin_bytes_ = 0;
  int64_t data_size_bytes_ = 0;
  int64_t ignored_field_count_ = 0;
};

// Reads and checks the header of `source`. kInvalidArgument, naming the source, the tensor and the
// values, for anything that breaks the format or the limits above; errors of the source as they
// are.
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const ByteSource& source);

// True if `source` begins like a safetensors file: a length that fits, then "{".
absl::StatusOr<bool> LooksLikeSafetensors(const ByteSource& source);

}  // namespace muster

#endif  // MUSTER_CLIENT_FORMAT_SAFETENSORS_HEADER_H_
