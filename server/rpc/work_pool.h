// A few threads for work that takes long, so that no RPC thread does it.
#ifndef MUSTER_SERVER_RPC_WORK_POOL_H_
#define MUSTER_SERVER_RPC_WORK_POOL_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe.
class WorkPool {
 public:
  // `what` names its work in errors: "reads of the store".
  WorkPool(absl::string_view what, size_t threads, size_t queue_limit);
  // Runs what is queued, then ends.
  ~WorkPool();
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  // RESOURCE_EXHAUSTED READERS_BUSY when the queue is full; `work` is dropped then.
  absl::Status Submit(std::function<void()> work) MUSTER_EXCLUDES(mutex_);

  // The same for work of which a caller has one at a time: also refused while another one of
  // `caller` waits or runs.
  absl::Status SubmitFor(const std::string& caller, std::function<void()> work)
      MUSTER_EXCLUDES(mutex_);

 private:
  void Run();

  const std::string what_;
  const size_t queue_limit_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> queue_ MUSTER_GUARDED_BY(mutex_);
  absl::flat_hash_set<std::string> callers_ MUSTER_GUARDED_BY(mutex_);
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_WORK_POOL_H_
