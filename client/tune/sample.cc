#include "client/tune/sample.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Whole tensors, as no cut splits one.
std::vector<SourceTensor> TensorsWithin(const std::vector<SourceTensor>& tensors,
                                        int64_t max_bytes) {
  std::vector<SourceTensor> taken;
  int64_t left = max_bytes;
  for (const SourceTensor& tensor : tensors) {
    if (tensor.size_bytes > left) continue;
    taken.push_back(tensor);
    left -= tensor.size_bytes;
  }
  if (left < max_bytes) return taken;
  const SourceTensor* smallest = nullptr;
  for (const SourceTensor& tensor : tensors) {
    if (tensor.size_bytes == 0) continue;
    if (smallest == nullptr || tensor.size_bytes < smallest->size_bytes) smallest = &tensor;
  }
  return smallest == nullptr ? std::vector<SourceTensor>() : std::vector<SourceTensor>{*smallest};
}

void KeepLargestFile(Checkpoint& checkpoint) {
  const auto largest = std::max_element(checkpoint.files.begin(), checkpoint.files.end(),
                                        [](const SourceFile& a, const SourceFile& b) {
                                          return a.bytes->size_bytes() < b.bytes->size_bytes();
                                        });
  SourceFile file = std::move(*largest);
  checkpoint.files.clear();
  checkpoint.files.push_back(std::move(file));
}

}  // namespace

absl::StatusOr<TuneSample> TakeSample(const std::string& source, CutStrategy strategy,
                                      int64_t max_bytes) {
  TuneSample sample;
  sample.strategy = strategy;
  if (strategy == CutStrategy::kRaw) {
    MUSTER_ASSIGN_OR_RETURN(sample.checkpoint, OpenRawCheckpoint(source, {}));
    if (!sample.checkpoint.files.empty()) {
      sample.source_bytes = sample.checkpoint.TotalBytes();
      KeepLargestFile(sample.checkpoint);
      sample.sample_bytes =
          std::min(max_bytes, sample.checkpoint.files.front().bytes->size_bytes());
      sample.max_shards =
          static_cast<uint32_t>(std::min<int64_t>(sample.sample_bytes, kMaxShardsPerVersion));
    }
  } else {
    MUSTER_ASSIGN_OR_RETURN(sample.checkpoint, OpenTensorCheckpoint(source, {}));
    sample.source_bytes = sample.checkpoint.TotalBytes();
    sample.checkpoint.tensors = TensorsWithin(sample.checkpoint.tensors, max_bytes);
    for (const SourceTensor& tensor : sample.checkpoint.tensors) {
      sample.sample_bytes += tensor.size_bytes;
    }
    sample.max_shards = static_cast<uint32_t>(
        std::min<size_t>(sample.checkpoint.tensors.size(), kMaxShardsPerVersion));
  }
  if (sample.sample_bytes > 0) return sample;
  return absl::InvalidArgumentError(
      absl::StrCat(QuoteForMessage(source), " holds no bytes to measure with"));
}

absl::StatusOr<CutPlan> CutSample(const TuneSample& sample, uint32_t shards,
                                  int64_t piece_size_bytes) {
  const CutOptions options{shards, piece_size_bytes};
  if (sample.strategy == CutStrategy::kRaw) return CutRaw({sample.sample_bytes}, options);
  // As if it were one component: the number of shards is what is measured.
  return CutTensors(sample.checkpoint.tensors, sample.checkpoint.components.front().metadata,
                    sample.strategy, options);
}

}  // namespace muster
