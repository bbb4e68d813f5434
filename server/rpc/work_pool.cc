#include "server/rpc/work_pool.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

absl::Status Busy(absl::string_view message, size_t limit) {
  return WithDetail(
      absl::ResourceExhaustedError(message),
      ErrorDetail{
          reasons::kReadersBusy, {{"limit", absl::StrCat(limit)}}, absl::Milliseconds(200)});
}

}  // namespace

WorkPool::WorkPool(absl::string_view what, size_t threads, size_t queue_limit)
    : what_(what), queue_limit_(queue_limit) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

WorkPool::~WorkPool() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status WorkPool::Submit(std::function<void()> work) {
  MutexLock lock(mutex_);
  if (queue_.size() >= queue_limit_) {
    return Busy(absl::StrCat("the server is overloaded: ", queue_limit_, " ", what_,
                             " are already waiting"),
                queue_limit_);
  }
  queue_.push_back(std::move(work));
  changed_.NotifyOne();
  return absl::OkStatus();
}

absl::Status WorkPool::SubmitFor(const std::string& caller, std::function<void()> work) {
  {
    MutexLock lock(mutex_);
    if (!callers_.insert(caller).second) {
      return Busy(absl::StrCat("of ", what_,
                               " a connection gets one at a time; its last one is not "
                               "done yet"),
                  1);
    }
  }
  const absl::Status submitted = Submit([this, caller, work = std::move(work)] {
    work();
    MutexLock lock(mutex_);
    callers_.erase(caller);
  });
  if (!submitted.ok()) {
    MutexLock lock(mutex_);
    callers_.erase(caller);
  }
  return submitted;
}

void WorkPool::Run() {
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
