// Measures publishing and loading on the user's own storage.
#ifndef MUSTER_CLIENT_TUNE_TUNER_H_
#define MUSTER_CLIENT_TUNE_TUNER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/hash/parallel.h"
#include "client/tune/sample.h"
#include "client/tune/tune_results.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Scratch folders begin with this; a random number follows.
inline constexpr char kTunePrefix[] = "muster-tune-";

struct TuneOptions {
  // URI of the folder that gets a scratch folder.
  std::string destination;
  // What is tried: every combination, none of them empty. More shards than the sample allows are
  // left out.
  std::vector<uint32_t> shard_counts;
  std::vector<int64_t> piece_sizes_bytes;
  std::vector<size_t> connections;
  // How often all is measured at most; the best time of each counts.
  int rounds = 2;
  // Nothing begins or goes on after that.
  absl::Duration max_time = absl::Minutes(2);
  // Shards that are written at once.
  size_t publish_jobs = 2;
  // Shards that are loaded at once, as an agent does.
  size_t load_jobs = 2;
  std::stop_token stop;
  // Gets what will be published and loaded together, once; may be empty.
  std::function<void(int64_t total_bytes)> on_plan;
  ByteProgress on_bytes;
};

// Cuts, hashes and writes the sample as publishing does, and loads it into memory, verified, as many
// times as there are combinations; a server is not asked. Takes memory for one sample. Objects on
// local files are dropped from the page cache before each load. The scratch folder is deleted
// before it returns, also after an error; what can't be is named in the error or the notes.
//
// kCancelled: `options.stop`. kFailedPrecondition NOT_MEASURED: not even one combination was, in time.
// Otherwise the errors of the source and the store.
absl::StatusOr<TuneResults> Tune(const ObjectStoreRegistry& stores, Clock& clock, Random& random,
                                 const TuneSample& sample, const TuneOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_TUNE_TUNER_H_
