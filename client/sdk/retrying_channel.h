// A channel that tries again where a later attempt may succeed.
#ifndef MUSTER_CLIENT_SDK_RETRYING_CHANNEL_H_
#define MUSTER_CLIENT_SDK_RETRYING_CHANNEL_H_

#include <memory>

#include "client/sdk/channel.h"
#include "storage/base/backoff.h"

namespace muster {

struct RetryOptions {
  // For unary calls without a timeout of their own. Both grow by CallOptions.server_wait.
  absl::Duration call_timeout = absl::Seconds(60);
  // One attempt that takes longer is given up and made again, at another server where there are
  // several.
  absl::Duration attempt_timeout = absl::Seconds(15);
  BackoffOptions backoff;
};

// Unary calls that end with kUnavailable are made again after a growing wait, and those whose error
// names a retry delay after that delay, until the call's timeout; the last error is then returned
// with the number of attempts. That is safe because every call of the API is idempotent by content
// or carries a request id. Streams pass through, since only their reader knows where to resume.
std::unique_ptr<Channel> NewRetryingChannel(std::unique_ptr<Channel> inner, Clock& clock,
                                            Random& random, const RetryOptions& options);

// True for the errors that NewRetryingChannel would try again.
bool IsRetryable(const absl::Status& status);

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_RETRYING_CHANNEL_H_
