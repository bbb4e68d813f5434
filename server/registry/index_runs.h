// Sets of shard indices, packed as runs: gap to the run, length of the run, and so on.
#ifndef MUSTER_SERVER_REGISTRY_INDEX_RUNS_H_
#define MUSTER_SERVER_REGISTRY_INDEX_RUNS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "google/protobuf/repeated_field.h"

namespace muster {

// Packs indices that are added one by one, ascending and distinct. Not thread-safe.
class RunPacker {
 public:
  void Add(uint32_t index) {
    if (!runs_.empty() && index == end_) {
      ++runs_[runs_.size() - 1];
    } else {
      runs_.Add(index - end_);
      runs_.Add(1);
    }
    end_ = index + 1;
  }
  google::protobuf::RepeatedField<uint32_t> Take() { return std::move(runs_); }

 private:
  google::protobuf::RepeatedField<uint32_t> runs_;
  // Behind the last index.
  uint32_t end_ = 0;
};

// Thread-safe: pure functions. `indices` must be ascending and distinct.
google::protobuf::RepeatedField<uint32_t> PackRuns(absl::Span<const uint32_t> indices);

// kDataLoss when the runs are damaged or reach `limit` or beyond.
absl::StatusOr<std::vector<uint32_t>> UnpackRuns(
    const google::protobuf::RepeatedField<uint32_t>& runs, uint32_t limit);

// "0,3-5" for people, cut after `max_bytes` with "…". `indices` must be ascending and distinct.
std::string RunsToText(absl::Span<const uint32_t> indices, size_t max_bytes);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_INDEX_RUNS_H_
