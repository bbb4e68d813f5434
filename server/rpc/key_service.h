// muster.v1.KeyService: content keys, for those who may read their versions.
#ifndef MUSTER_SERVER_RPC_KEY_SERVICE_H_
#define MUSTER_SERVER_RPC_KEY_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "absl/strings/string_view.h"
#include "server/keys/key_wrapper.h"
#include "server/rpc/calls.h"

namespace muster {

// Whether nobody on the way can read what is sent: the connection is encrypted, or `peer`, as gRPC names it, is on this
// machine.
bool IsPrivate(absl::string_view peer, bool encrypted);

// Without a wrapper (null) calls for keys are refused. The context and the wrapper outlive the service. Thread-safe.
std::unique_ptr<grpc::Service> NewKeyService(ServiceContext& services, KeyWrapper* wrapper);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_KEY_SERVICE_H_
