#include "server/rpc/rpc_server.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "grpc/health/v1/health.pb.h"
#include "server/rpc/access_service.h"
#include "server/rpc/assembly_service.h"
#include "server/rpc/enrolment_service.h"
#include "server/rpc/event_service.h"
#include "server/rpc/key_service.h"
#include "server/rpc/model_service.h"
#include "server/rpc/node_service.h"
#include "server/rpc/queue_probe.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Below the clients' 20 s, so that their pings on a quiet connection are not taken for abuse.
constexpr int kMinPingIntervalMs = 5'000;
// The other way round: finds peers that went without a word, and gives their connections back.
constexpr int kPingIntervalMs = 60'000;
constexpr int kPingTimeoutMs = 20'000;
// From the first byte to the client's settings.
constexpr int kHandshakeMs = 20'000;
// A connection without a call; an agent has a watch, and others make a new one when they need it.
constexpr int kIdleMs = 30 * 60'000;
constexpr absl::Duration kAgeGraceMax = absl::Seconds(30);
// Of one connection. What is beyond waits at the client.
constexpr int kStreamsMax = 4'096;
constexpr absl::Duration kLateLineInterval = absl::Seconds(10);
// Reflection and channelz are the only services that take a thread a call.
constexpr int kBlockingCallsMax = 8;
constexpr size_t kStoreReaders = 2;
constexpr size_t kStoreReadersQueueLimit = 1'024;
constexpr size_t kPlanners = 1;
constexpr size_t kPlannersQueueLimit = 64;
// One, so that who enrols takes at most one core.
constexpr size_t kSigners = 1;
constexpr size_t kSignersQueueLimit = 1'024;
constexpr const char* kServices[] = {"muster.v1.ModelService",    "muster.v1.NodeService",
                                     "muster.v1.AssemblyService", "muster.v1.EventService",
                                     "muster.v1.AccessService",   "muster.v1.ServerService",
                                     "muster.v1.KeyService",      "muster.v1.EnrolmentService"};

class GrpcServer final : public RpcServer {
 public:
  GrpcServer(const RpcOptions& options, Clock& clock, Committer& committer, Feed& feed,
             LiveTables& live, MetadataStore& store, CallStats& stats, Gate& gate, AuditLog* audit)
      : clock_(clock),
        hub_(clock, feed, options.watches),
        store_readers_("reads of the store", kStoreReaders, kStoreReadersQueueLimit),
        planners_("plans that are only shown", kPlanners, kPlannersQueueLimit),
        signers_("requests for certificates", kSigners, kSignersQueueLimit),
        waiting_reads_({}),
        context_{committer,      feed,  live, store, store_readers_,     planners_,
                 waiting_reads_, stats, gate, audit, options.audit_reads},
        models_(NewModelService(context_)),
        nodes_(NewNodeService(context_)),
        assemblies_(NewAssemblyService(context_, hub_)),
        events_(NewEventService(context_, hub_)),
        access_(NewAccessService(context_)),
        about_(NewServerService(context_, options.identity)),
        keys_(NewKeyService(context_, options.keys)),
        enrolment_(NewEnrolmentService(context_, options.issuer, signers_, clock)) {}

