#include "server/rpc/server_service.h"

#include <utility>

#include "muster/v1/server.grpc.pb.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

class ServerServiceRpc final : public v1::ServerService::CallbackService {
 public:
  ServerServiceRpc(ServiceContext& services, ServerIdentity identity)
      : services_(services), identity_(std::move(identity)) {}

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override {
    return Read(services_, context, "GetServerInfo", request, response,
                [this](const Registry&, v1::GetServerInfoResponse& out) {
                  out.set_version(identity_.version);
                  out.set_commit(identity_.commit);
                  out.set_cluster_id(identity_.cluster_id);
                  return absl::OkStatus();
                });
  }

 private:
  ServiceContext& services_;
  const ServerIdentity identity_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewServerService(ServiceContext& services, ServerIdentity identity) {
  return std::make_unique<ServerServiceRpc>(services, std::move(identity));
}

}  // namespace muster
