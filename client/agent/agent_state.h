// What the threads of one agent share.
#ifndef MUSTER_CLIENT_AGENT_AGENT_STATE_H_
#define MUSTER_CLIENT_AGENT_AGENT_STATE_H_

#include <algorithm>
#include <stop_token>

#include "absl/time/time.h"
#include "client/agent/assignment_table.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

struct AgentState {
  AgentState(Clock& clock_in, Random& random, const BackoffOptions& shard_retry,
             absl::Duration wake_interval_in)
      : clock(clock_in), wake_interval(wake_interval_in), table(random, shard_retry) {}

  // Waits until something changed or `until` has come by the clock; may wake up for nothing. A wait
  // ends after `wake_interval` at the latest, since a clock that is moved by hand wakes nobody.
  void Wait(absl::Duration until) MUSTER_REQUIRES(mutex) {
    const absl::Duration left = std::min(until - clock.Monotonic(), wake_interval);
    if (left > absl::ZeroDuration()) changed.WaitFor(mutex, left);
  }

  // Sleeps for `duration`; false when `stop` was requested. The requester wakes the sleeper by
  // WakeAll.
  bool Sleep(absl::Duration duration, const std::stop_token& stop) {
    MutexLock lock(mutex);
    const absl::Duration until = clock.Monotonic() + duration;
    while (!stop.stop_requested() && clock.Monotonic() < until) Wait(until);
    return !stop.stop_requested();
  }

  // The lock makes sure that nobody is between its look at the state and its wait.
  void WakeAll() {
    MutexLock lock(mutex);
    changed.NotifyAll();
  }

  Clock& clock;
  const absl::Duration wake_interval;
  Mutex mutex;
  CondVar changed;
  AssignmentTable table MUSTER_GUARDED_BY(mutex);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_AGENT_STATE_H_
