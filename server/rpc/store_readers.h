// A few threads for reads that need the store, so that no RPC thread blocks on it.
#ifndef MUSTER_SERVER_RPC_STORE_READERS_H_
#define MUSTER_SERVER_RPC_STORE_READERS_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe.
class StoreReaders {
 public:
  StoreReaders(size_t threads, size_t queue_limit);
  // Runs what is queued, then ends.
  ~StoreReaders();
  StoreReaders(const StoreReaders&) = delete;
  StoreReaders& operator=(const StoreReaders&) = delete;

  // RESOURCE_EXHAUSTED READERS_BUSY when the queue is full; `work` is dropped then.
  absl::Status Submit(std::function<void()> work) MUSTER_EXCLUDES(mutex_);

 private:
  void Run();

  const size_t queue_limit_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> queue_ MUSTER_GUARDED_BY(mutex_);
  bool stopped_ MUSTER_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_STORE_READERS_H_
