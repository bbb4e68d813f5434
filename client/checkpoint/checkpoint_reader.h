// Opens the checkpoint that a user brings: one file, or a directory in the Hugging Face layout.
#ifndef MUSTER_CLIENT_CHECKPOINT_CHECKPOINT_READER_H_
#define MUSTER_CLIENT_CHECKPOINT_CHECKPOINT_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/checkpoint/byte_source.h"
#include "client/checkpoint/directory_walk.h"
#include "client/checkpoint/dtype.h"
#include "client/checkpoint/safetensors_header.h"

namespace muster {

struct SourceFile {
  // As it is called inside the checkpoint; the file's name when SRC is a single file.
  std::string relative_path;
  std::shared_ptr<const ByteSource> bytes;
  // Empty for a raw checkpoint.
  SafetensorsHeader header;
};

// One tensor of a checkpoint; the views are good as long as the Checkpoint lives.
struct SourceTensor {
  absl::string_view name;
  absl::string_view dtype;
  TensorShape shape;
  // Index into Checkpoint::files, and the place in that file.
  uint32_t file = 0;
  int64_t offset_bytes = 0;
  int64_t size_bytes = 0;
};

// Everything of a checkpoint but its tensors' bytes. Can be moved, not copied.
struct Checkpoint {
  Checkpoint() = default;
  Checkpoint(Checkpoint&&) = default;
  Checkpoint& operator=(Checkpoint&&) = default;

  // In order of relative paths.
  std::vector<SourceFile> files;
  // By file, then by offset; names are unique. Empty for a raw checkpoint.
  std::vector<SourceTensor> tensors;
  // "__metadata__" of all files merged.
  std::map<std::string, std::string> metadata;
  // In order of relative paths; within the catalogue's limits.
  std::vector<FoundFile> companions;
  // For the user, one line each: what was left out and what could not be checked.
  std::vector<std::string> warnings;

  int64_t TotalBytes() const;
  // kAborted, naming the file, when a source file changed since it was opened.
  absl::Status CheckUnchanged() const;
};

struct CheckpointOptions {
  // Refuse tensors of an unknown dtype, which are copied unchecked otherwise.
  bool strict = false;
};

// Opens a safetensors checkpoint with its tensors. kInvalidArgument, naming files, tensors and
// values, for whatever is wrong with it; files of other formats are refused with the advice to cut
// them `raw`. kNotFound for a missing SRC or a file that the index names.
absl::StatusOr<Checkpoint> OpenTensorCheckpoint(absl::string_view src,
                                                const CheckpointOptions& options);

// Opens files of any format, to be cut as bytes: SRC itself, or every weight file of a directory.
// Indexes are companions then, because the files come back as they were.
absl::StatusOr<Checkpoint> OpenRawCheckpoint(absl::string_view src);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_CHECKPOINT_READER_H_
