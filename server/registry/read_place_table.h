// Which nodes may read from bounded locations: the read places and the queues for them, in memory
// only.
//
// Stands beside the registry with a lock of its own, as the lease table does: it learns of nodes
// and assignments only from committed transactions, and of the time by ticks.
#ifndef MUSTER_SERVER_REGISTRY_READ_PLACE_TABLE_H_
#define MUSTER_SERVER_REGISTRY_READ_PLACE_TABLE_H_

#include <compare>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/registry/change.h"
#include "server/registry/uid.h"
#include "storage/base/mutex.h"
#include "storage/base/numbers.h"

namespace muster {

// Thread-safe; never blocks for long.
//
// A read place, or place for short, is a node's right to read one shard from one bounded location.
// It ends with the node's lease, its epoch, its last assignment of the shard, or by Release.
// Waiting nodes are served in the order of asking; nobody waits while a place is free.
class ReadPlaceTable {
 public:
  struct Options {
    // Nodes of an earlier process of the server may still read: no new places for this long.
    absl::Duration guard = absl::Seconds(10);
    // A call that ended without a place keeps its turn this long, for the next one.
    absl::Duration turn_kept = absl::Seconds(2);
    // A node fetches a few shards at once; a call that waits costs the server some 20 KiB.
    size_t max_waiting_per_node = 64;
    size_t max_waiting = 16'384;
  };
  struct Location {
    VersionUid version;
    uint32_t shard = 0;
    std::string uri;

    auto operator<=>(const Location&) const = default;
  };
  struct Request {
    // Full name.
    std::string node;
    Epoch epoch;
    Location location;
    // The assemblies that give the shard to the node, at least one, and the revision of the state
    // that says so. It may be ahead of what the table has been told.
    std::set<AssemblyUid> assemblies;
    Revision seen;
    // At least 1.
    uint32_t max_readers = 1;
    absl::Duration max_wait;
    // The node read from there before the server was started.
    bool held = false;
  };
  struct Answer {
    bool granted = false;
    uint32_t readers = 0;
    uint32_t max_readers = 0;
    // Others that wait before the node.
    uint32_t ahead = 0;
  };
  // Called once, by whichever thread brings the answer about; must not block.
  using Done = std::function<void(absl::StatusOr<Answer>)>;
  struct Waiting {
    // Full name.
    std::string node;
    uint32_t shard = 0;
    std::string uri;
  };

  explicit ReadPlaceTable(const Options& options) : options_(options) {}

  // Answers as soon as there is a place, or `max_wait` is over. NOT_FOUND NODE_UNKNOWN; ABORTED
  // NODE_FENCED, ASSIGNMENT_GONE; RESOURCE_EXHAUSTED TOO_MANY_ITEMS; UNAVAILABLE NODE_LOST (a
  // heartbeat comes first), SHUTTING_DOWN.
  void Acquire(Request request, Done done) MUSTER_EXCLUDES(mutex_);
  // Gives a place or a turn back. NOT_FOUND NODE_UNKNOWN; ABORTED NODE_FENCED.
  absl::Status Release(const std::string& node, Epoch epoch, const Location& location)
      MUSTER_EXCLUDES(mutex_);

  // Takes the time over.
  void Tick(absl::Duration monotonic) MUSTER_EXCLUDES(mutex_);
  // Take over what committed transactions say.
  void Apply(const NodeChange& change) MUSTER_EXCLUDES(mutex_);
  void Apply(const AssignmentChange& change, Revision revision) MUSTER_EXCLUDES(mutex_);
  // Nodes were there before this process: the guard begins with the first tick.
  void BeginGuard() MUSTER_EXCLUDES(mutex_);
  // Answers all waiting calls UNAVAILABLE SHUTTING_DOWN, and all later ones.
  void Stop() MUSTER_EXCLUDES(mutex_);

  // The nodes that wait for a shard of the version, or for one shard of it.
  std::vector<Waiting> WaitingFor(VersionUid version, std::optional<uint32_t> shard) const
      MUSTER_EXCLUDES(mutex_);

 private:
  using Answers = std::vector<std::function<void()>>;

  // Why a node is there; see Request.
  struct Right {
    std::set<AssemblyUid> assemblies;
    Revision seen;
  };
  struct Waiter {
    std::string node;
    Right right;
    bool held = false;
    // Null once its call has ended: then the turn is kept until `deadline`.
    Done call;
    absl::Duration deadline;
  };
  struct Queue {
    uint32_t max_readers = 0;
    // By the node's name.
    std::map<std::string, Right> holders;
    std::list<Waiter> waiters;
  };
  struct Node {
    NodeUid uid;
    Epoch epoch;
    bool lost = false;
    // Where it holds a place or waits for one.
    std::set<Location> held;
    std::set<Location> waiting;
  };

  absl::StatusOr<Node*> Find(const std::string& node, Epoch epoch) MUSTER_REQUIRES(mutex_);
  // Notes the request in the queue; it may be served by ServeQueue then.
  absl::Status Enqueue(Request request, Done& done, Answers& answers) MUSTER_REQUIRES(mutex_);
  void ServeQueue(const Location& location, Answers& answers) MUSTER_REQUIRES(mutex_);
  bool MayServe(const Waiter& waiter) const MUSTER_REQUIRES(mutex_);
  // Ends a waiter's call without a place; its turn is kept for a while.
  void EndCall(const Queue& queue, Waiter& waiter, Answers& answers) MUSTER_REQUIRES(mutex_);
  // Removes the node's place and turn at a location; a call that waits gets `why`.
  void Remove(const std::string& node, const Location& location, const absl::Status& why,
              Answers& answers) MUSTER_REQUIRES(mutex_);
  void RemoveAll(const std::string& node, const absl::Status& why, Answers& answers)
      MUSTER_REQUIRES(mutex_);
  static Answer AnswerOf(const Queue& queue, const Waiter& waiter);
  static void Run(const Answers& answers);

  const Options options_;
  mutable Mutex mutex_;
  absl::Duration now_ MUSTER_GUARDED_BY(mutex_);
  bool ticked_ MUSTER_GUARDED_BY(mutex_) = false;
  bool guarded_ MUSTER_GUARDED_BY(mutex_) = false;
  absl::Duration guard_end_ MUSTER_GUARDED_BY(mutex_);
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  size_t waiting_ MUSTER_GUARDED_BY(mutex_) = 0;
  // Only those with a holder or a waiter.
  std::map<Location, Queue> queues_ MUSTER_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Node> nodes_ MUSTER_GUARDED_BY(mutex_);
  absl::flat_hash_map<NodeUid, std::string> names_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_READ_PLACE_TABLE_H_
