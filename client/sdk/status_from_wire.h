// Turns what a gRPC call ended with into an absl::Status with its ErrorDetail.
#ifndef MUSTER_CLIENT_SDK_STATUS_FROM_WIRE_H_
#define MUSTER_CLIENT_SDK_STATUS_FROM_WIRE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace muster {

// `code` is gRPC's number; one that gRPC does not define becomes kUnknown. `details` are the bytes
// of the trailer "grpc-status-details-bin", a google.rpc.Status, of which ErrorInfo and RetryInfo
// are read; bytes that can't be read are ignored, since the code alone is still true. Thread-safe:
// a pure function.
absl::Status StatusFromWire(int code, absl::string_view message, absl::string_view details);

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_STATUS_FROM_WIRE_H_
