// Opens the checkpoint that a user brings: one file, or a directory as model hubs and engines have
// them.
#ifndef MUSTER_CLIENT_CHECKPOINT_CHECKPOINT_READER_H_
#define MUSTER_CLIENT_CHECKPOINT_CHECKPOINT_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/checkpoint/directory_walk.h"
#include "client/checkpoint/source_files.h"
#include "client/checkpoint/weight_sets.h"
#include "client/format/byte_source.h"
#include "client/format/dtype.h"
#include "client/format/safetensors_header.h"

namespace muster {

// The weights of one folder. A model has one, a pipeline one for each of its networks.
struct SourceComponent {
  // Relative; "" for the top level.
  std::string folder;
  // What its files are called by: "model", "diffusion_pytorch_model".
  std::string stem;
  // "__metadata__" of its files merged; see tied_tensors.h for one kind of its keys.
  std::map<std::string, std::string> metadata;
};

struct SourceFile {
  // As it is called inside the checkpoint; the file's name when SRC is a single file.
  std::string relative_path;
  // As they lie.
  std::shared_ptr<const ByteSource> bytes;
  // What the header and the places of tensors are about: `bytes`, or for a PyTorch file what it is
  // converted to.
  std::shared_ptr<const ByteSource> content;
  // Empty for a raw checkpoint.
  SafetensorsHeader header;
  // Other names of the tensors of a converted file; see tied_tensors.h.
  std::map<std::string, std::string> tied_names;
  // Index into Checkpoint::components; 0 for a raw checkpoint.
  uint32_t component = 0;
  // For files that were cut by rank.
  std::optional<uint32_t> rank;
  // What the bytes must hash to; "" where nothing is known. See FoundFile.
  std::string sha256;
};

// One tensor of a checkpoint; the views are good as long as the Checkpoint lives.
struct SourceTensor {
  absl::string_view name;
  absl::string_view dtype;
  TensorShape shape;
  // Index into Checkpoint::files, and the place in that file's content.
  uint32_t file = 0;
  int64_t offset_bytes = 0;
  int64_t size_bytes = 0;
};

// Everything of a checkpoint but its tensors' bytes. Can be moved, not copied.
struct Checkpoint {
  Checkpoint() = default;
  Checkpoint(Checkpoint&&) = default;
  Checkpoint& operator=(Checkpoint&&) = default;

  // By component, then by rank and part, then by relative path.
  std::vector<SourceFile> files;
  // By file, then by offset; names are unique in each component and rank. Empty for a raw
  // checkpoint.
  std::vector<SourceTensor> tensors;
  // In order of folders; none for a raw checkpoint.
  std::vector<SourceComponent> components;
  // In order of relative paths; within the catalogue's limits.
  std::vector<FoundFile> companions;
  // The weight files of the directory, chosen or not; none when SRC is a single file. Their indexes
  // are no longer there.
  std::vector<WeightSet> sets;
  // What else of the directory is not published.
  std::vector<LeftOut> left_out;
  // As in DirectoryContent.
  std::string snapshot;
  // For the user, one line each: what could not be checked, and what may be missing.
  std::vector<std::string> warnings;

  int64_t TotalBytes() const;
  // What the catalogue calls a tensor; see CatalogueTensorName.
  std::string NameInCatalogue(const SourceTensor& tensor) const;
  // kAborted, naming the file, when a source file changed since it was opened.
  absl::Status CheckUnchanged() const;
};

struct CheckpointOptions {
  // Refuse tensors of an unknown dtype, which are copied unchecked otherwise.
  bool strict = false;
  // Files that were cut by rank may be chosen; their names may repeat between ranks.
  bool take_ranked = false;
  // Take a tensor of a PyTorch file once for each of its names.
  bool untie = false;
  // Which weight files are the model; see SetOptions.
  std::vector<std::string> include = {};
  WalkOptions walk = {};
  // What SRC is a path of; outlives the call.
  const SourceFiles* files = &LocalFiles();
};

// Opens a checkpoint of safetensors or PyTorch files with its tensors; ChooseWeightSets says which
// of a directory's files. kInvalidArgument, naming files, tensors and values, for whatever is wrong with it; files of
// other formats are refused with the advice to cut them `raw`. kNotFound for a missing SRC or a file
// that the index names. kPermissionDenied.
absl::StatusOr<Checkpoint> OpenTensorCheckpoint(absl::string_view src,
                                                const CheckpointOptions& options);

// Opens files of any format, to be cut as bytes: SRC itself, or every weight file of a directory.
// Indexes are companions then, because the files come back as they were.
absl::StatusOr<Checkpoint> OpenRawCheckpoint(absl::string_view src,
                                             const CheckpointOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_CHECKPOINT_READER_H_
