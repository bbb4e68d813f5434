// What `muster wait` shows while it waits.
#ifndef MUSTER_CLIENT_CLI_WAIT_PROGRESS_H_
#define MUSTER_CLIENT_CLI_WAIT_PROGRESS_H_

#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/live_screen.h"
#include "client/cli/rate_meter.h"
#include "muster/v1/assembly.pb.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// "demo LOADING  45%  [====>   ]  1.2 GiB of 2.6 GiB  512.0 MiB/s  3 s left  slowest: n7 12%"; the state and its reasons
// where nothing is on its way. `node` is "" or the one whose part is meant, "nodes/{node}".
std::string WaitLine(const v1::GetAssemblyResponse& response, const std::string& node,
                     double bytes_per_second, size_t columns);

// All bytes that are there or on their way, of `node` where one is named: at most those that are to be there.
int64_t BytesThere(const v1::GetAssemblyResponse& response, const std::string& node);

// On a terminal one line, drawn again and again. Elsewhere a line for each change of the state, and of what else is said
// one in ten seconds at most. Thread-safe.
class WaitProgress {
 public:
  // `assembly` and `node` are full names; `node` may be empty. `print` gets whole lines for where there is no terminal.
  // All references outlive the object.
  WaitProgress(Clock& clock, LiveScreen& screen, std::string assembly, std::string node,
               std::function<void(const std::string&)> print);

  // The watch says what there is, or why it broke.
  void OnState(const v1::Assembly& assembly);
  void OnDisconnect(const absl::Status& status);
  // Members, with the bytes that their last heartbeats named.
  void OnMembers(const v1::GetAssemblyResponse& response);
  // To be called about once a second: says what was held back.
  void OnTime();

 private:
  void Say(const std::string& line, bool now) MUSTER_REQUIRES(mutex_);
  void Draw() MUSTER_REQUIRES(mutex_);

  Clock& clock_;
  LiveScreen& screen_;
  const std::string assembly_;
  const std::string node_;
  const std::function<void(const std::string&)> print_;
  Mutex mutex_;
  // The last thing that was heard, with members where they are known.
  v1::GetAssemblyResponse response_ MUSTER_GUARDED_BY(mutex_);
  // Why nothing is heard now; "" while the watch is open.
  std::string trouble_ MUSTER_GUARDED_BY(mutex_);
  RateMeter rate_ MUSTER_GUARDED_BY(mutex_);
  std::string said_ MUSTER_GUARDED_BY(mutex_);
  std::string held_back_ MUSTER_GUARDED_BY(mutex_);
  absl::Duration said_at_ MUSTER_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  v1::Assembly::State state_ MUSTER_GUARDED_BY(mutex_) = v1::Assembly::STATE_UNSPECIFIED;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_WAIT_PROGRESS_H_
