// Writes the header of a safetensors file.
#ifndef MUSTER_CLIENT_FORMAT_SAFETENSORS_WRITER_H_
#define MUSTER_CLIENT_FORMAT_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

// Tensor data of the files that Muster writes starts at a multiple of this, so that it can be
// mapped.
inline constexpr int64_t kSafetensorsAlignmentBytes = 4'096;

// Appends `text` to `out` as a JSON string. `text` is valid UTF-8.
void AppendJsonString(absl::string_view text, std::string& out);

// Builds the length, the JSON and the padding. The same calls give the same bytes. Used by one
// thread.
class SafetensorsHeaderBuilder {
 public:
  explicit SafetensorsHeaderBuilder(const std::map<std::string, std::string>& metadata);

  // Adds the tensor whose bytes come next. Names must differ; the caller sees to that.
  void Add(absl::string_view name, absl::string_view dtype, absl::Span<const int64_t> shape,
           int64_t size_bytes);

  // Everything before the tensors' bytes. kResourceExhausted when the header exceeds the format's
  // cap.
  absl::StatusOr<std::string> Finish() &&;

 private:
  std::string out_;
  bool empty_ = true;
  int64_t offset_bytes_ = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_FORMAT_SAFETENSORS_WRITER_H_
