// Which file of an assembled model holds which shard.
#ifndef MUSTER_CLIENT_ASSEMBLE_OUTPUT_LAYOUT_H_
#define MUSTER_CLIENT_ASSEMBLE_OUTPUT_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "muster/v1/model.pb.h"

namespace muster {

// A value. Every path is relative and can't lead out of the directory that it is joined to.
struct OutputLayout {
  struct File {
    std::string path;
    int64_t size_bytes = 0;
  };
  // Where a shard begins.
  struct Place {
    // Index into `files`.
    size_t file = 0;
    int64_t offset_bytes = 0;
  };
  // An index that says which of its folder's files holds which tensor.
  struct Index {
    std::string path;
    // Indices into `files`, all of the index's folder.
    std::vector<size_t> files;
  };

  // The shards are ranges of other files, so there are no tensors to look at.
  bool raw = false;
  std::vector<File> files;
  // By shard index.
  std::vector<Place> shards;
  // At most one of each folder.
  std::vector<Index> indexes;
  int64_t total_bytes = 0;
};

// Lays out `shards`, which are all shards of `version` in index order, as the server sent them.
// Shards with tensors become one safetensors file each, named as their source_path says or else as
// Hugging Face names them, with an index for every folder that holds several files that were not
// cut by rank, or one that is called like one of several. Shards that were cut `raw` become the files that they were cut from, without gaps or
// overlaps.
//
// kFailedPrecondition: the version is not committed. kDataLoss: the server's description has holes.
// kInvalidArgument: a path leads out of the directory, or a size is impossible. kUnimplemented: a
// shard is encoded in a way that this program doesn't know.
absl::StatusOr<OutputLayout> LayOutModel(const v1::ModelVersion& version,
                                         const std::vector<v1::Shard>& shards);

// kInvalidArgument unless the companions' paths stay inside the directory, differ from each other
// and from the layout's files and none is a folder of another.
absl::Status CheckCompanionPaths(const OutputLayout& layout,
                                 const std::vector<v1::Companion>& companions);

// kPermissionDenied CODE_NOT_ALLOWED, with metadata `files`, where a file of the model is one that engines may run: the
// catalogue's word is not enough for that.
absl::Status CheckNoCode(const OutputLayout& layout, const std::vector<v1::Companion>& companions);

}  // namespace muster

#endif  // MUSTER_CLIENT_ASSEMBLE_OUTPUT_LAYOUT_H_
