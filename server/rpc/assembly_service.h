// muster.v1.AssemblyService: translates calls into commands and reads.
#ifndef MUSTER_SERVER_RPC_ASSEMBLY_SERVICE_H_
#define MUSTER_SERVER_RPC_ASSEMBLY_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "server/rpc/calls.h"
#include "server/rpc/watch_hub.h"

namespace muster {

// The context and the hub outlive the service. Thread-safe.
std::unique_ptr<grpc::Service> NewAssemblyService(ServiceContext& services, WatchHub& hub);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_ASSEMBLY_SERVICE_H_
