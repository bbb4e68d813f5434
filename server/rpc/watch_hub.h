// Runs the open watches on threads of its own, so that neither the committer nor gRPC's threads do
// their work.
#ifndef MUSTER_SERVER_RPC_WATCH_HUB_H_
#define MUSTER_SERVER_RPC_WATCH_HUB_H_

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/watch/feed.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// One open watch. Its methods are called by the hub; any thread.
class Watch {
 public:
  virtual ~Watch() = default;

  // Sends what there is to send, unless it is doing so.
  virtual void Pump() = 0;

  // Called at a steady pace; true when the watch has been quiet for so long that its next pump is
  // to say so.
  virtual bool IsQuiet() = 0;

  // Ends the watch with an error.
  virtual void End(const absl::Status& status) = 0;
};

// Thread-safe.
class WatchHub {
 public:
  struct Options {
    // A watch that had nothing to send for this long says so, within half as much again.
    absl::Duration progress_interval = absl::Seconds(10);
    size_t threads = 1;
    // More are told to come again.
    size_t watches_max = 50'000;
  };

  // Both outlive it; it is the feed's listener.
  WatchHub(Clock& clock, Feed& feed, const Options& options);
  // All watches must be gone.
  ~WatchHub();
  WatchHub(const WatchHub&) = delete;
  WatchHub& operator=(const WatchHub&) = delete;

  // Keeps the watch alive until Remove, and schedules it once. After EndAll it is ended at once; so it
  // is, with RESOURCE_EXHAUSTED TOO_MANY_WATCHES, where there are too many.
  void Add(std::shared_ptr<Watch> watch) MUSTER_EXCLUDES(mutex_);
  void Remove(Watch* watch) MUSTER_EXCLUDES(mutex_);

  // Schedules the watch whenever the feed publishes something of the key. Once a watch.
  void Follow(Watch* watch, FeedKey key) MUSTER_EXCLUDES(mutex_);

  // Has all of them pumped soon.
  void ScheduleAll() MUSTER_EXCLUDES(mutex_);

  // Has the watch pumped soon; once, however often it is asked before that.
  void Schedule(Watch* watch) MUSTER_EXCLUDES(mutex_);
  // The same, after a tenth of a second or less.
  void ScheduleLater(Watch* watch) MUSTER_EXCLUDES(mutex_);

  // Watches that are behind the feed read the log a few at a time, so that other reads of the store
  // have their turn: false when this one has to come again. Each true ends with EndLogRead.
  bool BeginLogRead();
  void EndLogRead();

  // Ends all watches, and every one that is added later.
  void EndAll(const absl::Status& status) MUSTER_EXCLUDES(mutex_);

 private:
  // Lives as long as it is queued somewhere; `watch` is null once it was removed.
  struct Entry {
    std::shared_ptr<Watch> watch;
    std::optional<FeedKey> key;
    std::atomic<bool> scheduled = false;
  };
  using EntryPtr = std::shared_ptr<Entry>;

  void Run(bool ticks);
  // What one thread pumps before it looks around again.
  std::vector<EntryPtr> TakeScheduled(bool ticks) MUSTER_EXCLUDES(queue_mutex_);
  void Enqueue(const std::vector<EntryPtr>& entries) MUSTER_EXCLUDES(queue_mutex_);
  // Schedules the followers of the keys.
  void Wake(const std::vector<FeedKey>& keys) MUSTER_EXCLUDES(mutex_, queue_mutex_);
  // Visits a part of the watches, and schedules those that are quiet or were put off.
  void Tick() MUSTER_EXCLUDES(mutex_, queue_mutex_);

  Clock& clock_;
  Feed& feed_;
  const size_t watches_max_;
  // In how many ticks every watch is visited once.
  const size_t ticks_per_round_;
  std::atomic<size_t> log_reads_ = 0;

  Mutex mutex_;
  absl::flat_hash_map<Watch*, EntryPtr> watches_ MUSTER_GUARDED_BY(mutex_);
  absl::flat_hash_map<FeedKey, absl::flat_hash_set<EntryPtr>> followers_ MUSTER_GUARDED_BY(mutex_);
  // In the order of their next visit.
  std::deque<EntryPtr> round_ MUSTER_GUARDED_BY(mutex_);
  std::vector<EntryPtr> later_ MUSTER_GUARDED_BY(mutex_);
  // Not OK once EndAll was called.
  absl::Status ended_ MUSTER_GUARDED_BY(mutex_);

  // Apart from the above, as the committer takes it.
  Mutex queue_mutex_;
  CondVar queue_filled_;
  std::deque<EntryPtr> scheduled_ MUSTER_GUARDED_BY(queue_mutex_);
  absl::flat_hash_set<FeedKey> touched_ MUSTER_GUARDED_BY(queue_mutex_);
  absl::Duration next_tick_ MUSTER_GUARDED_BY(queue_mutex_);
  bool stopped_ MUSTER_GUARDED_BY(queue_mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_WATCH_HUB_H_
