// muster.v1.EventService: reads of the event log, and the watch of it.
#ifndef MUSTER_SERVER_RPC_EVENT_SERVICE_H_
#define MUSTER_SERVER_RPC_EVENT_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "server/rpc/calls.h"
#include "server/rpc/watch_hub.h"

namespace muster {

// The context and the hub outlive the service. Thread-safe.
std::unique_ptr<grpc::Service> NewEventService(ServiceContext& services, WatchHub& hub);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_EVENT_SERVICE_H_
