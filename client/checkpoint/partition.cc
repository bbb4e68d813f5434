#include "client/checkpoint/partition.h"

#include <algorithm>
#include <numeric>
#include <queue>
#include <tuple>

namespace muster {
namespace {

// For each start, the smallest number of runs of at most `limit` that covers the rest. No size
// exceeds `limit`.
std::vector<size_t> RunsNeeded(absl::Span<const int64_t> sizes, int64_t limit) {
  std::vector<size_t> needed(sizes.size() + 1, 0);
  size_t end = sizes.size();
  int64_t sum = 0;
  for (size_t begin = sizes.size(); begin-- > 0;) {
    sum += sizes[begin];
    while (sum > limit) sum -= sizes[--end];
    needed[begin] = needed[end] + 1;
  }
  return needed;
}

int64_t SmallestLimit(absl::Span<const int64_t> sizes, size_t parts) {
  int64_t low = *std::max_element(sizes.begin(), sizes.end());
  int64_t high = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (RunsNeeded(sizes, middle).front() <= parts) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace

std::vector<size_t> PartitionInOrder(absl::Span<const int64_t> sizes, size_t parts) {
  const int64_t limit = SmallestLimit(sizes, parts);
  const std::vector<size_t> needed = RunsNeeded(sizes, limit);
  std::vector<size_t> ends;
  int64_t rest = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  size_t next = 0;
  for (size_t left = parts; left > 1; --left) {
    // Below the limit there is room: a run ends nearest to its fair share of what is left, as long
    // as the others can still take the rest and none of them stays empty.
    const int64_t fair = rest / static_cast<int64_t>(left);
    int64_t sum = sizes[next++];
    while (sizes.size() - next > left - 1 && sum + sizes[next] <= limit) {
      const bool must_grow = needed[next] > left - 1;
      const int64_t over = sum + sizes[next] - fair;
      if (!must_grow && (sum >= fair || over > fair - sum)) break;
      sum += sizes[next++];
    }
    ends.push_back(next);
    rest -= sum;
  }
  ends.push_back(sizes.size());
  return ends;
}

std::vector<size_t> PartitionByWeight(absl::Span<const int64_t> sizes, size_t parts) {
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  // Load, number of items, bin: an empty bin goes before one that holds only empty items.
  using Bin = std::tuple<int64_t, size_t, size_t>;
  std::priority_queue<Bin, std::vector<Bin>, std::greater<>> bins;
  for (size_t i = 0; i < parts; ++i) bins.emplace(0, 0, i);
  std::vector<size_t> bin_of(sizes.size());
  for (const size_t item : order) {
    const auto [load, count, bin] = bins.top();
    bins.pop();
    bin_of[item] = bin;
    bins.emplace(load + sizes[item], count + 1, bin);
  }
  return bin_of;
}

std::vector<size_t> PartsPerGroup(absl::Span<const int64_t> sizes,
                                  absl::Span<const int64_t> max_parts, size_t parts) {
  std::vector<size_t> result(sizes.size(), 1);
  const auto share = [&](size_t i) {
    return static_cast<double>(sizes[i]) / static_cast<double>(result[i]);
  };
  // Largest share first; among equals the first group.
  const auto after = [](const std::pair<double, size_t>& a, const std::pair<double, size_t>& b) {
    return a.first != b.first ? a.first < b.first : a.second > b.second;
  };
  std::priority_queue<std::pair<double, size_t>, std::vector<std::pair<double, size_t>>,
                      decltype(after)>
      groups(after);
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (max_parts[i] > 1) groups.emplace(share(i), i);
  }
  for (size_t given = sizes.size(); given < parts && !groups.empty(); ++given) {
    const size_t i = groups.top().second;
    groups.pop();
    ++result[i];
    if (static_cast<int64_t>(result[i]) < max_parts[i]) groups.emplace(share(i), i);
  }
  return result;
}

}  // namespace muster
