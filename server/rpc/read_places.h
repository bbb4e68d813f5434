// Read places, at bounded locations: the calls that ask for them, and the nodes that wait for one,
// as other answers show them.
#ifndef MUSTER_SERVER_RPC_READ_PLACES_H_
#define MUSTER_SERVER_RPC_READ_PLACES_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"
#include "server/registry/registry.h"
#include "server/rpc/calls.h"

namespace muster {

// Carries AcquireRead out: the call is parked in the read place table and holds no thread
// meanwhile.
grpc::ServerUnaryReactor* AcquireReadPlace(ServiceContext& services,
                                           grpc::CallbackServerContext* context,
                                           const v1::AcquireReadRequest& request,
                                           v1::AcquireReadResponse* response);

// Carries ReleaseRead out. Under the shared lock, as all that follow.
absl::Status ReleaseReadPlace(const Registry& registry, ReadPlaceTable& read_places,
                              const v1::ReleaseReadRequest& request);

// Adds to an assembly that is not READY which nodes wait for a place, and which shards have a
// suspect location.
void ShowOrigins(const Registry& registry, const Assembly& assembly, v1::GetAssemblyResponse& out);

// Adds where the replicas' nodes wait for a place.
void ShowWaiting(const Registry& registry, VersionUid version, v1::GetShardStatusResponse& out);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_READ_PLACES_H_
