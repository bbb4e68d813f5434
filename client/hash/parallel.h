// Runs independent pieces of work on a few threads.
#ifndef MUSTER_CLIENT_HASH_PARALLEL_H_
#define MUSTER_CLIENT_HASH_PARALLEL_H_

#include <cstddef>
#include <functional>
#include <stop_token>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace muster {

// Gets the bytes that were done since the last call, from any thread; negative when bytes have to
// be done again. Must be quick.
using ByteProgress = std::function<void(int64_t bytes)>;

// Calls `work` with 0, 1 … count - 1, in this order, on at most `threads` threads, and waits for
// all. The first error is returned and stops the others by the token that they get, as a request on
// `stop` does; kCancelled when that came first.
absl::Status RunInParallel(
    size_t count, size_t threads, const std::stop_token& stop,
    absl::FunctionRef<absl::Status(size_t item, const std::stop_token& stop)> work);

// Threads for work that keeps cores busy: as many as there are, 16 at most.
size_t ThreadsForCores();

}  // namespace muster

#endif  // MUSTER_CLIENT_HASH_PARALLEL_H_
