#include "server/rpc/store_readers.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {

StoreReaders::StoreReaders(size_t threads, size_t queue_limit) : queue_limit_(queue_limit) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

StoreReaders::~StoreReaders() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status StoreReaders::Submit(std::function<void()> work) {
  MutexLock lock(mutex_);
  if (queue_.size() >= queue_limit_) {
    return WithDetail(
        absl::ResourceExhaustedError(
            absl::StrCat("the server is overloaded: ", queue_limit_, " reads are already waiting")),
        ErrorDetail{reasons::kReadersBusy,
                    {{"limit", absl::StrCat(queue_limit_)}},
                    absl::Milliseconds(200)});
  }
  queue_.push_back(std::move(work));
  changed_.NotifyOne();
  return absl::OkStatus();
}

void StoreReaders::Run() {
  while (true) {
    std::function<void()> work;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopped_) changed_.Wait(mutex_);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace muster
