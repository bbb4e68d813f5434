// A bound on the memory that several things take together.
#ifndef MUSTER_CLIENT_CACHE_MEMORY_BUDGET_H_
#define MUSTER_CLIENT_CACHE_MEMORY_BUDGET_H_

#include <cstdint>
#include <stop_token>

#include "absl/status/statusor.h"
#include "storage/base/mutex.h"

namespace muster {

// An account of bytes. Thread-safe.
//
// Pieces in flight take of it one by one, decoders much at once. So that a stream of the former doesn't keep the
// latter waiting for ever, nobody else takes anything while somebody waits. Whoever waits must hold nothing of it,
// and whoever holds some must not wait for those who wait.
class MemoryBudget {
 public:
  // What was taken, until it is destroyed.
  class Share {
   public:
    Share(MemoryBudget& budget, int64_t bytes) : budget_(&budget), bytes_(bytes) {}
    Share(Share&& other) noexcept : budget_(other.budget_), bytes_(other.bytes_) {
      other.budget_ = nullptr;
    }
    Share& operator=(Share&&) = delete;
    ~Share() {
      if (budget_ != nullptr) budget_->GiveBack(bytes_);
    }

   private:
    MemoryBudget* budget_;
    const int64_t bytes_;
  };

  explicit MemoryBudget(int64_t size_bytes) : size_bytes_(size_bytes) {}

  int64_t size_bytes() const { return size_bytes_; }

  // Waits until `bytes` are free; more than there are in all is as much as there are. kCancelled soon after `stop`
  // was requested.
  absl::StatusOr<Share> Take(int64_t bytes, const std::stop_token& stop);

  // At once or not at all; to be given back by as many calls.
  bool TryTake(int64_t bytes);
  void GiveBack(int64_t bytes);

 private:
  const int64_t size_bytes_;
  Mutex mutex_;
  CondVar freed_;
  int64_t taken_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  int waiting_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_MEMORY_BUDGET_H_
