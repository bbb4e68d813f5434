// Which weight files of a directory are the model, where several sets of them lie side by side.
#ifndef MUSTER_CLIENT_CHECKPOINT_WEIGHT_SETS_H_
#define MUSTER_CLIENT_CHECKPOINT_WEIGHT_SETS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/checkpoint/directory_walk.h"
#include "client/checkpoint/source_files.h"
#include "client/format/index_json.h"

namespace muster {

// Files of one folder that belong together.
struct WeightSet {
  enum class Kind {
    // The order is that of preference.
    //
    // Safetensors files that an index names.
    kIndexed,
    // Safetensors files without an index.
    kFiles,
    // consolidated*.safetensors: the same weights as their makers keep them.
    kConsolidated,
    // Another precision of a set beside it: X.fp16.safetensors.
    kVariant,
    // vLLM's model-rank-{r}-part-{p}.safetensors.
    kRanked,
    // PyTorch files that an index names, or that are called as libraries call theirs:
    // pytorch_model*.bin.
    kTorch,
    // Other *.bin, *.pt and *.pth.
    kTorchFiles,
    // What a training run keeps beside its weights: optimizer.pt.
    kTrainingState,
    // Files of another format.
    kOther,
  };

  Kind kind = Kind::kFiles;
  // Relative; "" for the top level.
  std::string folder;
  // For people: "model*.safetensors", "*.gguf".
  std::string name;
  // What its files are called by as safetensors files: "model". Empty where they say nothing.
  std::string stem;
  // In order of paths.
  std::vector<FoundFile> files;
  // The index's path and content, where there is one.
  std::string index_path;
  std::optional<IndexJson> index;
  // Whether it is a part of the model; if not, why not.
  bool chosen = false;
  std::string why;

  int64_t SizeBytes() const;
};

struct SetOptions {
  // Globs: exactly the weight files that match one of them are the model. Empty: the rules decide.
  std::vector<std::string> include = {};
  // Sets of kind kRanked may be chosen; elsewhere their tensors' names repeat.
  bool take_ranked = false;
  // Where the content was listed; outlives the call.
  const SourceFiles* files = &LocalFiles();
};

struct WeightSets {
  // By folder, chosen ones first.
  std::vector<WeightSet> sets;
  // For the user, one line each.
  std::vector<std::string> warnings;
};

// Finds the sets in `content` and chooses:
//
// 1. In a folder the set with an index wins, then files without one, then consolidated ones; PyTorch
//    files where there are no others.
// 2. A diffusers pipeline (model_index.json) consists of the folders that it names. Elsewhere the
//    top level is the model, with the folders that modules.json (sentence-transformers) names;
//    without a set at the top level every folder's set is a component, except that of `original`.
//    There, PyTorch files count only where no folder but `original` has safetensors files.
// 3. With options.include only what it names counts, and all of that.
//
// kInvalidArgument: the choice is not clear or empty (OTHER_FORMAT where other formats are all
// there is), an include matches nothing, or a chosen index is broken. kNotFound: a chosen index names a file that is not there.
absl::StatusOr<WeightSets> ChooseWeightSets(absl::string_view src, const DirectoryContent& content,
                                            const SetOptions& options);

// All sets are chosen, indexes don't matter: for cuts by bytes.
absl::StatusOr<WeightSets> AllWeightSets(absl::string_view src, const DirectoryContent& content,
                                         const SetOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_WEIGHT_SETS_H_
