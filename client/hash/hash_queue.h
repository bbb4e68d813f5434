// Hashes what several threads bring side by side in SIMD lanes, without threads of its own.
#ifndef MUSTER_CLIENT_HASH_HASH_QUEUE_H_
#define MUSTER_CLIENT_HASH_HASH_QUEUE_H_

#include <cstddef>
#include <deque>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/hash/md5_lanes.h"
#include "storage/base/md5.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe. A call returns when its own bytes are hashed. Nobody waits for company: a call that
// comes alone starts at once on its own thread, and those that come meanwhile join it. One thread
// hashes for all while they fit into its lanes, more threads when they don't.
class HashQueue {
 public:
  struct Part {
    Md5LaneStream* stream = nullptr;
    absl::string_view bytes;
  };

  HashQueue() = default;
  HashQueue(const HashQueue&) = delete;
  HashQueue& operator=(const HashQueue&) = delete;

  // Adds each part to its stream. A stream is in one part of one call at a time.
  void Update(absl::Span<const Part> parts);

  Md5Digest Hash(absl::string_view bytes);

 private:
  struct Call {
    size_t parts_left = 0;
    CondVar wake;
  };
  // What is left of a part.
  struct Item {
    Md5LaneStream* stream = nullptr;
    absl::string_view bytes;
    Call* call = nullptr;
  };

  // How many threads should hash for the items there are.
  size_t WantedHashers() const MUSTER_REQUIRES(mutex_);
  bool IsHasherMissing() const MUSTER_REQUIRES(mutex_);
  // Calls a sleeper when a hasher is missing.
  void WakeHasher() MUSTER_REQUIRES(mutex_);
  // Takes some items off waiting_ and hashes a slice of each, without the lock meanwhile.
  void HashSlices() MUSTER_REQUIRES(mutex_);
  std::vector<Item> TakeItems() MUSTER_REQUIRES(mutex_);

  Mutex mutex_;
  // In order of arrival.
  std::deque<Item> waiting_ MUSTER_GUARDED_BY(mutex_);
  // Items that are being hashed, and by how many threads.
  size_t running_ MUSTER_GUARDED_BY(mutex_) = 0;
  size_t hashers_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::vector<Call*> sleeping_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_HASH_HASH_QUEUE_H_
