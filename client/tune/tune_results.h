// What was measured, and what follows from it. Pure; thread-safe.
#ifndef MUSTER_CLIENT_TUNE_TUNE_RESULTS_H_
#define MUSTER_CLIENT_TUNE_TUNE_RESULTS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace muster {

// How a sample was cut and stored, and the best time for that.
struct PublishTime {
  uint32_t shards = 0;
  int64_t piece_size_bytes = 0;
  absl::Duration time;
  // Of the repeats; TuneResults::Add sees to both.
  absl::Duration slowest = absl::ZeroDuration();
  int repeats = 0;
};

// The best time for a load of it into memory, verified.
struct LoadTime {
  uint32_t shards = 0;
  int64_t piece_size_bytes = 0;
  size_t connections = 0;
  absl::Duration time;
  // As in PublishTime.
  absl::Duration slowest = absl::ZeroDuration();
  int repeats = 0;
};

// The best and the slowest repeat.
struct TimeRange {
  absl::Duration best;
  absl::Duration slowest;
};

struct TuneResults {
  // What was published and loaded each time, and what the whole source has.
  int64_t sample_bytes = 0;
  int64_t source_bytes = 0;
  // In the order of measuring; one entry for each combination.
  std::vector<PublishTime> publish;
  std::vector<LoadTime> load;
  // Whether everything that was asked for was measured within the time.
  bool complete = false;
  // What could not be measured as asked, one line each.
  std::vector<std::string> notes;

  // Keeps the best and the slowest time of a combination.
  void Add(const PublishTime& result);
  void Add(const LoadTime& result);
  // Null where the combination was not measured.
  const PublishTime* Find(uint32_t shards, int64_t piece_size_bytes) const;
  const LoadTime* Find(uint32_t shards, int64_t piece_size_bytes, size_t connections) const;
  // Publishing once and loading once by the number of connections that is the fastest: what decides about pieces and
  // shards. Unset where one of them was not measured.
  std::optional<TimeRange> Together(uint32_t shards, int64_t piece_size_bytes) const;
};

// Bytes per second; 0 where no time passed.
double Rate(int64_t bytes, absl::Duration time);

struct Recommendation {
  uint32_t shards = 0;
  // Up to here more shards cost at most kTolerance; unset where that is not known.
  std::optional<uint32_t> shards_at_most;
  int64_t piece_size_bytes = 0;
  size_t connections = 0;
  // One sentence each: pieces, shards, connections, then what a further shard costs.
  std::vector<std::string> reasons;
};

// Differences below this are noise or not worth a connection.
inline constexpr double kTolerance = 0.05;
// Repeats that differ by more say that the machine is busy, and no longer that the choices are equal.
inline constexpr double kMaxTolerance = 0.25;

// The smallest pieces, then the fewest shards, then the fewest connections that can't be told apart from the best: that
// are within kTolerance of it, or within what repeats of the best differ by, up to kMaxTolerance. Shards enough for the
// whole source. kFailedPrecondition when nothing was
// both published and loaded.
absl::StatusOr<Recommendation> Recommend(const TuneResults& results);

}  // namespace muster

#endif  // MUSTER_CLIENT_TUNE_TUNE_RESULTS_H_
