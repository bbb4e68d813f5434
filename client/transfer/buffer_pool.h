// Buffers of pieces, used again: fresh memory costs as much as hashing what is read into it.
#ifndef MUSTER_CLIENT_TRANSFER_BUFFER_POOL_H_
#define MUSTER_CLIENT_TRANSFER_BUFFER_POOL_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/mutex.h"
#include "storage/object/io_buffer.h"

namespace muster {

// Keeps buffers of one size, the one that was asked for last, so that kept and given out ones
// together are never more than what was given out at once. Thread-safe.
class BufferPool {
 public:
  // kResourceExhausted: no memory.
  absl::StatusOr<IoBuffer> Take(size_t size_bytes);
  // What Take(size_bytes) gave.
  void GiveBack(IoBuffer buffer, size_t size_bytes);
  // Frees what is kept.
  void Clear();

 private:
  Mutex mutex_;
  size_t size_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::vector<IoBuffer> kept_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_BUFFER_POOL_H_
