// muster.v1.AccessService: who a caller is, and what it may do.
#ifndef MUSTER_SERVER_RPC_ACCESS_SERVICE_H_
#define MUSTER_SERVER_RPC_ACCESS_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "server/rpc/service_context.h"

namespace muster {

// The context outlives the service. Thread-safe.
std::unique_ptr<grpc::Service> NewAccessService(ServiceContext& services);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_ACCESS_SERVICE_H_
