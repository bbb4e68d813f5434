// Brings the time into the registry, ten times a second.
#ifndef MUSTER_SERVER_COMMIT_TICK_THREAD_H_
#define MUSTER_SERVER_COMMIT_TICK_THREAD_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/time/time.h"
#include "server/commit/committer.h"
#include "server/registry/live_tables.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// Notices when the time of day is set, by the monotonic clock beside it. Not thread-safe.
class TimeOfDayWatch {
 public:
  // By how much it was set since the last call; zero for less than 5 s, which is how far clocks
  // may be apart that are read one after the other by a busy machine.
  absl::Duration Step(absl::Time wall, absl::Duration monotonic);

 private:
  // What the time of day was when the monotonic clock began.
  std::optional<absl::Time> origin_;
};

class TickThread {
 public:
  // All outlive it. `time_of_day_set` is called, on the thread, when the time of day has jumped, with
  // by how much.
  TickThread(Clock& clock, LiveTables& live, MetadataStore& store, Committer& committer,
             absl::Duration interval, std::function<void(absl::Duration)> time_of_day_set);
  ~TickThread();
  TickThread(const TickThread&) = delete;
  TickThread& operator=(const TickThread&) = delete;

  // Gives the tables beside the registry the time, and makes the job of one tick: both clocks, and
  // what the lease table declares expired by it.
  static Job MakeTick(Clock& clock, LiveTables& live, MetadataStore& store);

 private:
  void Run(absl::Duration interval);

  Clock& clock_;
  LiveTables& live_;
  MetadataStore& store_;
  Committer& committer_;
  const std::function<void(absl::Duration)> time_of_day_set_;
  // A tick is under way; another one would only queue up behind it. Shared with the job, which may
  // end after the thread.
  const std::shared_ptr<std::atomic<bool>> pending_ = std::make_shared<std::atomic<bool>>(false);
  Mutex mutex_;
  CondVar stop_changed_;
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_COMMIT_TICK_THREAD_H_
