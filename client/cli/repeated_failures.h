// Which failures of shards a log tells in full, and which it counts.
#ifndef MUSTER_CLIENT_CLI_REPEATED_FAILURES_H_
#define MUSTER_CLIENT_CLI_REPEATED_FAILURES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "absl/time/time.h"
#include "muster/v1/assembly.pb.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// A fault of the node (no room, no key) is one cause for all shards of an assembly and is told once. Faults of stored
// copies are told once for each shard, of at most kMaxToldShards shards. All further failures, and repeats, are counted;
// the count is due at most every kCountInterval, and when the cause is over.
//
// Thread-safe.
class RepeatedFailures {
 public:
  static constexpr size_t kMaxToldShards = 16;
  static constexpr absl::Duration kCountInterval = absl::Seconds(10);

  // What has been counted of one cause since its last line.
  struct Count {
    muster::v1::ShardFailure::Code code = muster::v1::ShardFailure::CODE_UNSPECIFIED;
    std::string reason = {};
    uint64_t count = 0;
    // That fail at present.
    size_t shards = 0;
  };
  struct Verdict {
    bool in_full = false;
    // Due now, in place of the failure itself.
    std::optional<Count> count = {};
  };

  // `clock` outlives this.
  explicit RepeatedFailures(Clock& clock) : clock_(clock) {}

  Verdict Failed(const std::string& assembly, uint32_t shard,
                 const muster::v1::ShardFailure& failure);
  // Whether another try at the shard is worth a line: not after a failure of it, and not while a fault of the node
  // keeps all shards of the assembly from being fetched.
  bool IsNews(const std::string& assembly, uint32_t shard) const;
  // The shard is READY; what was counted of causes that are over with that.
  std::optional<Count> Mended(const std::string& assembly, uint32_t shard);
  // Nothing of the assembly is assigned any more.
  void Forget(const std::string& assembly);

 private:
  struct Cause {
    std::set<uint32_t> failing;
    std::set<uint32_t> told;
    uint64_t count = 0;
    absl::Duration next_count;
  };
  // Assembly, code, reason.
  using Key = std::tuple<std::string, int, std::string>;

  static Count CountOf(const Key& key, const Cause& cause);

  Clock& clock_;
  mutable Mutex mutex_;
  std::map<Key, Cause> causes_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_REPEATED_FAILURES_H_
