#include "client/hash/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "storage/base/mutex.h"

namespace muster {
namespace {

constexpr size_t kMaxThreadsForCores = 16;

class Crew {
 public:
  Crew(size_t count, absl::FunctionRef<absl::Status(size_t, const std::stop_token&)> work)
      : count_(count), work_(work) {}

  void Work() {
    const std::stop_token stop = source_.get_token();
    while (!stop.stop_requested()) {
      const size_t item = next_.fetch_add(1);
      if (item >= count_) return;
      const absl::Status status = work_(item, stop);
      if (!status.ok()) Fail(status);
    }
  }

  void Fail(const absl::Status& status) {
    {
      MutexLock lock(mutex_);
      if (status_.ok()) status_ = status;
    }
    source_.request_stop();
  }

  absl::Status status() {
    MutexLock lock(mutex_);
    return status_;
  }

 private:
  const size_t count_;
  const absl::FunctionRef<absl::Status(size_t, const std::stop_token&)> work_;
  std::atomic<size_t> next_ = 0;
  std::stop_source source_;
  Mutex mutex_;
  absl::Status status_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

absl::Status RunInParallel(
    size_t count, size_t threads, const std::stop_token& stop,
    absl::FunctionRef<absl::Status(size_t item, const std::stop_token& stop)> work) {
  Crew crew(count, work);
  const std::stop_callback forward(stop,
                                   [&crew] { crew.Fail(absl::CancelledError("interrupted")); });
  std::vector<std::jthread> helpers;
  for (size_t i = 1; i < std::min(threads, count); ++i) {
    helpers.emplace_back([&crew] { crew.Work(); });
  }
  crew.Work();
  helpers.clear();
  return crew.status();
}

size_t ThreadsForCores() {
  return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kMaxThreadsForCores);
}

}  // namespace muster
