#include "client/tune/tune_results.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/checkpoint/cut_plan.h"
#include "storage/base/limits.h"

namespace muster {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// The smallest key whose value is within the tolerance of the smallest value. Not empty.
template <typename Key>
Key SmallestGood(const std::map<Key, absl::Duration>& times) {
  absl::Duration best = absl::InfiniteDuration();
  for (const auto& [key, time] : times) best = std::min(best, time);
  for (const auto& [key, time] : times) {
    if (time <= best * (1 + kTolerance)) return key;
  }
  return times.begin()->first;
}

template <typename Key>
Key Fastest(const std::map<Key, absl::Duration>& times) {
  return std::min_element(times.begin(), times.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

// Why the smallest good one was chosen; `gain` is what it has over the fastest.
template <typename Key>
std::string Why(const std::map<Key, absl::Duration>& times, Key chosen,
                const std::string& fastest_text, const std::string& gain) {
  if (times.size() == 1) return "nothing else was measured";
  if (chosen == Fastest(times)) return "the fastest";
  return absl::StrFormat("within %.0f %% of the fastest, which is %s; %s", kTolerance * 100,
                         fastest_text, gain);
}

// Publishing once and loading once, as fast as any number of connections can; by shards.
std::map<uint32_t, absl::Duration> TimesByShards(const TuneResults& results, int64_t piece) {
  std::map<uint32_t, absl::Duration> loads;
  for (const LoadTime& load : results.load) {
    if (load.piece_size_bytes != piece) continue;
    const auto it = loads.try_emplace(load.shards, load.time).first;
    it->second = std::min(it->second, load.time);
  }
  std::map<uint32_t, absl::Duration> times;
  for (const auto& [shards, time] : loads) {
    const PublishTime* const publish = results.Find(shards, piece);
    if (publish != nullptr) times[shards] = publish->time + time;
  }
  return times;
}

// The slope of a straight line through the times; unset where that is not a cost.
std::optional<absl::Duration> CostOfAShard(const std::map<uint32_t, absl::Duration>& times) {
  if (times.size() < 2) return std::nullopt;
  double mean_shards = 0, mean_seconds = 0;
  for (const auto& [shards, time] : times) {
    mean_shards += shards;
    mean_seconds += absl::ToDoubleSeconds(time);
  }
  mean_shards /= static_cast<double>(times.size());
  mean_seconds /= static_cast<double>(times.size());
  double products = 0, squares = 0;
  for (const auto& [shards, time] : times) {
    products += (shards - mean_shards) * (absl::ToDoubleSeconds(time) - mean_seconds);
    squares += (shards - mean_shards) * (shards - mean_shards);
  }
  if (products <= 0) return std::nullopt;
  return absl::Seconds(products / squares);
}

int64_t ChoosePiece(const TuneResults& results, Recommendation& recommendation) {
  std::map<int64_t, absl::Duration> best;
  for (const LoadTime& load : results.load) {
    const int64_t piece = load.piece_size_bytes;
    for (const auto& [shards, time] : TimesByShards(results, piece)) {
      const auto it = best.try_emplace(piece, time).first;
      it->second = std::min(it->second, time);
    }
  }
  if (best.empty()) return 0;
  const int64_t piece = SmallestGood(best);
  recommendation.reasons.push_back(
      absl::StrCat("pieces of ", piece / kMiB, " MiB: ",
                   Why(best, piece, absl::StrCat(Fastest(best) / kMiB, " MiB"),
                       "small ones take less memory, and less is read again after a fault")));
  return piece;
}

void ChooseShards(const TuneResults& results, Recommendation& recommendation) {
  const int64_t piece = recommendation.piece_size_bytes;
  const std::map<uint32_t, absl::Duration> times = TimesByShards(results, piece);
  const uint32_t chosen = SmallestGood(times);
  recommendation.shards = chosen;
  recommendation.reasons.push_back(absl::StrCat(
      chosen, chosen == 1 ? " shard: " : " shards: ",
      Why(times, chosen, absl::StrCat(Fastest(times)), "fewer are less to keep track of"),
      "; take more where more nodes share the model, as each holds whole shards"));
  const int64_t shard_limit = kMaxPiecesPerPublishedShard * piece;
  const auto least = static_cast<uint32_t>((results.source_bytes + shard_limit - 1) / shard_limit);
  if (least > recommendation.shards) {
    recommendation.shards = least;
    recommendation.reasons.push_back(absl::StrCat("the whole source needs ", least,
                                                  ", as a shard has at most ",
                                                  kMaxPiecesPerPublishedShard, " pieces"));
  }
  const std::optional<absl::Duration> cost = CostOfAShard(times);
  if (!cost.has_value()) return;
  const double scale = static_cast<double>(std::max(results.source_bytes, results.sample_bytes)) /
                       static_cast<double>(results.sample_bytes);
  const double spare = absl::ToDoubleSeconds(times.at(chosen)) * scale * kTolerance;
  const double more = std::min(spare / absl::ToDoubleSeconds(*cost), 100'000.0);
  recommendation.shards_at_most = recommendation.shards + static_cast<uint32_t>(more);
  recommendation.reasons.push_back(absl::StrFormat(
      "a further shard costs about %.1f ms: up to %d shards of the whole source cost at most %.0f "
      "%% more",
      absl::ToDoubleMilliseconds(*cost), *recommendation.shards_at_most, kTolerance * 100));
}

void ChooseConnections(const TuneResults& results, uint32_t measured_shards,
                       Recommendation& recommendation) {
  std::map<size_t, absl::Duration> times;
  for (const LoadTime& load : results.load) {
    if (load.shards == measured_shards &&
        load.piece_size_bytes == recommendation.piece_size_bytes) {
      times[load.connections] = load.time;
    }
  }
  const size_t chosen = SmallestGood(times);
  recommendation.connections = chosen;
  recommendation.reasons.push_back(
      absl::StrCat(chosen, chosen == 1 ? " connection: " : " connections: ",
                   Why(times, chosen, absl::StrCat(Fastest(times)), "fewer spare the storage")));
}

}  // namespace

void TuneResults::Add(const PublishTime& result) {
  for (PublishTime& known : publish) {
    if (known.shards != result.shards || known.piece_size_bytes != result.piece_size_bytes)
      continue;
    known.time = std::min(known.time, result.time);
    return;
  }
  publish.push_back(result);
}

void TuneResults::Add(const LoadTime& result) {
  for (LoadTime& known : load) {
    if (known.shards != result.shards || known.piece_size_bytes != result.piece_size_bytes ||
        known.connections != result.connections) {
      continue;
    }
    known.time = std::min(known.time, result.time);
    return;
  }
  load.push_back(result);
}

const PublishTime* TuneResults::Find(uint32_t shards, int64_t piece_size_bytes) const {
  for (const PublishTime& one : publish) {
    if (one.shards == shards && one.piece_size_bytes == piece_size_bytes) return &one;
  }
  return nullptr;
}

const LoadTime* TuneResults::Find(uint32_t shards, int64_t piece_size_bytes,
                                  size_t connections) const {
  for (const LoadTime& one : load) {
    if (one.shards == shards && one.piece_size_bytes == piece_size_bytes &&
        one.connections == connections) {
      return &one;
    }
  }
  return nullptr;
}

double Rate(int64_t bytes, absl::Duration time) {
  const double seconds = absl::ToDoubleSeconds(time);
  return seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
}

absl::StatusOr<Recommendation> Recommend(const TuneResults& results) {
  Recommendation recommendation;
  recommendation.piece_size_bytes = ChoosePiece(results, recommendation);
  if (recommendation.piece_size_bytes == 0) {
    return absl::FailedPreconditionError("nothing was both published and loaded");
  }
  const uint32_t measured = SmallestGood(TimesByShards(results, recommendation.piece_size_bytes));
  ChooseShards(results, recommendation);
  ChooseConnections(results, measured, recommendation);
  return recommendation;
}

}  // namespace muster
