#include "tests/bench/closed_loop.h"

#include <atomic>
#include <thread>
#include <utility>

#include "storage/base/mutex.h"

namespace muster::bench {
namespace {

class Loop {
 public:
  Loop(Workload& workload, size_t in_flight) : workload_(workload), under_way_(in_flight) {}

  void Start(size_t slot) {
    workload_.Start(slot, [this, slot](std::string error) { Ended(slot, std::move(error)); });
  }

  void Stop() { stopped_ = true; }
  uint64_t calls() const { return calls_; }

  std::string WaitForLast() {
    MutexLock lock(mutex_);
    while (under_way_ > 0) last_ended_.Wait(mutex_);
    return error_;
  }

 private:
  void Ended(size_t slot, std::string error) {
    if (error.empty()) {
      calls_.fetch_add(1, std::memory_order_relaxed);
      if (!stopped_) {
        Start(slot);
        return;
      }
    }
    MutexLock lock(mutex_);
    if (!error.empty()) {
      stopped_ = true;
      error_ = std::move(error);
    }
    if (--under_way_ == 0) last_ended_.NotifyAll();
  }

  Workload& workload_;
  std::atomic<uint64_t> calls_ = 0;
  std::atomic<bool> stopped_ = false;
  Mutex mutex_;
  CondVar last_ended_;
  size_t under_way_ MUSTER_GUARDED_BY(mutex_);
  std::string error_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

LoopResult RunClosedLoop(Workload& workload, size_t in_flight, std::chrono::milliseconds warm_up,
                         std::chrono::milliseconds length) {
  using Clock = std::chrono::steady_clock;
  Loop loop(workload, in_flight);
  for (size_t slot = 0; slot < in_flight; ++slot) loop.Start(slot);
  std::this_thread::sleep_for(warm_up);
  LoopResult result;
  const uint64_t before = loop.calls();
  const Clock::time_point begin = Clock::now();
  std::this_thread::sleep_for(length);
  result.calls = loop.calls() - before;
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  loop.Stop();
  result.error = loop.WaitForLast();
  return result;
}

}  // namespace muster::bench
