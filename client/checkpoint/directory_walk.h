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

// Bounds on the walk itself, so that a wrong SRC (a home directory, say) ends it soon.
inline constexpr int kMaxDirectoryDepth = 32;
inline constexpr size_t kMaxDirectoryEntries = 200'000;

struct FoundFile {
  // With "/" between segments.
  std::string relative_path;
  // What to open.
  std::string path;
  int64_t size_bytes = 0;
  // What the file's bytes must hash to: the name of its blob in a Hugging Face cache. 64 lowercase
  // hex digits, or "" where nothing is known.
  std::string sha256;
};

// Something in SRC that is not published.
struct LeftOut {
  // Relative; a folder ends with "/".
  std::string path;
  // A phrase: "a link out of the directory".
  std::string why;
  // Nobody expects it to be published: hidden folders, what editors and downloads leave behind.
  bool expected = false;
};

struct WalkOptions {
  // Globs as fnmatch(3) takes them, on relative paths; "*" matches "/" too. What matches is left
  // out.
  std::vector<std::string> exclude;
  // Publish what IsCodePath names.
  bool allow_code = false;
};

// All lists are in order of relative paths.
struct DirectoryContent {
  // *.safetensors, *.bin, *.pt, *.pth, *.gguf, *.msgpack, *.h5, *.onnx, *.ot.
  std::vector<FoundFile> weights;
  // *.safetensors.index.json and *.bin.index.json, and with a variant before the ".json".
  std::vector<FoundFile> indexes;
  // Every other regular file.
  std::vector<FoundFile> companions;
  std::vector<LeftOut> left_out;
  // "org/name@revision" when the directory is a snapshot in a Hugging Face cache; "" otherwise.
  std::string snapshot;
};

// Walks `directory` with its subfolders; hidden folders (.git, .cache …) and __pycache__ are left
// out. A link to a file counts as the file if its target is inside the directory, or in a snapshot
// …/models--ORG--NAME/snapshots/REVISION inside the repository's `blobs`; other links are left out.
// kNotFound, kPermissionDenied; kInvalidArgument when the walk's bounds are exceeded or `directory`
// is a whole repository of a Hugging Face cache.
absl::StatusOr<DirectoryContent> WalkCheckpointDirectory(absl::string_view directory,
                                                         const WalkOptions& options);

// Puts a regular file into the list of `content` that it belongs to, or among what is left out: by
// its path, whose folders count too, and by `options`. The lists are in no order then.
void SortInto(FoundFile file, const WalkOptions& options, DirectoryContent& content);
// Brings the lists in order.
void OrderLists(DirectoryContent& content);

// kInvalidArgument, naming the companion, when it is too big, one too many, or its path can't be
// registered.
absl::Status CheckCompanions(const std::vector<FoundFile>& companions);

// Whether `path` matches one of `globs`, as fnmatch(3) without flags.
bool MatchesAny(const std::string& path, const std::vector<std::string>& globs);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_DIRECTORY_WALK_H_
