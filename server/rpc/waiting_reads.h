// Bounds the answers of reads that wait until what they saw is durable.
#ifndef MUSTER_SERVER_RPC_WAITING_READS_H_
#define MUSTER_SERVER_RPC_WAITING_READS_H_

#include <atomic>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {

// Thread-safe.
class WaitingReads {
 public:
  struct Options {
    size_t count_max = 16'384;
    // Of their answers, in memory.
    size_t bytes_max = size_t{256} << 20;
  };

  explicit WaitingReads(const Options& options) : options_(options) {}

  // Before the read. RESOURCE_EXHAUSTED READERS_BUSY when too many wait; otherwise it is counted
  // until Leave.
  absl::Status Enter() {
    if (count_.fetch_add(1) < options_.count_max) return absl::OkStatus();
    count_.fetch_sub(1);
    return Busy(options_.count_max, "reads");
  }

  // With its answer. The same when the answers are too big together, and then `bytes` is 0: the
  // answer is to be dropped. One that is alone may be as big as it likes: answers are bounded.
  absl::Status Keep(size_t& bytes) {
    const size_t before = bytes_.fetch_add(bytes);
    if (before == 0 || before + bytes <= options_.bytes_max) return absl::OkStatus();
    bytes_.fetch_sub(bytes);
    bytes = 0;
    return Busy(options_.bytes_max, "bytes of reads");
  }

  // With what was kept.
  void Leave(size_t bytes) {
    bytes_.fetch_sub(bytes);
    count_.fetch_sub(1);
  }

 private:
  static absl::Status Busy(size_t limit, absl::string_view what) {
    return WithDetail(
        absl::ResourceExhaustedError(absl::StrCat("the server is overloaded: the answers of ",
                                                  limit, " ", what, " wait for the store")),
        ErrorDetail{
            reasons::kReadersBusy, {{"limit", absl::StrCat(limit)}}, absl::Milliseconds(200)});
  }

  const Options options_;
  std::atomic<size_t> count_ = 0;
  std::atomic<size_t> bytes_ = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_WAITING_READS_H_
