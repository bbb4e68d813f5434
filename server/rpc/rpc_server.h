// The gRPC server: our services, health, reflection and channelz on one listening address.
#ifndef MUSTER_SERVER_RPC_RPC_SERVER_H_
#define MUSTER_SERVER_RPC_RPC_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/audit/audit_log.h"
#include "server/commit/committer.h"
#include "server/keys/key_wrapper.h"
#include "server/registry/live_tables.h"
#include "server/rpc/call_stats.h"
#include "server/rpc/certificate_issuer.h"
#include "server/rpc/gate.h"
#include "server/rpc/listener.h"
#include "server/rpc/server_service.h"
#include "server/rpc/watch_hub.h"
#include "server/watch/feed.h"
#include "storage/base/clock.h"
#include "storage/metadata/metadata_store.h"

namespace grpc {
class ServerCredentials;
}  // namespace grpc

namespace muster {

// Neither encrypted nor authenticated.
std::shared_ptr<grpc::ServerCredentials> PlaintextCredentials();

// Thread-safe.
class RpcServer {
 public:
  virtual ~RpcServer() = default;

  // "host:port" with the port that was bound.
  virtual std::string address() const = 0;

  // What health says of all services.
  virtual void SetServing(bool serving) = 0;

  // Has the gate's new policy be in force for the watches that are open, too.
  virtual void AskWatchesAgain() = 0;

  // Refuses what is new, ends the watches with UNAVAILABLE SHUTTING_DOWN, and waits up to `grace`
  // for calls that are under way. Once.
  virtual void Stop(absl::Duration grace) = 0;
};

struct RpcOptions {
  // What GetServerInfo says.
  ServerIdentity identity;
  Listener::Options listener;
  // Of all connections but those that the server makes to itself.
  std::shared_ptr<grpc::ServerCredentials> credentials;
  // What calls and connections may take in gRPC's buffers; beyond it, it reads more slowly and
  // then ends some.
  size_t memory_bytes = size_t{1} << 30;
  // A connection that is older is closed, once its calls have ended or another while has passed;
  // clients make a new one. Infinite: never.
  absl::Duration connection_age = absl::InfiniteDuration();
  WatchHub::Options watches;
  // Tell the audit log of reads, too.
  bool audit_reads = false;
  // Wraps content keys; outlives the server. Null: it makes and gives none.
  KeyWrapper* keys = nullptr;
  // Outlives the server; null: certificates come from elsewhere.
  const CertificateIssuer* issuer = nullptr;
};

// Serves. All arguments but the options outlive the server; `audit` may be null. kUnavailable when the address can't be
// bound.
absl::StatusOr<std::unique_ptr<RpcServer>> StartRpcServer(const RpcOptions& options, Clock& clock,
                                                          Committer& committer, Feed& feed,
                                                          LiveTables& live, MetadataStore& store,
                                                          CallStats& stats, Gate& gate,
                                                          AuditLog* audit);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_RPC_SERVER_H_
