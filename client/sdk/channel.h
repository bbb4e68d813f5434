// How calls leave the client: one method per kind of call, whatever carries them.
#ifndef MUSTER_CLIENT_SDK_CHANNEL_H_
#define MUSTER_CLIENT_SDK_CHANNEL_H_

#include <optional>
#include <stop_token>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"

namespace muster {

struct CallOptions {
  // Bounds the whole call, with its retries. Unset: the channel's default for unary calls, no bound
  // for streams.
  std::optional<absl::Duration> timeout;
  // For a unary call whose answer the server holds back on purpose, how long: added to the bounds
  // that the channel sets by itself, not to `timeout`.
  absl::Duration server_wait = absl::ZeroDuration();
  // Ends the call with kCancelled.
  std::stop_token stop;
  // Errors of this reason come back at once, whatever delay they name: the caller waits by itself.
  absl::string_view returned_reason = {};
};

// Thread-safe. Calls block. Methods are written "/muster.v1.ModelService/GetShard".
//
// Errors of the server come with their ErrorDetail (storage/base/error_info.h). kUnavailable, and
// every error whose detail names a retry delay, may succeed when tried again. kDeadlineExceeded:
// `options.timeout` is over.
class Channel {
 public:
  using Message = google::protobuf::Message;

  virtual ~Channel() = default;

  // Sends `request` and fills `response`, which is untouched or half-filled after an error.
  virtual absl::Status Unary(absl::string_view method, const Message& request, Message& response,
                             const CallOptions& options) = 0;

  // Sends `request` and calls `on_message`, on the calling thread, each time that `message` holds
  // the next message of the server. Ends with OK when `on_message` returns false or the server ends
  // the stream with OK.
  virtual absl::Status Stream(absl::string_view method, const Message& request, Message& message,
                              absl::FunctionRef<bool()> on_message, const CallOptions& options) = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_CHANNEL_H_
