// The feed of committed changes: one ring for all watchers. A watcher is a cursor, never a queue.
#ifndef MUSTER_SERVER_WATCH_FEED_H_
#define MUSTER_SERVER_WATCH_FEED_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/registry/change.h"
#include "server/registry/uid.h"
#include "storage/base/mutex.h"
#include "storage/base/numbers.h"

namespace muster {

// What a watcher follows: one node's assignments, one assembly, or the events in the event log.
struct FeedKey {
  enum class Kind : uint8_t { kNode, kAssembly, kLog };
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
FeedKey KeyOfLog();

// Thread-safe. Holds durable changes only: the committer publishes after the fsync.
class Feed {
 public:
  struct Options {
    size_t max_changes = 65'536;
    size_t max_bytes = size_t{64} << 20;
  };
  using ChangePtr = std::shared_ptr<const Change>;
  // What a Read finds.
  struct Found {
    // In order: whole revisions.
    std::vector<ChangePtr> changes;
    // There are others behind them.
    bool more = false;
    // Set instead of changes where some may have left the ring: up to here the event log has to be
    // read.
    std::optional<Revision> behind;
  };

  explicit Feed(const Options& options) : options_(options) {}

  // Sets where the feed begins: what happened up to `revision` is not in it. Once, before the first
  // Publish.
  void Start(Revision revision) MUSTER_EXCLUDES(mutex_);

  // Has `touched` called after each Publish with the keys that it touches, on the publisher's
  // thread: it must not block, nor call the feed. Once, before the first Publish that it is to see.
  void SetListener(std::function<void(const std::vector<FeedKey>& touched)> listener)
      MUSTER_EXCLUDES(listener_mutex_);

  // Adds the changes of a group of commits, in revision order. `durable` is the group's last
  // revision.
  void Publish(std::vector<Change> changes, Revision durable) MUSTER_EXCLUDES(mutex_);

  // The key's changes with a revision above `after`, in order: whole revisions, and at least one if
  // there is any, until `limit` changes are there.
  Found Read(FeedKey key, Revision after, size_t limit) const MUSTER_EXCLUDES(mutex_);

  // The newest durable revision; a watcher that has read up to here has seen everything.
  Revision durable() const MUSTER_EXCLUDES(mutex_);

  // While a key has followers the feed knows which of its changes have left the ring, so that a
  // follower to whom nothing happened never falls behind. Each Follow ends with an Unfollow.
  void Follow(FeedKey key) MUSTER_EXCLUDES(mutex_);
  void Unfollow(FeedKey key) MUSTER_EXCLUDES(mutex_);

 private:
  struct Slot {
    FeedKey key;
    ChangePtr change;
    size_t bytes = 0;
  };

  struct Key {
    // Sequence numbers of its changes, ascending.
    std::deque<uint64_t> positions;
    // All of its changes above this revision are in the ring.
    Revision left;
    size_t followers = 0;
  };

  Key& At(FeedKey key) MUSTER_REQUIRES(mutex_);
  void EraseIfIdle(FeedKey key) MUSTER_REQUIRES(mutex_);
  void Append(FeedKey key, Change change) MUSTER_REQUIRES(mutex_);
  void DropOldest() MUSTER_REQUIRES(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  // slots_[i] has sequence number first_ + i.
  std::deque<Slot> slots_ MUSTER_GUARDED_BY(mutex_);
  uint64_t first_ MUSTER_GUARDED_BY(mutex_) = 0;
  size_t bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  // Those that have changes or followers.
  absl::flat_hash_map<FeedKey, Key> keys_ MUSTER_GUARDED_BY(mutex_);
  // Events up to this revision may have left the ring.
  Revision compacted_ MUSTER_GUARDED_BY(mutex_);
  Revision durable_ MUSTER_GUARDED_BY(mutex_);

  Mutex listener_mutex_;
  std::function<void(const std::vector<FeedKey>&)> listener_ MUSTER_GUARDED_BY(listener_mutex_) =
      [](const std::vector<FeedKey>&) {};
};

}  // namespace muster

#endif  // MUSTER_SERVER_WATCH_FEED_H_
