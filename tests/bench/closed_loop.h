// Keeps a fixed number of calls under way and counts how many end.
#ifndef MUSTER_TESTS_BENCH_CLOSED_LOOP_H_
#define MUSTER_TESTS_BENCH_CLOSED_LOOP_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace muster::bench {

// A kind of call. Start is called for each slot again and again, from any of gRPC's threads, never
// twice at once for one slot.
class Workload {
 public:
  virtual ~Workload() = default;
  // Starts a call; `done` gets "" or what went wrong, exactly once, on any thread.
  virtual void Start(size_t slot, std::function<void(std::string error)> done) = 0;
};

struct LoopResult {
  uint64_t calls = 0;
  double seconds = 0;
  // Empty when every call succeeded; the loop ends at the first that fails.
  std::string error;
};

// Slots 0 to in_flight - 1 each have one call under way; what ends between `warm_up` and `warm_up`
// + `length` is counted. Returns when the last call has ended.
LoopResult RunClosedLoop(Workload& workload, size_t in_flight, std::chrono::milliseconds warm_up,
                         std::chrono::milliseconds length);

}  // namespace muster::bench

#endif  // MUSTER_TESTS_BENCH_CLOSED_LOOP_H_
