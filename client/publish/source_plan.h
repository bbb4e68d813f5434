// What publishing SRC would store: the same for `muster publish` and `muster inspect`.
#ifndef MUSTER_CLIENT_PUBLISH_SOURCE_PLAN_H_
#define MUSTER_CLIENT_PUBLISH_SOURCE_PLAN_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "client/checkpoint/cut_plan.h"
#include "client/checkpoint/source_files.h"

namespace muster {

struct SourceOptions {
  // A file or a directory; or a URI, for the files that ObjectFiles gives.
  std::string path;
  CutStrategy strategy = CutStrategy::kLayer;
  // 0 means a count that fits the size.
  uint32_t shard_count = 0;
  int64_t piece_size_bytes = int64_t{8} << 20;
  // Refuse tensors of an unknown dtype.
  bool strict = false;
  // The files are the shards, where they lie: `strategy` only says whether they are looked at as
  // tensors (any) or as bytes (kRaw), and `shard_count` is 0.
  bool in_place = false;
  // As in CheckpointOptions.
  bool untie = false;
  // See WalkOptions and SetOptions.
  bool allow_code = false;
  std::vector<std::string> include;
  std::vector<std::string> exclude;
};

struct SourcePlan {
  Checkpoint checkpoint;
  CutPlan cuts;

  // Of the shards as they will be stored.
  int64_t SizeBytes() const;
  // MD5 in hex of all that decides which bytes go where, but not of the tensors' bytes: equal for
  // equal options and sources that look alike.
  absl::StatusOr<std::string> Fingerprint() const;
};

// What the tensors of one component are.
struct ComponentSummary {
  std::string folder;
  uint64_t tensor_count = 0;
  int64_t size_bytes = 0;
  // Judged by the tensors' names.
  uint32_t layer_count = 0;
  struct Dtype {
    uint64_t tensor_count = 0;
    int64_t size_bytes = 0;
  };
  std::map<std::string, Dtype> dtypes;
};

// In the order of the checkpoint's components; empty for a raw checkpoint.
std::vector<ComponentSummary> Summarise(const Checkpoint& checkpoint);

// Opens and cuts; reads headers, configs and indexes, but no tensor's bytes. `files` are where
// options.path is a path of. Errors as those of the reader and of the cuts.
absl::StatusOr<SourcePlan> PlanSource(const SourceOptions& options,
                                      const SourceFiles& files = LocalFiles());

}  // namespace muster

#endif  // MUSTER_CLIENT_PUBLISH_SOURCE_PLAN_H_
