// The further file of a model's folder, in which tensors are written under their other names, so
// that programs which don't know tied names find every one.
#ifndef MUSTER_CLIENT_ASSEMBLE_TIED_FILE_H_
#define MUSTER_CLIENT_ASSEMBLE_TIED_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/assemble/output_layout.h"
#include "client/format/dtype.h"

namespace muster {

// One other name of a tensor.
struct TiedTensor {
  // As in the file: without the folder.
  std::string name;
  // The file of the model that holds the tensor, and where that can be read while it is made.
  std::string file;
  std::string readable_path;
  std::string dtype;
  TensorShape shape;
  // In that file.
  int64_t offset_bytes = 0;
  int64_t size_bytes = 0;
};

struct TiedFile {
  // In the model.
  std::string path;
  std::vector<TiedTensor> tensors;
};

// Writes one file for every folder of `tensors` into `directory`, named as the one after those that
// `layout` has there: model-00003-of-00003.safetensors after two. Adds the files to `layout`, with
// an index for a folder that had none. The bytes are those of files that were verified.
// kInvalidArgument UNSAFE_PATH when the model has a file of that name; kResourceExhausted: the disk
// is full. Blocks; buffers 1 MiB.
absl::StatusOr<std::vector<TiedFile>> WriteTiedFiles(std::vector<TiedTensor> tensors,
                                                     const std::vector<v1::Companion>& companions,
                                                     const std::string& directory,
                                                     OutputLayout& layout);

}  // namespace muster

#endif  // MUSTER_CLIENT_ASSEMBLE_TIED_FILE_H_
