#include "client/transfer/buffer_pool.h"

#include <utility>

namespace muster {

absl::StatusOr<IoBuffer> BufferPool::Take(size_t size_bytes) {
  std::vector<IoBuffer> freed;
  {
    MutexLock lock(mutex_);
    if (size_bytes_ != size_bytes) freed.swap(kept_);
    size_bytes_ = size_bytes;
    if (!kept_.empty()) {
      IoBuffer buffer = std::move(kept_.back());
      kept_.pop_back();
      return buffer;
    }
  }
  freed.clear();
  return MakeIoBuffer(size_bytes);
}

void BufferPool::GiveBack(IoBuffer buffer, size_t size_bytes) {
  MutexLock lock(mutex_);
  if (size_bytes == size_bytes_) kept_.push_back(std::move(buffer));
}

void BufferPool::Clear() {
  std::vector<IoBuffer> freed;
  MutexLock lock(mutex_);
  freed.swap(kept_);
}

}  // namespace muster
