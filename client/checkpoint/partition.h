// Splits runs of sizes into balanced parts. Pure functions: the same input gives the same parts.
#ifndef MUSTER_CLIENT_CHECKPOINT_PARTITION_H_
#define MUSTER_CLIENT_CHECKPOINT_PARTITION_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace muster {

// Cuts `sizes`, in their order, into exactly `parts` runs, none of them empty, so that the largest
// is as small as possible. Returns where each run ends (exclusive). Sizes are not negative; their
// sum fits in 63 bits; 1 <= parts <= sizes.size().
std::vector<size_t> PartitionInOrder(absl::Span<const int64_t> sizes, size_t parts);

// Deals `sizes` into `parts` bins, the largest first, each into the lightest bin (longest
// processing time: at most 4/3 of the best). Returns the bin of each; no bin is empty. The same
// conditions.
std::vector<size_t> PartitionByWeight(absl::Span<const int64_t> sizes, size_t parts);

// Says how many parts each group gets out of `parts`: at least 1, at most `max_parts` of it, so
// that the largest size ÷ parts is as small as possible. sizes.size() <= parts <= the sum of
// max_parts.
std::vector<size_t> PartsPerGroup(absl::Span<const int64_t> sizes,
                                  absl::Span<const int64_t> max_parts, size_t parts);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_PARTITION_H_
