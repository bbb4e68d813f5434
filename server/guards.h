// What decides about calls while the server runs: certificates, the policy, the audit log, the master keys, the authority.
#ifndef MUSTER_SERVER_GUARDS_H_
#define MUSTER_SERVER_GUARDS_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/audit/audit_log.h"
#include "server/keys/key_wrapper.h"
#include "server/policy_file.h"
#include "server/rpc/certificate_issuer.h"
#include "server/rpc/gate.h"
#include "server/rpc/rpc_server.h"
#include "server/rpc/server_tls.h"
#include "server/secure_start.h"
#include "server/server_options.h"
#include "storage/base/clock.h"
#include "storage/metadata/store_marker.h"

namespace muster {

// Each is null where it was not asked for, but for the gate.
struct Guards {
  // Null: certificates and policy are not the server's own.
  std::unique_ptr<SecureStart> secure;
  // Null: calls are not encrypted.
  std::unique_ptr<ServerTls> tls;
  // Null: agents get their certificates from elsewhere.
  std::unique_ptr<CertificateIssuer> issuer;
  // Null: no content keys are made or given.
  std::unique_ptr<KeyWrapper> keys;
  std::unique_ptr<Gate> gate;
  // Null: nothing is told.
  std::unique_ptr<AuditLog> audit;
  // What has to hear of another policy; null while nothing serves.
  std::atomic<RpcServer*> server = nullptr;
  // Null: no policy of the operator's. Goes first: it calls the gate and the server.
  std::unique_ptr<PolicyFile> policy;

  // Looks at the files of certificates and policy from now on.
  void Start();
  // Before the server goes: nothing calls it afterwards.
  void StopCalling();
};

struct GuardsError {
  // A phrase: "the policy can't be used".
  const char* what = "";
  absl::Status status;
};

// Opens what the options ask for, and logs what was loaded; --secure names its files in them. The clock and the guards
// outlive what is opened.
GuardsError OpenGuards(ServerOptions& options, const StoreIdentity& identity, Clock& clock,
                       Guards& guards);

}  // namespace muster

#endif  // MUSTER_SERVER_GUARDS_H_
