// A channel over gRPC to one or more Muster servers.
#ifndef MUSTER_CLIENT_SDK_GRPC_CHANNEL_H_
#define MUSTER_CLIENT_SDK_GRPC_CHANNEL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/sdk/channel.h"
#include "storage/tls/tls_files.h"

namespace muster {

// How the way to a server is protected.
struct ChannelSecurity {
  // Encrypt, and check the server's certificate; otherwise calls are neither encrypted nor authenticated.
  bool tls = false;
  // What this end shows, if anything, and believes; without an authority those of the system. gRPC looks at the files
  // every few seconds, so that what is renewed is used from the next connection on.
  TlsFiles files;
  // What the server's certificate has to name, where that is not the host of its address.
  std::string server_name;
  // A bearer token, or the file that it is in (see BearerToken): sent with each call, and over TLS only.
  std::string token = "";
  std::string token_file = "";
  // Grows whenever whoever owns the files has put a new certificate into them: calls that begin later go by connections
  // that are made with it. Null: connections end by themselves.
  std::shared_ptr<const std::atomic<uint64_t>> renewals = nullptr;
};

// `servers` are "host:port". Each call goes to the server that answered last; on kUnavailable it
// goes on to the next, once round. When none can be reached the error is kUnavailable
// SERVER_UNREACHABLE and names them all; kDeadlineExceeded SERVER_TIMED_OUT: one was, and gave no
// answer in time. kInvalidArgument: no server, or one that is not
// "host:port". Connects lazily, so an unreachable server is not an error here.
//
// A token without TLS is kInvalidArgument CREDENTIAL_REFUSED, as is one that can't be used.
//
// With TLS, files that can't be used are an error here, as ReadTlsFiles has them. A connection that can't be secured is
// kUnavailable TLS_FAILED, with what was found by trying it once more: whose certificate is refused and why, or that
// the server speaks no TLS. Without TLS the same tells that the server speaks nothing else.
absl::StatusOr<std::unique_ptr<Channel>> NewGrpcChannel(const std::vector<std::string>& servers,
                                                        const ChannelSecurity& security = {});

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_GRPC_CHANNEL_H_
