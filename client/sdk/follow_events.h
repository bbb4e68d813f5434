// Follows the server's events over restarts of the server.
#ifndef MUSTER_CLIENT_SDK_FOLLOW_EVENTS_H_
#define MUSTER_CLIENT_SDK_FOLLOW_EVENTS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "client/sdk/client.h"
#include "client/sdk/watch_retry.h"

namespace muster {

struct FollowEventsOptions {
  v1::EventFilter filter;
  // Events after this revision; 0: those from now on.
  uint64_t start_revision = 0;
  WatchRetryOptions retry;
};

// Calls `on_event` on the calling thread for each event, in order and each once, until it returns
// false. A watch that breaks is resumed where it was.
//
// OK: `on_event` returned false. kCancelled: stopped. kDeadlineExceeded WAIT_TIMED_OUT: the timeout
// is over. kOutOfRange REVISION_COMPACTED: the server no longer keeps what comes next; list or read
// the state, and follow from there. kUnavailable: the server was never reached.
absl::Status FollowEvents(Client& client, Clock& clock, Random& random,
                          const FollowEventsOptions& options,
                          absl::FunctionRef<bool(const v1::Event&)> on_event);

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_FOLLOW_EVENTS_H_