  absl::Status Start(const RpcOptions& options) {
    MUSTER_ASSIGN_OR_RETURN(listener_, Listener::Open(options.listener, clock_));
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // Reflection describes what is linked, and the linker takes what is mentioned.
    grpc::health::v1::HealthCheckRequest::descriptor();
    grpc::channelz::experimental::InitChannelzService();
    // Without TLS it would end the process, and everybody may ask for everything anyway.
    if (context_.gate.tls()) {
      options.credentials->SetAuthMetadataProcessor(context_.gate.ProcessorOfOtherServices());
    }
    grpc::ServerBuilder builder;
    connections_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        options.credentials);
    own_connections_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        grpc::InsecureServerCredentials());
    SetLimits(options, builder);
    builder.RegisterService(models_.get());
    builder.RegisterService(nodes_.get());
    builder.RegisterService(assemblies_.get());
    builder.RegisterService(events_.get());
    builder.RegisterService(access_.get());
    builder.RegisterService(about_.get());
    builder.RegisterService(keys_.get());
    builder.RegisterService(enrolment_.get());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return absl::InternalError("gRPC can't start its server");
    for (const char* service : kServices) {
      server_->GetHealthCheckService()->SetServingStatus(service, true);
    }
    listener_->Start([this](UniqueFd fd) { Take(*connections_, std::move(fd)); }, LogRefused);
    probe_ = std::make_unique<QueueProbe>(
        clock_, QueueProbe::Options(), [this] { return ConnectToItself(); },
        [this](absl::Duration waiting) { NoteLate(waiting); });
    return absl::OkStatus();
  }

  std::string address() const override { return listener_->address(); }

  void SetServing(bool serving) override {
    server_->GetHealthCheckService()->SetServingStatus(serving);
  }

  void AskWatchesAgain() override { hub_.ScheduleAll(); }

  void Stop(absl::Duration grace) override {
    probe_.reset();
    listener_->Stop();
    server_->GetHealthCheckService()->Shutdown();
    hub_.EndAll(MakeError(absl::StatusCode::kUnavailable, reasons::kShuttingDown,
                          "the server is shutting down: try again, or another server"));
    context_.live.read_places.Stop();
    server_->Shutdown(absl::ToChronoTime(clock_.Now() + grace));
  }

 private:
  static void SetLimits(const RpcOptions& options, grpc::ServerBuilder& builder) {
    builder.SetMaxReceiveMessageSize(kMaxGrpcMessageBytes);
    builder.SetMaxSendMessageSize(kMaxGrpcMessageBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsMax);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
    if (options.connection_age != absl::InfiniteDuration()) {
      const absl::Duration grace = std::min(options.connection_age, kAgeGraceMax);
      builder.AddChannelArgument(
          GRPC_ARG_MAX_CONNECTION_AGE_MS,
          static_cast<int>(absl::ToInt64Milliseconds(options.connection_age)));
      builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                                 static_cast<int>(absl::ToInt64Milliseconds(grace)));
    }
    // Pings of clients, and our own; without the third a quiet connection would get two of them.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kMinPingIntervalMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingIntervalMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
    // One queue, or each core would have threads that wait for these two services.
    builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
    grpc::ResourceQuota quota("musterd");
    quota.Resize(options.memory_bytes);
    quota.SetMaxThreads(kBlockingCallsMax);
    builder.SetResourceQuota(quota);
  }

  static void Take(grpc::experimental::ExternalConnectionAcceptor& acceptor, UniqueFd fd) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = fd.Release();
    acceptor.HandleNewConnection(&connection);
  }

  // By a pair of sockets: no certificate, and nobody else can come this way. Where there is none to be had the channel
  // is one that fails.
  std::shared_ptr<grpc::Channel> ConnectToItself() {
    int ends[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
      return grpc::CreateChannel("unix:/nowhere", grpc::InsecureChannelCredentials());
    }
    Take(*own_connections_, UniqueFd(ends[0]));
    return grpc::CreateInsecureChannelFromFd("musterd", ends[1]);
  }

  void NoteLate(absl::Duration waiting) {
    context_.live.leases.NoteLateCalls();
    if (clock_.Monotonic() < next_late_line_) return;
    next_late_line_ = clock_.Monotonic() + kLateLineInterval;
    spdlog::warn(
        "calls=late waiting_ms={:.0f} message=\"the server is overloaded: leases are extended, as "
        "heartbeats may wait, too\"",
        absl::ToDoubleMilliseconds(waiting));
  }

  static void LogRefused(const Listener::Counts& counts) {
    spdlog::warn(
        "connections=refused refused={} taken={} dropped_silent={} reason=\"no room for "
        "more: raise the limit of open files (ulimit -n), or --max-connections\"",
        counts.refused, counts.taken, counts.dropped);
  }

  Clock& clock_;
  WatchHub hub_;
  WorkPool store_readers_;
  WorkPool planners_;
  WorkPool signers_;
  WaitingReads waiting_reads_;
  ServiceContext context_;
  std::unique_ptr<grpc::Service> models_;
  std::unique_ptr<grpc::Service> nodes_;
  std::unique_ptr<grpc::Service> assemblies_;
  std::unique_ptr<grpc::Service> events_;
  std::unique_ptr<grpc::Service> access_;
  std::unique_ptr<grpc::Service> about_;
  std::unique_ptr<grpc::Service> keys_;
  std::unique_ptr<grpc::Service> enrolment_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> own_connections_;
  // Goes before the above, none of which is used after it.
  std::unique_ptr<grpc::Server> server_;
  // Goes before it: it hands connections to the server.
  std::unique_ptr<Listener> listener_;
  // Of the probe's thread.
  absl::Duration next_late_line_;
  // Goes first: it calls the server.
  std::unique_ptr<QueueProbe> probe_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> PlaintextCredentials() {
  return grpc::InsecureServerCredentials();
}

absl::StatusOr<std::unique_ptr<RpcServer>> StartRpcServer(const RpcOptions& options, Clock& clock,
                                                          Committer& committer, Feed& feed,
                                                          LiveTables& live, MetadataStore& store,
                                                          CallStats& stats, Gate& gate,
                                                          AuditLog* audit) {
  auto server = std::make_unique<GrpcServer>(options, clock, committer, feed, live, store, stats,
                                             gate, audit);
  MUSTER_RETURN_IF_ERROR(server->Start(options));
  return server;
}

}  // namespace muster
