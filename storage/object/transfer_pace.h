// Which transfers are too slow to be waited for.
#ifndef MUSTER_STORAGE_OBJECT_TRANSFER_PACE_H_
#define MUSTER_STORAGE_OBJECT_TRANSFER_PACE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

struct PaceOptions {
  // 0: nothing is too slow.
  int64_t min_bytes_per_second = int64_t{64} << 10;
  // How long a transfer may be below it.
  absl::Duration window = absl::Seconds(30);
};

// A server that sends a few bytes now and then holds a connection for ever, while an honest link that is
// slow is shared by all connections. So one transfer is too slow if, over a window, it moved less than the
// least rate, and
//  - either all transfers of its host together did, so that it isn't the link that is shared,
//  - or the others of that host moved four times as much, each: it is the connection, not the link.
// Thread-safe; all that is made of it is gone before it.
class TransferPace {
 public:
  // `clock` outlives it.
  TransferPace(Clock& clock, const PaceOptions& options) : clock_(clock), options_(options) {}

  // One transfer, from here until it is destroyed. For one thread.
  class Transfer {
   public:
    // `url` says which host it is with.
    Transfer(TransferPace& pace, absl::string_view url);
    ~Transfer();
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    void Moved(int64_t bytes);
    // For so long the one who takes the bytes didn't.
    void Paused(absl::Duration duration) { start_ += duration; }
    // Asked as often as one likes; says so, and what to do, once a window is over that was too slow.
    std::optional<std::string> TooSlow();

   private:
    friend class TransferPace;
    TransferPace& pace_;
    const std::string host_;
    // The window: when it began, pauses left out, what was moved in it, and what the host's sums were.
    absl::Duration start_;
    int64_t bytes_ = 0;
    int64_t host_bytes_ = 0;
    absl::Duration host_busy_;
  };

 private:
  struct Host {
    int transfers = 0;
    int64_t bytes = 0;
    // The sum over its transfers of the time that they took, as of `counted`.
    absl::Duration busy;
    absl::Duration counted;
  };

  Host& CountTime(const std::string& host, absl::Duration now) MUSTER_REQUIRES(mutex_);

  Clock& clock_;
  const PaceOptions options_;
  Mutex mutex_;
  // Those with transfers.
  std::map<std::string, Host> hosts_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_TRANSFER_PACE_H_
