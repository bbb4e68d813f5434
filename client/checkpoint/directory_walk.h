// What a checkpoint directory holds: weight files, indexes, and the companions beside them.
#ifndef MUSTER_CLIENT_CHECKPOINT_DIRECTORY_WALK_H_
#define MUSTER_CLIENT_CHECKPOINT_DIRECTORY_WALK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// The catalogue's limits; proto/muster/v1/model.proto says the same.
inline constexpr int64_t kMaxCompanionBytes = int64_t{64} << 20;
inline constexpr size_t kMaxCompanions = 1'000;

// Bounds on the walk itself, so that a wrong SRC (a home directory, say) ends it soon.
inline constexpr int kMaxDirectoryDepth = 32;
inline constexpr size_t kMaxDirectoryEntries = 200'000;

struct FoundFile {
  // With "/" between segments.
  std::string relative_path;
  // What to open.
  std::string path;
  int64_t size_bytes = 0;
};

// All lists are in order of relative paths.
struct DirectoryContent {
  // *.safetensors, *.bin, *.pt, *.pth, *.gguf, *.msgpack, *.h5, *.onnx, *.ot.
  std::vector<FoundFile> weights;
  // *.safetensors.index.json.
  std::vector<FoundFile> indexes;
  // Every other regular file, hidden temporary files aside.
  std::vector<FoundFile> companions;
  // Relative paths of links that lead out of the directory or nowhere, and of files that are no
  // regular files.
  std::vector<std::string> skipped;
};

// Walks `directory` with its subfolders; hidden folders (.git, .cache …) and __pycache__ are left
// out. A link to a file counts as the file if its target is inside the directory; links to
// directories are skipped. kNotFound, kPermissionDenied; kInvalidArgument when the walk's bounds
// are exceeded.
absl::StatusOr<DirectoryContent> WalkCheckpointDirectory(absl::string_view directory);

// kInvalidArgument, naming the companion, when it is too big, one too many, or its path can't be
// registered.
absl::Status CheckCompanions(const std::vector<FoundFile>& companions);

bool IsSafetensorsPath(absl::string_view path);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_DIRECTORY_WALK_H_
