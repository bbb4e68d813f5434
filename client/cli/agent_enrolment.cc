#include "client/cli/agent_enrolment.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/agent_log.h"
#include "client/cli/secret_text.h"
#include "client/cli/values.h"
#include "storage/base/backoff.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/tls/authority.h"
#include "storage/tls/pinned_authority.h"

namespace muster {
namespace {

constexpr absl::Duration kHandshakeTimeout = absl::Seconds(5);

std::string TimeText(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

// From the first of the servers that answers; one that is another's is not passed over.
absl::StatusOr<std::string> FetchAuthority(Invocation& invocation, const std::string& pin,
                                           absl::Duration timeout,
                                           const std::function<void(const std::string&)>& say) {
  Backoff backoff(invocation.random(), {});
  const absl::Duration end = invocation.clock().Monotonic() + timeout;
  bool said = false;
  while (true) {
    absl::Status last;
    for (const std::string& server : invocation.servers()) {
      absl::StatusOr<std::string> found = FetchPinnedAuthority(server, pin, kHandshakeTimeout);
      if (found.ok() || !absl::IsUnavailable(found.status())) return found;
      last = found.status();
    }
    const absl::Duration wait = backoff.Next();
    if (invocation.clock().Monotonic() + wait > end) return last;
    if (!said) say(std::string(last.message()));
    said = true;
    if (!SleepUnlessStopped(invocation.clock(), wait, invocation.stop())) {
      return absl::CancelledError("stopped while waiting for the server");
    }
  }
}

// What is to be believed from now on: what --tls-ca says, or else what the pin stands for.
absl::Status KeepAuthority(Invocation& invocation, const EnrolmentFlags& flags,
                           const NodeCertificate& certificate, absl::Duration timeout,
                           const std::function<void(const std::string&)>& say) {
  const TlsFiles given = invocation.security().files;
  if (!given.authority.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const TlsMaterial material,
                            ReadTlsFiles({.authority = given.authority}, invocation.clock().Now()));
    return certificate.KeepAuthority(material.authority_pem);
  }
  if (flags.ca.empty()) {
    return UsageError(
        "--join needs --ca, the pin of the server's authority that `muster tokens create` prints, "
        "so that the token goes to that server alone; or --tls-ca, the authority's file");
  }
  MUSTER_ASSIGN_OR_RETURN(const std::string pem,
                          FetchAuthority(invocation, flags.ca, timeout, say));
  return certificate.KeepAuthority(pem);
}

// Whether the stored certificate is of the authority that --ca stands for; a cluster may have been made anew.
bool IsOfPin(const NodeCertificate& certificate, const std::string& pin) {
  if (pin.empty()) return true;
  const absl::StatusOr<std::string> pem = certificate.Authority();
  return pem.ok() && AuthorityPin(*pem).value_or("") == pin;
}

ChannelSecurity SecurityOf(const Invocation& invocation, const AgentConnection& connection) {
  ChannelSecurity security = invocation.security();
  security.tls = true;
  security.files = connection.certificate->files();
  security.renewals = connection.renewals;
  return security;
}

absl::Status EnrolNow(Invocation& invocation, const EnrolmentFlags& flags,
                      AgentConnection& connection, absl::Duration timeout,
                      const std::function<void(const std::string&)>& say) {
  const NodeCertificate& certificate = *connection.certificate;
  MUSTER_ASSIGN_OR_RETURN(const std::string token, ReadSecretText("--join", flags.join));
  MUSTER_RETURN_IF_ERROR(KeepAuthority(invocation, flags, certificate, timeout, say));
  ChannelSecurity security = SecurityOf(invocation, connection);
  // There is none to show yet.
  security.files.certificate.clear();
  security.files.key.clear();
  MUSTER_ASSIGN_OR_RETURN(const auto client,
                          invocation.ConnectTo(invocation.servers(), security, timeout, say));
  MUSTER_RETURN_IF_ERROR(certificate.Enrol(*client, token, invocation.Call()));
  MUSTER_ASSIGN_OR_RETURN(connection.enrolled, certificate.Read());
  return absl::OkStatus();
}

absl::Status CheckFlags(const Invocation& invocation, const EnrolmentFlags& flags) {
  if (!flags.ca.empty() && !IsPin(flags.ca)) {
    return UsageError("--ca: a pin is sha256: and 64 hex digits, as `muster tokens create` prints");
  }
  if (!flags.join.empty() && !invocation.security().files.certificate.empty()) {
    return UsageError("--join gets a certificate; leave --tls-cert and --tls-key out");
  }
  return absl::OkStatus();
}

absl::Status Ended(const NodeCertificate& certificate, absl::Time until) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kNodeNotEnrolled,
      absl::StrCat("the certificate of ", certificate.node(), " ended at ", TimeText(until),
                   ", while no agent ran that could renew it: start the agent with --join and a "
                   "join token that `muster tokens create` makes"),
      {{"node", certificate.node()}, {"valid_until", TimeText(until)}});
}

}  // namespace

