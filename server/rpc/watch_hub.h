// Runs the open watches on a thread of its own, so that neither the committer nor gRPC's threads do
// their work.
#ifndef MUSTER_SERVER_RPC_WATCH_HUB_H_
#define MUSTER_SERVER_RPC_WATCH_HUB_H_

#include <deque>
#include <memory>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "storage/base/mutex.h"

namespace muster {

// One open watch. Its methods are called by the hub.
class Watch {
 public:
  virtual ~Watch() = default;

  // Sends what there is to send, unless it is doing so. On the hub's thread.
  virtual void Pump() = 0;

  // Ends the watch with an error. Any thread.
  virtual void End(const absl::Status& status) = 0;
};

// Thread-safe.
class WatchHub {
 public:
  WatchHub();
  // All watches must be gone.
  ~WatchHub();
  WatchHub(const WatchHub&) = delete;
  WatchHub& operator=(const WatchHub&) = delete;

  // Keeps the watch alive until Remove, and schedules it once. After EndAll it is ended at once.
  void Add(std::shared_ptr<Watch> watch) MUSTER_EXCLUDES(mutex_);
  void Remove(Watch* watch) MUSTER_EXCLUDES(mutex_);

  // Has the watch pumped soon; once, however often it is asked before that.
  void Schedule(Watch* watch) MUSTER_EXCLUDES(mutex_);

  // Ends all watches, and every one that is added later.
  void EndAll(const absl::Status& status) MUSTER_EXCLUDES(mutex_);

 private:
  struct Entry {
    std::shared_ptr<Watch> watch;
    bool scheduled = false;
  };

  void Run();

  Mutex mutex_;
  CondVar changed_;
  absl::flat_hash_map<Watch*, Entry> watches_ MUSTER_GUARDED_BY(mutex_);
  std::deque<Watch*> scheduled_ MUSTER_GUARDED_BY(mutex_);
  // Not OK once EndAll was called.
  absl::Status ended_ MUSTER_GUARDED_BY(mutex_);
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_WATCH_HUB_H_
