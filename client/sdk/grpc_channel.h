// A channel over gRPC to one or more Muster servers.
#ifndef MUSTER_CLIENT_SDK_GRPC_CHANNEL_H_
#define MUSTER_CLIENT_SDK_GRPC_CHANNEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/sdk/channel.h"

namespace muster {

// `servers` are "host:port". Each call goes to the server that answered last; on kUnavailable it
// goes on to the next, once round. When none can be reached the error is kUnavailable
// SERVER_UNREACHABLE and names them all; kDeadlineExceeded SERVER_TIMED_OUT: one was, and gave no
// answer in time. kInvalidArgument: no server, or one that is not
// "host:port". Connects lazily, so an unreachable server is not an error here.
absl::StatusOr<std::unique_ptr<Channel>> NewGrpcChannel(const std::vector<std::string>& servers);

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_GRPC_CHANNEL_H_
