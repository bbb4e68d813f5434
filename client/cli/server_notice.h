// Says that a server is waited for, before a person wonders why nothing happens.
#ifndef MUSTER_CLIENT_CLI_SERVER_NOTICE_H_
#define MUSTER_CLIENT_CLI_SERVER_NOTICE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "client/sdk/channel.h"

namespace muster {

struct ServerNoticeOptions {
  // As people know the servers: "h:7070, i:7070".
  std::string servers;
  // From the first attempt of the first call to the notice, where no answer has come.
  absl::Duration after = absl::Seconds(1);
  // Gets the notice, once; called by any thread, also while a call is under way.
  std::function<void(const std::string&)> say;
};

// Passes calls on to `inner`, one attempt at a time, and says once that the server is waited for,
// and what went wrong last, when nothing was heard of it for `after`. Once it has answered nothing
// is said any more. Belongs below the retries.
std::unique_ptr<Channel> NewNoticingChannel(std::unique_ptr<Channel> inner,
                                            ServerNoticeOptions options);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_SERVER_NOTICE_H_
