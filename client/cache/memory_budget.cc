#include "client/cache/memory_budget.h"

#include <algorithm>

#include "absl/status/status.h"

namespace muster {
namespace {

// How often whoever waits for memory looks whether it is to stop.
constexpr absl::Duration kMemoryLookInterval = absl::Milliseconds(20);

}  // namespace

absl::StatusOr<MemoryBudget::Share> MemoryBudget::Take(int64_t bytes, const std::stop_token& stop) {
  const int64_t wanted = std::min(bytes, size_bytes_);
  MutexLock lock(mutex_);
  ++waiting_;
  while (taken_bytes_ + wanted > size_bytes_ && !stop.stop_requested()) {
    freed_.WaitFor(mutex_, kMemoryLookInterval);
  }
  --waiting_;
  if (stop.stop_requested()) return absl::CancelledError("waiting for memory was cancelled");
  taken_bytes_ += wanted;
  return Share(*this, wanted);
}

bool MemoryBudget::TryTake(int64_t bytes) {
  MutexLock lock(mutex_);
  if (waiting_ > 0 || taken_bytes_ + bytes > size_bytes_) return false;
  taken_bytes_ += bytes;
  return true;
}

void MemoryBudget::GiveBack(int64_t bytes) {
  MutexLock lock(mutex_);
  taken_bytes_ -= bytes;
  freed_.NotifyAll();
}

}  // namespace muster
