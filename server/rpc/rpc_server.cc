#include "server/rpc/rpc_server.h"

#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.pb.h"
#include "server/rpc/assembly_service.h"
#include "server/rpc/event_service.h"
#include "server/rpc/model_service.h"
#include "server/rpc/node_service.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

// Below the clients' 20 s, so that their pings on a quiet connection are not taken for abuse.
constexpr int kMinPingIntervalMs = 5'000;
constexpr size_t kStoreReaders = 2;
constexpr size_t kStoreReadersQueueLimit = 1'024;
constexpr const char* kServices[] = {"muster.v1.ModelService", "muster.v1.NodeService",
                                     "muster.v1.AssemblyService", "muster.v1.EventService"};

class GrpcServer final : public RpcServer {
 public:
  GrpcServer(const RpcOptions& options, Clock& clock, Committer& committer, Feed& feed,
             LiveTables& live, MetadataStore& store, CallStats& stats)
      : clock_(clock),
        hub_(clock, feed, options.watches),
        store_readers_(kStoreReaders, kStoreReadersQueueLimit),
        context_{committer, feed, live, store, store_readers_, stats},
        models_(NewModelService(context_)),
        nodes_(NewNodeService(context_)),
        assemblies_(NewAssemblyService(context_, hub_)),
        events_(NewEventService(context_, hub_)) {}

  bool Start(const std::string& listen) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // Reflection describes what is linked, and the linker takes what is mentioned.
    grpc::health::v1::HealthCheckRequest::descriptor();
    grpc::channelz::experimental::InitChannelzService();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
    // Without this two servers can share a port, and each gets half of the calls.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kMinPingIntervalMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.SetMaxReceiveMessageSize(kMaxGrpcMessageBytes);
    builder.SetMaxSendMessageSize(kMaxGrpcMessageBytes);
    builder.RegisterService(models_.get());
    builder.RegisterService(nodes_.get());
    builder.RegisterService(assemblies_.get());
    builder.RegisterService(events_.get());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) return false;
    address_ = absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port);
    for (const char* service : kServices) {
      server_->GetHealthCheckService()->SetServingStatus(service, true);
    }
    return true;
  }

  std::string address() const override { return address_; }

  void Stop(absl::Duration grace) override {
    server_->GetHealthCheckService()->Shutdown();
    hub_.EndAll(MakeError(absl::StatusCode::kUnavailable, reasons::kShuttingDown,
                          "the server is shutting down: try again, or another server"));
    context_.live.read_places.Stop();
    server_->Shutdown(absl::ToChronoTime(clock_.Now() + grace));
  }

 private:
  Clock& clock_;
  WatchHub hub_;
  StoreReaders store_readers_;
  ServiceContext context_;
  std::unique_ptr<grpc::Service> models_;
  std::unique_ptr<grpc::Service> nodes_;
  std::unique_ptr<grpc::Service> assemblies_;
  std::unique_ptr<grpc::Service> events_;
  std::string address_;
  // Last, so that it goes first: nothing of the above is used after it.
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> StartRpcServer(const RpcOptions& options, Clock& clock,
                                                          Committer& committer, Feed& feed,
                                                          LiveTables& live, MetadataStore& store,
                                                          CallStats& stats) {
  auto server = std::make_unique<GrpcServer>(options, clock, committer, feed, live, store, stats);
  const std::string& listen = options.listen;
  if (!server->Start(listen)) {
    return MakeError(absl::StatusCode::kUnavailable, reasons::kListenFailed,
                     absl::StrCat("can't listen on ", listen,
                                  ": is the port in use by another process, or the address not "
                                  "this machine's? Choose another with --listen"),
                     {{"listen", listen}});
  }
  return server;
}

}  // namespace muster
