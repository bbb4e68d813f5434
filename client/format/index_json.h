// model.safetensors.index.json: which file of a Hugging Face directory holds which tensor.
#ifndef MUSTER_CLIENT_FORMAT_INDEX_JSON_H_
#define MUSTER_CLIENT_FORMAT_INDEX_JSON_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/format/byte_source.h"

namespace muster {

inline constexpr int64_t kMaxIndexJsonBytes = 100'000'000;
inline constexpr size_t kMaxIndexFiles = 100'000;

// A value. Tensors are in order of names, files in order of paths.
class IndexJson {
 public:
  const std::vector<std::string>& files() const { return files_; }
  size_t tensor_count() const { return entries_.size(); }
  absl::string_view tensor_name(size_t i) const;
  // Index into files().
  uint32_t tensor_file(size_t i) const { return entries_[i].file; }

 private:
  friend class IndexJsonParser;
  struct Entry {
    uint32_t name_begin;
    uint32_t name_size;
    uint32_t file;
  };

  std::string names_;
  std::vector<Entry> entries_;
  std::vector<std::string> files_;
};

// Reads and checks an index. kInvalidArgument, naming the source and the tensor, when it is not
// JSON object with a "weight_map" of strings, names a tensor twice, or names a file by a path that
// is absolute, has an empty, "." or ".." segment or a control character. Other fields are skipped.
absl::StatusOr<IndexJson> ReadIndexJson(const ByteSource& source);

struct WeightMapEntry {
  std::string tensor;
  std::string file;
};

// An index for `entries`, sorted by tensor. `total_size_bytes` is the sum of the tensors' bytes.
std::string WriteIndexJson(std::vector<WeightMapEntry> entries, int64_t total_size_bytes);

// True for a path of 1 to 1,024 bytes of UTF-8 with "/" between its segments, none of them empty,
// "." or "..", and without backslash and control characters. Such a path can't lead out of the
// directory that it is joined to.
bool IsSafeRelativePath(absl::string_view path);

}  // namespace muster

#endif  // MUSTER_CLIENT_FORMAT_INDEX_JSON_H_
