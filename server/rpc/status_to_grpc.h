// The one place where a status of the core becomes one of gRPC.
#ifndef MUSTER_SERVER_RPC_STATUS_TO_GRPC_H_
#define MUSTER_SERVER_RPC_STATUS_TO_GRPC_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace muster {

// Code and message as they are, with google.rpc.ErrorInfo (always) and RetryInfo (where the detail
// has a delay) as details. kUnknown becomes INTERNAL. Long values are cut, so that the trailers
// stay below gRPC's 8 KiB. Thread-safe.
grpc::Status StatusToGrpc(const absl::Status& status);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_STATUS_TO_GRPC_H_
