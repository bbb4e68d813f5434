// muster.v1.ModelService: translates calls into commands and reads.
#ifndef MUSTER_SERVER_RPC_MODEL_SERVICE_H_
#define MUSTER_SERVER_RPC_MODEL_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "server/rpc/calls.h"

namespace muster {

// The context outlives the service. Thread-safe.
std::unique_ptr<grpc::Service> NewModelService(ServiceContext& services);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_MODEL_SERVICE_H_
