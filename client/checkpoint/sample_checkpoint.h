// Makes a checkpoint with the names and shapes of a Llama-like transformer, for trying things out.
#ifndef MUSTER_CLIENT_CHECKPOINT_SAMPLE_CHECKPOINT_H_
#define MUSTER_CLIENT_CHECKPOINT_SAMPLE_CHECKPOINT_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

inline constexpr int64_t kMinSampleBytes = int64_t{256} << 10;
inline constexpr int64_t kMaxSampleBytes = int64_t{1} << 44;

struct SampleOptions {
  // Of the tensors' bytes; the result comes within 2 % of it. From kMinSampleBytes to
  // kMaxSampleBytes.
  int64_t size_bytes = int64_t{256} << 20;
  // The same seed and size give the same tensors, in a file and in a directory alike.
  uint64_t seed = 0;
  // 0 writes one safetensors file; more writes a Hugging Face directory with that many of them, an
  // index, and the companions that come with a model.
  uint32_t directory_files = 0;
  // Called now and then with the bytes written so far; may be empty.
  std::function<void(int64_t bytes_written)> on_progress;
};

struct SampleSummary {
  int64_t tensor_bytes = 0;
  int64_t tensor_count = 0;
  int64_t layer_count = 0;
};

// Writes to `path`, which appears only when it is complete: an existing file is replaced, an
// existing directory that is not empty is refused. Uses a few MiB of memory. kResourceExhausted
// when the disk is full, with nothing left behind; kInvalidArgument for a size or a number of files
// that is not possible.
absl::StatusOr<SampleSummary> WriteSampleCheckpoint(absl::string_view path,
                                                    const SampleOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_SAMPLE_CHECKPOINT_H_
