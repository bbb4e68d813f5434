// Which nodes are alive: leases and progress, in memory only.
//
// Stands beside the registry with a lock of its own, so that a heartbeat never waits behind
// commands, plans or an fsync. It learns of nodes only from committed transactions, so what a
// heartbeat gets is durable.
#ifndef MUSTER_SERVER_REGISTRY_LEASE_TABLE_H_
#define MUSTER_SERVER_REGISTRY_LEASE_TABLE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "muster/v1/node.pb.h"
#include "server/registry/change.h"
#include "server/registry/uid.h"
#include "storage/base/mutex.h"
#include "storage/base/numbers.h"

namespace muster {

// Of the TTL: a lease outlives the loss of two heartbeats.
inline constexpr int64_t kHeartbeatsPerTtl = 3;

// Thread-safe; never blocks for long.
class LeaseTable {
 public:
  struct Options {
    // Two ticks further apart than this mean that the server itself was stopped or stalled.
    absl::Duration stall_threshold = absl::Seconds(1);
    // How long a lost node's shards wait for its return before other nodes get them.
    absl::Duration move_grace = absl::Seconds(30);
    // The brake: nothing moves out of a zone while at least this many of its nodes, and this share
    // of them, are lost. Nodes that are released do not count. A zone that is cut off is not a zone
    // of dead nodes.
    size_t brake_min_nodes = 5;
    double brake_share = 0.55;
    // After a start or a stall the leases say little until most nodes were heard of again, or this
    // long has passed.
    absl::Duration guard = absl::Seconds(10);
  };
  struct Lease {
    NodeUid node;
    Epoch epoch;
  };
  // What a tick finds.
  struct Due {
    // Leases that have run out.
    std::vector<Lease> expired;
    // Lost nodes whose shards are to move.
    std::vector<Lease> released;
    // The guard has ended, and nobody has said so to the assemblies.
    bool guard_ended = false;
  };
  struct HeartbeatResult {
    int64_t lease_ttl_us = 0;
    int64_t heartbeat_interval_us = 0;
    // The node is declared lost: a ReviveNode command for this lease has to follow.
    std::optional<Lease> revive;
  };

  explicit LeaseTable(const Options& options) : options_(options) {}

  absl::Duration move_grace() const { return options_.move_grace; }

  // Renews a lease. NOT_FOUND NODE_UNKNOWN; ABORTED NODE_FENCED; INVALID_ARGUMENT INVALID_FIELD.
  absl::StatusOr<HeartbeatResult> Heartbeat(const muster::v1::HeartbeatRequest& request)
      MUSTER_EXCLUDES(mutex_);

  // Takes the time over. After a stall every lease gets its full TTL first, and the grace of lost
  // nodes begins again behind that.
  Due Tick(absl::Duration monotonic) MUSTER_EXCLUDES(mutex_);

  // Calls wait long before the server looks at them, and so may heartbeats: the next tick is one after
  // a stall.
  void NoteLateCalls() MUSTER_EXCLUDES(mutex_);

  // How long a node's lease has left, and how often it was renewed since the node registered or the
  // server began. Zero for a node that is not there.
  struct Term {
    absl::Duration left;
    uint64_t renewals = 0;
  };
  Term TermOf(NodeUid node) const MUSTER_EXCLUDES(mutex_);

  // Whether the lease has run out and was not renewed since.
  bool HasExpired(NodeUid node, Epoch epoch) const MUSTER_EXCLUDES(mutex_);

  // The lost nodes whose shards the brake holds back, in one zone or in all.
  std::vector<Lease> Braked(const std::optional<std::string>& zone) const MUSTER_EXCLUDES(mutex_);
  bool IsBraked(NodeUid node) const MUSTER_EXCLUDES(mutex_);
  // The same, also while the grace lasts: a lost node whose shards won't move unless others return.
  bool WillBeBraked(NodeUid node) const MUSTER_EXCLUDES(mutex_);

  // Since a start or a stall too few nodes were heard of to move anything but on request.
  bool IsGuarded() const MUSTER_EXCLUDES(mutex_);
  // The assemblies know that the guard has ended.
  void NoteGuardEnd() MUSTER_EXCLUDES(mutex_);

  // Takes over what a committed transaction says of a node.
  void Apply(const NodeChange& change) MUSTER_EXCLUDES(mutex_);

  // The last revision of its assignments that the node says it has acted on; 0 while it has said
  // nothing.
  Revision AppliedBy(NodeUid node) const MUSTER_EXCLUDES(mutex_);

  // Bytes of one pull, from the node's last heartbeat; 0 when it had none.
  uint64_t ProgressOf(NodeUid node, absl::string_view assembly, uint32_t shard) const
      MUSTER_EXCLUDES(mutex_);
  // The same, summed over all the node's pulls of an assembly; of each at most what `bound` says of its shard.
  uint64_t ProgressOf(NodeUid node, absl::string_view assembly,
                      absl::FunctionRef<uint64_t(uint32_t shard)> bound) const
      MUSTER_EXCLUDES(mutex_);

 private:
  struct Entry {
    NodeUid uid;
    Epoch epoch;
    absl::Duration ttl;
    absl::Duration deadline;
    uint64_t renewals = 0;
    bool lost = false;
    bool released = false;
    // When the shards of a lost node are to move.
    absl::Duration release_at;
    std::string zone;
    Revision applied;
    // Since the last start or stall.
    bool heard_of = true;
    // Its return was asked for, and has not come about yet.
    bool revive_asked = false;
    std::vector<muster::v1::ShardProgress> progress;
  };
  // Of the nodes that are not released.
  struct Zone {
    size_t nodes = 0;
    size_t lost = 0;
  };

  const Entry* Find(NodeUid node) const MUSTER_REQUIRES(mutex_);
  // Lost for so long that its shards are to move, unless the brake is on.
  bool IsDue(const Entry& entry) const MUSTER_REQUIRES(mutex_);
  bool IsBraked(const Entry& entry) const MUSTER_REQUIRES(mutex_);
  bool WillBeBraked(const Entry& entry) const MUSTER_REQUIRES(mutex_);
  // Adds (`sign` 1) a node to its zone or takes it away (-1).
  void CountInZone(const Entry& entry, int sign) MUSTER_REQUIRES(mutex_);
  // Whether most nodes were heard of, or enough time has passed.
  bool MayEndGuard() const MUSTER_REQUIRES(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  absl::Duration now_ MUSTER_GUARDED_BY(mutex_);
  bool ticked_ MUSTER_GUARDED_BY(mutex_) = false;
  bool calls_late_ MUSTER_GUARDED_BY(mutex_) = false;
  bool guarded_ MUSTER_GUARDED_BY(mutex_) = true;
  bool guard_end_noted_ MUSTER_GUARDED_BY(mutex_) = false;
  absl::Duration guard_end_ MUSTER_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Zone> zones_ MUSTER_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Entry> by_name_ MUSTER_GUARDED_BY(mutex_);
  absl::flat_hash_map<NodeUid, std::string> names_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_LEASE_TABLE_H_
