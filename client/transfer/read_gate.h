// Whom a pull asks before it reads from a location with a bound on its readers.
#ifndef MUSTER_CLIENT_TRANSFER_READ_GATE_H_
#define MUSTER_CLIENT_TRANSFER_READ_GATE_H_

#include <stop_token>
#include <string>

#include "absl/status/statusor.h"

namespace muster {

// One pull's way to places at its shard's bounded locations. Called by one thread at a time.
class ReadGate {
 public:
  virtual ~ReadGate() = default;

  // True: the pull may read from `uri` until Release. False, only without `wait`: no place is free
  // now. With `wait` it blocks until there is a place. kCancelled once `stop` was requested; any
  // other error: there will be no place at this location.
  virtual absl::StatusOr<bool> Acquire(const std::string& uri, bool wait,
                                       const std::stop_token& stop) = 0;

  // After an Acquire that was true. Does not block.
  virtual void Release(const std::string& uri) = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_READ_GATE_H_
