#include "client/tune/tune_results.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/checkpoint/cut_plan.h"
#include "storage/base/limits.h"

namespace muster {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// By what can be chosen; none of them empty.
template <typename Key>
using Times = std::map<Key, TimeRange>;

template <typename Key>
Key Fastest(const Times<Key>& times) {
  return std::min_element(
             times.begin(), times.end(),
             [](const auto& a, const auto& b) { return a.second.best < b.second.best; })
      ->first;
}

// By how much the slowest repeat is above the best.
double SpreadOf(const TimeRange& time) {
  return time.best > absl::ZeroDuration() ? absl::FDivDuration(time.slowest - time.best, time.best)
                                          : 0;
}

// What is not further than this from the fastest can't be told apart from it.
template <typename Key>
double ToleranceOf(const Times<Key>& times) {
  return std::clamp(SpreadOf(times.at(Fastest(times))), kTolerance, kMaxTolerance);
}

template <typename Key>
bool IsGood(const Times<Key>& times, const TimeRange& time) {
  return time.best <= times.at(Fastest(times)).best * (1 + ToleranceOf(times));
}

template <typename Key>
Key SmallestGood(const Times<Key>& times) {
  return std::find_if(times.begin(), times.end(),
                      [&](const auto& one) { return IsGood(times, one.second); })
      ->first;
}

// Why the smallest good one was chosen; `gain` is what it has over the others. `text` writes a key.
template <typename Key, typename Text>
std::string Why(const Times<Key>& times, Key chosen, const Text& text, const std::string& gain) {
  if (times.size() == 1) return "nothing else was measured";
  std::vector<std::string> equals;
  for (const auto& [key, time] : times) {
    if (key != chosen && IsGood(times, time)) equals.push_back(text(key));
  }
  const Key fastest = Fastest(times);
  if (equals.empty()) return "the fastest";
  const double tolerance = ToleranceOf(times);
  const std::string repeats = tolerance > kTolerance ? ", as its own repeats are" : "";
  if (chosen == fastest) {
    return absl::StrFormat("the fastest; %s can't be told apart from it (within %.0f %%%s)",
                           absl::StrJoin(equals, ", "), tolerance * 100, repeats);
  }
  return absl::StrFormat("within %.0f %% of the fastest, which is %s%s; %s", tolerance * 100,
                         text(fastest), repeats, gain);
}

Times<uint32_t> TimesByShards(const TuneResults& results, int64_t piece) {
  Times<uint32_t> times;
  for (const PublishTime& publish : results.publish) {
    if (publish.piece_size_bytes != piece) continue;
    const std::optional<TimeRange> together = results.Together(publish.shards, piece);
    if (together.has_value()) times[publish.shards] = *together;
  }
  return times;
}

// The slope of a straight line through the times; unset where that is not a cost.
std::optional<absl::Duration> CostOfAShard(const Times<uint32_t>& times) {
  if (times.size() < 2) return std::nullopt;
  double mean_shards = 0, mean_seconds = 0;
  for (const auto& [shards, time] : times) {
    mean_shards += shards;
    mean_seconds += absl::ToDoubleSeconds(time.best);
  }
  mean_shards /= static_cast<double>(times.size());
  mean_seconds /= static_cast<double>(times.size());
  double products = 0, squares = 0;
  for (const auto& [shards, time] : times) {
    products += (shards - mean_shards) * (absl::ToDoubleSeconds(time.best) - mean_seconds);
    squares += (shards - mean_shards) * (shards - mean_shards);
  }
  if (products <= 0) return std::nullopt;
  return absl::Seconds(products / squares);
}

int64_t ChoosePiece(const TuneResults& results, Recommendation& recommendation) {
  Times<int64_t> best;
  for (const PublishTime& publish : results.publish) {
    const int64_t piece = publish.piece_size_bytes;
    const Times<uint32_t> times = TimesByShards(results, piece);
    if (!times.empty()) best[piece] = times.at(Fastest(times));
  }
  if (best.empty()) return 0;
  const int64_t piece = SmallestGood(best);
  recommendation.reasons.push_back(absl::StrCat(
      "pieces of ", piece / kMiB, " MiB: ",
      Why(
          best, piece, [](int64_t bytes) { return absl::StrCat(bytes / kMiB, " MiB"); },
          "small ones take less memory, and less is read again after a fault")));
  return piece;
}

void ChooseShards(const TuneResults& results, Recommendation& recommendation) {
  const int64_t piece = recommendation.piece_size_bytes;
  const Times<uint32_t> times = TimesByShards(results, piece);
  const uint32_t chosen = SmallestGood(times);
  recommendation.shards = chosen;
  recommendation.reasons.push_back(
      absl::StrCat(chosen, chosen == 1 ? " shard: " : " shards: ",
                   Why(
                       times, chosen, [](uint32_t shards) { return absl::StrCat(shards); },
                       "fewer are less to keep track of"),
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
  const double spare = absl::ToDoubleSeconds(times.at(chosen).best) * scale * kTolerance;
  const double more = std::min(spare / absl::ToDoubleSeconds(*cost), 100'000.0);
  recommendation.shards_at_most = recommendation.shards + static_cast<uint32_t>(more);
  recommendation.reasons.push_back(absl::StrFormat(
      "a further shard costs about %.1f ms: up to %d shards of the whole source cost at most %.0f "
      "%% more",
      absl::ToDoubleMilliseconds(*cost), *recommendation.shards_at_most, kTolerance * 100));
}

void ChooseConnections(const TuneResults& results, uint32_t measured_shards,
                       Recommendation& recommendation) {
  Times<size_t> times;
  for (const LoadTime& load : results.load) {
    if (load.shards == measured_shards &&
        load.piece_size_bytes == recommendation.piece_size_bytes) {
      times[load.connections] = {load.time, load.slowest};
    }
  }
  const size_t chosen = SmallestGood(times);
  recommendation.connections = chosen;
  recommendation.reasons.push_back(
      absl::StrCat(chosen, chosen == 1 ? " connection: " : " connections: ",
                   Why(
                       times, chosen, [](size_t count) { return absl::StrCat(count); },
                       "fewer spare the storage")));
}

// Adds a repeat, which may be the first, to what is known of its combination.
template <typename Time>
void AddRepeat(absl::Duration time, Time& known) {
  known.time = std::min(known.time, time);
  known.slowest = std::max(known.slowest, time);
  ++known.repeats;
}

}  // namespace

void TuneResults::Add(const PublishTime& result) {
  for (PublishTime& known : publish) {
    if (known.shards != result.shards || known.piece_size_bytes != result.piece_size_bytes)
      continue;
    return AddRepeat(result.time, known);
  }
  AddRepeat(result.time, publish.emplace_back(result));
}

void TuneResults::Add(const LoadTime& result) {
  for (LoadTime& known : load) {
    if (known.shards != result.shards || known.piece_size_bytes != result.piece_size_bytes ||
        known.connections != result.connections) {
      continue;
    }
    return AddRepeat(result.time, known);
  }
  AddRepeat(result.time, load.emplace_back(result));
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

std::optional<TimeRange> TuneResults::Together(uint32_t shards, int64_t piece_size_bytes) const {
  const PublishTime* const written = Find(shards, piece_size_bytes);
  const LoadTime* fastest = nullptr;
  for (const LoadTime& one : load) {
    if (one.shards != shards || one.piece_size_bytes != piece_size_bytes) continue;
    if (fastest == nullptr || one.time < fastest->time) fastest = &one;
  }
  if (written == nullptr || fastest == nullptr) return std::nullopt;
  return TimeRange{written->time + fastest->time, written->slowest + fastest->slowest};
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
