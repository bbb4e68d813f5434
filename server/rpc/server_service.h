// muster.v1.ServerService: which server this is.
#ifndef MUSTER_SERVER_RPC_SERVER_SERVICE_H_
#define MUSTER_SERVER_RPC_SERVER_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>
#include <string>

#include "server/rpc/calls.h"

namespace muster {

struct ServerIdentity {
  // "0.1.0".
  std::string version;
  // "" where it is not known.
  std::string commit;
  std::string cluster_id;
};

// The context outlives the service. Thread-safe.
std::unique_ptr<grpc::Service> NewServerService(ServiceContext& services, ServerIdentity identity);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_SERVER_SERVICE_H_
