// muster.v1.NodeService: translates calls into commands and reads.
#ifndef MUSTER_SERVER_RPC_NODE_SERVICE_H_
#define MUSTER_SERVER_RPC_NODE_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "server/rpc/calls.h"

namespace muster {

// The context outlives the service. Thread-safe.
std::unique_ptr<grpc::Service> NewNodeService(ServiceContext& services);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_NODE_SERVICE_H_
