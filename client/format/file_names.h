// How the files of a model directory are called, and what their names say.
//
// Pure functions; thread-safe.
#ifndef MUSTER_CLIENT_FORMAT_FILE_NAMES_H_
#define MUSTER_CLIENT_FORMAT_FILE_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// What comes before the last "/"; "" for a file of the top level.
absl::string_view FolderOf(absl::string_view path);
// What comes after it.
absl::string_view BaseNameOf(absl::string_view path);
// `folder`/`name`; just `name` for folder "".
std::string InFolder(absl::string_view folder, absl::string_view name);

// How the catalogue names a tensor of a file in `folder`, so that equal names in the components of
// a pipeline differ: "unet/conv_in.weight". The name in the file stays "conv_in.weight".
std::string CatalogueTensorName(absl::string_view folder, absl::string_view name);

// What the files of one set have in common: "model" for "model-00001-of-00003.safetensors" and for
// "model.safetensors". `file` ends with ".safetensors" or as a PyTorch file does.
std::string StemOf(absl::string_view file);

// File `i` (from 0) of `count`, as Hugging Face names it: "model-00001-of-00003.safetensors", or
// "model.safetensors" for the only one.
std::string WeightFileName(absl::string_view stem, size_t i, size_t count);
// "model.safetensors.index.json".
std::string IndexFileName(absl::string_view stem);

// The parts of vLLM's "model-rank-{rank}-part-{part}.safetensors".
struct RankFile {
  uint32_t rank = 0;
  uint32_t part = 0;
};
std::optional<RankFile> ParseRankFile(absl::string_view file);

bool IsSafetensorsPath(absl::string_view path);
// "*.bin", "*.pt" and "*.pth".
bool IsTorchPath(absl::string_view path);
// "X.bin.index.json".
bool IsTorchIndexPath(absl::string_view path);

// Whether engines may run the file because of its name: modules of Python as source, bytecode or library. What
// "auto_map" of a config names is such a module.
bool IsCodePath(absl::string_view path);

// `text` with the ASCII letters in lower case: what file systems that don't tell letter cases
// apart, and names in ASCII, come down to.
std::string FoldCase(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_CLIENT_FORMAT_FILE_NAMES_H_