void AddEnrolmentFlags(CLI::App& command, EnrolmentFlags& flags) {
  command.add_option(
      "--join", flags.join,
      "Join token by which the node gets a certificate of its own, or @FILE that it is in; once it "
      "has one, it goes by that and renews it, and the token is not looked at");
  command.add_option("--ca", flags.ca,
                     "With --join: the pin of the server's authority, sha256:…, as musterd and "
                     "`muster tokens create` print it");
}

absl::StatusOr<AgentConnection> ConnectAgent(Invocation& invocation, const EnrolmentFlags& flags,
                                             const NodeFolder& folder, const std::string& node,
                                             absl::Duration timeout, bool dry_run,
                                             std::function<void(const std::string&)> say) {
  MUSTER_RETURN_IF_ERROR(CheckFlags(invocation, flags));
  AgentConnection connection;
  // What the options name goes before what was stored.
  const bool has_own = !invocation.security().files.certificate.empty();
  auto certificate = std::make_unique<NodeCertificate>(folder, node);
  std::optional<NodeCertificate::Life> life;
  if (!has_own) {
    MUSTER_ASSIGN_OR_RETURN(life, certificate->Read());
  }
  const bool ended = life.has_value() && life->until <= invocation.clock().Now();
  const bool good = life.has_value() && !ended && IsOfPin(*certificate, flags.ca);
  if (!good && (flags.join.empty() || dry_run)) {
    if (ended) return Ended(*certificate, life->until);
    MUSTER_ASSIGN_OR_RETURN(connection.client, invocation.Connect(timeout, std::move(say)));
    return connection;
  }
  connection.certificate = std::move(certificate);
  connection.renewals = std::make_shared<std::atomic<uint64_t>>(0);
  if (!good) {
    MUSTER_RETURN_IF_ERROR(EnrolNow(invocation, flags, connection, timeout, say));
  }
  MUSTER_ASSIGN_OR_RETURN(
      connection.client,
      invocation.ConnectTo(invocation.servers(), SecurityOf(invocation, connection), timeout,
                           std::move(say)));
  return connection;
}

std::unique_ptr<CertificateRenewer> StartRenewal(Invocation& invocation,
                                                 const AgentConnection& connection) {
  if (connection.certificate == nullptr) return nullptr;
  const std::string node = connection.certificate->node();
  if (connection.enrolled.has_value()) {
    LogCertificate("enrolled", node, connection.enrolled->until);
  }
  CertificateRenewer::Options options;
  options.renewals = connection.renewals;
  options.renewed = [node](const NodeCertificate::Life& life) {
    LogCertificate("renewed", node, life.until);
  };
  options.warn = LogWarning;
  return std::make_unique<CertificateRenewer>(*connection.certificate, *connection.client,
                                              invocation.clock(), invocation.random(),
                                              std::move(options));
}

}  // namespace muster
