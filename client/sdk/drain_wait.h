// Waits until a node that is being drained holds nothing any more.
#ifndef MUSTER_CLIENT_SDK_DRAIN_WAIT_H_
#define MUSTER_CLIENT_SDK_DRAIN_WAIT_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "client/sdk/client.h"
#include "client/sdk/watch_retry.h"

namespace muster {

struct DrainWaitOptions {
  // "nodes/{node}".
  std::string node;
  WatchRetryOptions retry;
  // Called on the calling thread with the first state and after each event of the node; may be
  // empty.
  std::function<void(const v1::Node&)> on_state;
};

struct DrainWaitResult {
  // OK: DRAINED. kDeadlineExceeded DRAIN_OVERDUE: the drain's deadline has passed, WAIT_TIMED_OUT:
  // the timeout has, also where the server is away by then; the messages and `last` say what is left, and the drain
  // stays on. kFailedPrecondition NOT_DRAINING:
  // the drain was cancelled. kNotFound NODE_UNKNOWN. kUnavailable: the server was never reached.
  // kCancelled: stopped.
  absl::Status status;
  // The last state that the server sent; empty when none came.
  v1::Node last;
};

// Reads the node after each of its events and never polls. Thread-safe.
DrainWaitResult WaitUntilDrained(Client& client, Clock& clock, Random& random,
                                 const DrainWaitOptions& options);

// "3 shards left; assemblies/demo: shard 3 can't leave n1 …": what keeps the node from being
// drained, in one line, for people.
std::string DescribeDrain(const v1::Drain& drain);

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_DRAIN_WAIT_H_
