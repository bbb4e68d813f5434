// Waits for the barrier: that an assembly, or one node in it, is READY, or that so many nodes are.
#ifndef MUSTER_CLIENT_SDK_WAIT_H_
#define MUSTER_CLIENT_SDK_WAIT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "client/sdk/client.h"
#include "client/sdk/watch_retry.h"

namespace muster {

struct WaitOptions {
  // "assemblies/{assembly}".
  std::string assembly;
  // "nodes/{node}" to wait for this node's readiness instead of the assembly's.
  std::string node;
  // Not 0: wait until so many nodes hold what is theirs, whatever the assembly's state. `node` is
  // empty then.
  uint32_t nodes = 0;
  WatchRetryOptions retry;
  // Called on the calling thread with each state, in revision order; may be empty.
  std::function<void(const v1::WatchAssemblyResponse&)> on_state;
};

struct WaitResult {
  // OK: READY, or as many nodes as were asked for. kDeadlineExceeded WAIT_TIMED_OUT: not within the
  // timeout; the message and `last` say
  // why not. kNotFound ASSEMBLY_UNKNOWN: there is none, or it was deleted. kUnavailable: the server
  // was never reached. kCancelled: stopped.
  absl::Status status;
  // The last state that the server sent; empty when none came. After a timeout with all reasons, as
  // GetAssembly has them.
  v1::WatchAssemblyResponse last;
};

// Watches and never polls: a watch that breaks is resumed after the revision that it had reached,
// or begun again where the server does not know that revision any more. Thread-safe.
WaitResult WaitUntilReady(Client& client, Clock& clock, Random& random, const WaitOptions& options);

// "WAITING: 1 of 3 nodes joined; …": state and reasons in one line for people, of about 300 bytes at
// most; those that don't fit are counted.
std::string DescribeState(const v1::Assembly& assembly);

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_WAIT_H_
