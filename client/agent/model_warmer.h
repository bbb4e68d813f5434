// Brings READY models into the page cache, so that an engine that opens them waits for no disk.
#ifndef MUSTER_CLIENT_AGENT_MODEL_WARMER_H_
#define MUSTER_CLIENT_AGENT_MODEL_WARMER_H_

#include <cstdint>
#include <functional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cache/shard_cache.h"
#include "muster/v1/model.pb.h"
#include "storage/base/mutex.h"

namespace muster {

// What the system can give without swapping, the page cache included: MemAvailable of
// /proc/meminfo.
absl::StatusOr<int64_t> AvailableMemory();
// The same, from the file's text. kInternal where it does not say.
absl::StatusOr<int64_t> ParseAvailableMemory(absl::string_view meminfo);

struct WarmOptions {
  // Of the available memory, what is left to others.
  int64_t reserve_bytes = int64_t{2} << 30;
  // In bytes; thread-safe.
  std::function<absl::StatusOr<int64_t>()> available = AvailableMemory;
};

struct WarmReport {
  // OK also where memory did not suffice.
  absl::Status status;
  // Nothing was done, because the cache's file system is memory.
  bool in_memory = false;
  // Of the bytes of the shards: what is in the page cache now, and what there was no memory for.
  int64_t warm_bytes = 0;
  int64_t left_bytes = 0;
};

// Reads the shards in their order, as many bytes as were available at the beginning, less the
// reserve; it ends sooner when others take memory meanwhile. A shard that is not in the cache any
// more is skipped.
WarmReport WarmShards(ShardCache& cache, const std::vector<v1::Shard>& shards,
                      const WarmOptions& options, const std::stop_token& stop);

// Does so in a thread of its own, one model after another. Thread-safe.
class ModelWarmer {
 public:
  // The shards that an assembly has on this node now, in order.
  using ShardsOf = std::function<std::vector<v1::Shard>(const std::string& assembly)>;
  using OnWarmed = std::function<void(const std::string& assembly, const WarmReport& report)>;

  // `cache` outlives the warmer. The functions are called from its thread.
  ModelWarmer(ShardCache& cache, WarmOptions options, ShardsOf shards_of, OnWarmed on_warmed);
  // Ends what is under way.
  ~ModelWarmer();
  ModelWarmer(const ModelWarmer&) = delete;
  ModelWarmer& operator=(const ModelWarmer&) = delete;

  // The assembly is READY on this node. Returns at once.
  void Warm(const std::string& assembly);

 private:
  void Run(const std::stop_token& stop);

  ShardCache& cache_;
  const WarmOptions options_;
  const ShardsOf shards_of_;
  const OnWarmed on_warmed_;
  Mutex mutex_;
  CondVar changed_;
  std::set<std::string> waiting_ MUSTER_GUARDED_BY(mutex_);
  bool ending_ MUSTER_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_MODEL_WARMER_H_
