// How a checkpoint is cut into shards. Pure functions: the same input gives the same cuts.
#ifndef MUSTER_CLIENT_CHECKPOINT_CUT_PLAN_H_
#define MUSTER_CLIENT_CHECKPOINT_CUT_PLAN_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/checkpoint/checkpoint_reader.h"

namespace muster {

// Without a count asked for, shards have about this size: big enough to be few, small enough to
// spread over nodes.
inline constexpr int64_t kDefaultShardBytes = int64_t{4} << 30;
// Raw cuts fall on multiples of this where the file is large enough, so that pieces line up with
// the source.
inline constexpr int64_t kRawCutAlignmentBytes = int64_t{1} << 20;

// kAsFiles is not for users to choose: one shard for each file, which stays as it lies.
enum class CutStrategy { kLayer, kType, kUniform, kRaw, kAsFiles };
// kInvalidArgument, quoting `text`, unless it is "layer", "type", "uniform" or "raw".
absl::StatusOr<CutStrategy> ParseCutStrategy(absl::string_view text);
absl::string_view CutStrategyName(CutStrategy strategy);

struct CutOptions {
  // 0 means DefaultShardCount of the checkpoint's bytes, within what its tensors or files allow.
  uint32_t shard_count = 0;
  // Pieces that the shards are published with; bounds a shard to kMaxPiecesPerPublishedShard of
  // them.
  int64_t piece_size_bytes = int64_t{8} << 20;
};

// A range of a source file.
struct RawRange {
  uint32_t file = 0;
  int64_t offset_bytes = 0;
  int64_t size_bytes = 0;
};

struct ShardCut {
  // Indices into the checkpoint's tensors, in the order in which the shard holds them; empty for
  // raw.
  std::vector<uint32_t> tensors;
  // The whole content of a shard that is a part of a source file, or all of it; unset where a
  // header and tensors are put together. A file that is a shard as it lies has tensors, too.
  std::optional<RawRange> range;
  // What comes before the first tensor's bytes: a multiple of 4,096 where the shard is put
  // together; 0 for raw.
  int64_t header_size_bytes = 0;
  // Of the whole stored shard.
  int64_t size_bytes = 0;
  // Index into the checkpoint's components.
  uint32_t component = 0;
  // For files that were cut by rank.
  std::optional<uint32_t> rank;
  // The file of the model directory that the shard is, or is a range of; "" where it is the usual
  // model-0000i-of-0000N.safetensors. Goes to Shard.source_path.
  std::string path;
};

struct CutPlan {
  CutStrategy strategy = CutStrategy::kLayer;
  std::vector<ShardCut> shards;
  // For the user: which groups were split, and why there are more shards than asked for.
  std::vector<std::string> notes;
};

// At least 1, at most 100,000.
uint32_t DefaultShardCount(int64_t total_bytes);

// Cuts by tensors; no tensor is split and no shard is empty. A shard that would exceed the
// catalogue's limits makes the count grow, with a note. kInvalidArgument, with the count that is
// possible, when there are fewer tensors than shards asked for or a single tensor exceeds the
// limits, or for `raw`.
absl::StatusOr<CutPlan> CutTensors(absl::Span<const SourceTensor> tensors,
                                   const std::map<std::string, std::string>& metadata,
                                   CutStrategy strategy, const CutOptions& options);

// Cuts every file into ranges in order, at least one per file, more for bigger files. Sizes by
// index of file. kInvalidArgument for an empty file, and when there are fewer shards than files or
// more than bytes.
absl::StatusOr<CutPlan> CutRaw(absl::Span<const int64_t> file_sizes_bytes,
                               const CutOptions& options);

// As `strategy` says. A shard holds tensors of one component; shards that are asked for are dealt to
// the components by their bytes. kInvalidArgument where there are fewer than components.
absl::StatusOr<CutPlan> CutCheckpoint(const Checkpoint& checkpoint, CutStrategy strategy,
                                      const CutOptions& options);

// Makes one shard of every file of `checkpoint`, as it is. kInvalidArgument when a file is too big
// for one.
absl::StatusOr<CutPlan> CutAsFiles(const Checkpoint& checkpoint, const CutOptions& options);

// The bytes before the first tensor of a shard: always ShardCut::header_size_bytes of them. Of the
// tied names in `metadata`, the component's, those of the shard's tensors.
absl::StatusOr<std::string> BuildShardHeader(const ShardCut& shard,
                                             absl::Span<const SourceTensor> tensors,
                                             const std::map<std::string, std::string>& metadata);

// Where each of shard.tensors begins in the stored shard.
std::vector<int64_t> TensorOffsetsInShard(const ShardCut& shard,
                                          absl::Span<const SourceTensor> tensors);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_CUT_PLAN_H_
