// The feed of committed events: one ring for all watchers, who are cursors and never queues.
#ifndef MUSTER_SERVER_WATCH_FEED_H_
#define MUSTER_SERVER_WATCH_FEED_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/registry/event.h"
#include "server/registry/uid.h"
#include "storage/base/mutex.h"
#include "storage/base/numbers.h"

namespace muster {

// What a watcher follows: one node's assignments, or one assembly.
struct FeedKey {
  enum class Kind : uint8_t { kNode, kAssembly };
  Kind kind;
  uint64_t uid;

  bool operator==(const FeedKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H state, const FeedKey& key) {
    return H::combine(std::move(state), key.kind, key.uid);
  }
};
FeedKey KeyOf(NodeUid node);
FeedKey KeyOf(AssemblyUid assembly);

// Thread-safe. Holds durable events only: the committer publishes after the fsync.
class Feed {
 public:
  struct Options {
    size_t max_events = 65'536;
    size_t max_bytes = size_t{64} << 20;
  };
  using EventPtr = std::shared_ptr<const Event>;

  explicit Feed(const Options& options) : options_(options) {}

  // Sets where the feed begins: what happened up to `revision` is not in it. Once, before the first
  // Publish.
  void Start(Revision revision) MUSTER_EXCLUDES(mutex_);

  // Adds the events of a group of commits, in revision order, and wakes the watchers of the keys
  // that they touch. `durable` is the group's last revision.
  void Publish(std::vector<Event> events, Revision durable) MUSTER_EXCLUDES(mutex_);

  // The key's events with a revision above `after`, in order: whole revisions, and at least one if
  // there is any, until `limit` events are there. OUT_OF_RANGE REVISION_COMPACTED when events above
  // `after` may have left the ring.
  absl::StatusOr<std::vector<EventPtr>> Read(FeedKey key, Revision after, size_t limit) const
      MUSTER_EXCLUDES(mutex_);

  // Whether a watch can resume after `start`, where `newest` is the registry's revision.
  // OUT_OF_RANGE REVISION_COMPACTED as Read; also when the revision is beyond the newest, as after
  // a store was replaced.
  absl::Status CheckResume(FeedKey key, Revision start, Revision newest) const
      MUSTER_EXCLUDES(mutex_);

  // The newest durable revision; a watcher that has read up to here has seen everything.
  Revision durable() const MUSTER_EXCLUDES(mutex_);

  // Calls `wake` after each Publish that touches the key, on the publisher's thread: it must not
  // block, nor call the feed. Ends with Unsubscribe, after which no call is under way.
  uint64_t Subscribe(FeedKey key, std::function<void()> wake) MUSTER_EXCLUDES(wake_mutex_);
  void Unsubscribe(FeedKey key, uint64_t subscription) MUSTER_EXCLUDES(wake_mutex_);

 private:
  struct Slot {
    FeedKey key;
    EventPtr event;
    size_t bytes = 0;
  };

  void Append(FeedKey key, Event event) MUSTER_REQUIRES(mutex_);
  void DropOldest() MUSTER_REQUIRES(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  // slots_[i] has sequence number first_ + i.
  std::deque<Slot> slots_ MUSTER_GUARDED_BY(mutex_);
  uint64_t first_ MUSTER_GUARDED_BY(mutex_) = 0;
  size_t bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  // Sequence numbers of each key's events, ascending.
  absl::flat_hash_map<FeedKey, std::deque<uint64_t>> positions_ MUSTER_GUARDED_BY(mutex_);
  // Events up to this revision may have left the ring.
  Revision compacted_ MUSTER_GUARDED_BY(mutex_);
  Revision durable_ MUSTER_GUARDED_BY(mutex_);

  Mutex wake_mutex_;
  absl::flat_hash_map<FeedKey, absl::flat_hash_map<uint64_t, std::function<void()>>> watchers_
      MUSTER_GUARDED_BY(wake_mutex_);
  uint64_t next_subscription_ MUSTER_GUARDED_BY(wake_mutex_) = 1;
};

}  // namespace muster

#endif  // MUSTER_SERVER_WATCH_FEED_H_
