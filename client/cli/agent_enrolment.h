// How an agent gets into a secured cluster: by the certificate that it has, or by a join token.
#ifndef MUSTER_CLIENT_CLI_AGENT_ENROLMENT_H_
#define MUSTER_CLIENT_CLI_AGENT_ENROLMENT_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/agent/certificate_renewer.h"
#include "client/agent/node_certificate.h"
#include "client/cli/command.h"

namespace CLI {
class App;
}

namespace muster {

struct EnrolmentFlags {
  // The token, or "@FILE".
  std::string join;
  // The authority's pin.
  std::string ca;
};

void AddEnrolmentFlags(CLI::App& command, EnrolmentFlags& flags);

// An agent's way to its server.
struct AgentConnection {
  std::unique_ptr<Client> client;
  // The node's own certificate, where the connection shows one that was enrolled.
  std::unique_ptr<NodeCertificate> certificate;
  // Set where this process has enrolled it.
  std::optional<NodeCertificate::Life> enrolled;
  // See ChannelSecurity.
  std::shared_ptr<std::atomic<uint64_t>> renewals;
};

// Connects with the certificate in the node's folder; or enrols first, where there is none, or it has ended, or its
// authority is not the one of --ca, and a join token is given. Without either it connects as the options of all commands
// say. Waits up to `timeout` for a server to enrol with. `say` gets lines about a server that is waited for. With
// `dry_run` nobody is enrolled.
absl::StatusOr<AgentConnection> ConnectAgent(Invocation& invocation, const EnrolmentFlags& flags,
                                             const NodeFolder& folder, const std::string& node,
                                             absl::Duration timeout, bool dry_run,
                                             std::function<void(const std::string&)> say);

// Renews the certificate from now on, and logs it; null where there is none. The connection outlives it.
std::unique_ptr<CertificateRenewer> StartRenewal(Invocation& invocation,
                                                 const AgentConnection& connection);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_AGENT_ENROLMENT_H_
