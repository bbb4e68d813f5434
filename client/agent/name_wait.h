// How long an agent waits for a name that another machine has.
#ifndef MUSTER_CLIENT_AGENT_NAME_WAIT_H_
#define MUSTER_CLIENT_AGENT_NAME_WAIT_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace muster {

// Until the lease ends, which nobody renews once that machine's agent is gone: a pod that lost its
// cache gets its name that way. A lease that was renewed each time that it was to end is an agent's
// that is alive, and no wait helps. A value.
class NameWait {
 public:
  // What the server says of the name at `now`, NODE_NAME_TAKEN. True when that is news: the first
  // time, and each time that the lease was to end.
  bool Note(const absl::Status& refused, absl::Duration now);

  // How often the lease was renewed, each time that it was to end.
  int renewed() const { return renewed_; }
  bool in_vain() const;
  // Until the next look.
  absl::Duration wait() const { return wait_; }

 private:
  std::optional<absl::Duration> lease_end_;
  absl::Duration wait_;
  uint64_t epoch_ = 0;
  uint64_t renewals_ = 0;
  int renewed_ = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_NAME_WAIT_H_
