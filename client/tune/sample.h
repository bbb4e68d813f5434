// A part of a checkpoint that stands for all of it.
#ifndef MUSTER_CLIENT_TUNE_SAMPLE_H_
#define MUSTER_CLIENT_TUNE_SAMPLE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "client/checkpoint/cut_plan.h"

namespace muster {

struct TuneSample {
  // Only what belongs to the sample is left in it.
  Checkpoint checkpoint;
  CutStrategy strategy = CutStrategy::kLayer;
  // Of the tensors or files.
  int64_t sample_bytes = 0;
  int64_t source_bytes = 0;
  // Cuts into more shards are not possible.
  uint32_t max_shards = 0;
};

// Whole tensors in the order of the files, at most `max_bytes` of them together but at least one;
// for `raw` the beginning of the largest file. `max_bytes` is at least 1. Errors as those of the
// reader; kInvalidArgument where there is nothing to take.
absl::StatusOr<TuneSample> TakeSample(const std::string& source, CutStrategy strategy,
                                      int64_t max_bytes);

// The sample in `shards` shards, at most max_shards.
absl::StatusOr<CutPlan> CutSample(const TuneSample& sample, uint32_t shards,
                                  int64_t piece_size_bytes);

}  // namespace muster

#endif  // MUSTER_CLIENT_TUNE_SAMPLE_H_
