#include "server/guards.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/keys/master_key_file.h"
#include "storage/base/status_macros.h"
#include "storage/tls/tls_files.h"

namespace muster {
namespace {

void LogSecureFilesMade(SecureStart& secure) {
  for (const std::string& path : secure.TakeMade()) {
    spdlog::info("secure=made file=\"{}\"", absl::CHexEscape(path));
  }
}

void LookAtSecureFiles(SecureStart& secure) {
  if (const absl::Status looked = secure.Look(); !looked.ok()) {
    spdlog::error("secure=failed message=\"{}\"", absl::CHexEscape(looked.message()));
  }
  LogSecureFilesMade(secure);
}

// Null without --secure; with it `options` name the files that there are then.
absl::StatusOr<std::unique_ptr<SecureStart>> OpenSecure(ServerOptions& options,
                                                        const StoreIdentity& identity) {
  if (!options.secure) return nullptr;
  SecureStart::Options start{options.data_dir, identity.cluster_id, NamesOfThisMachine()};
  start.names.insert(start.names.end(), options.secure_names.begin(), options.secure_names.end());
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<SecureStart> secure,
                          SecureStart::Open(start, SystemClock()));
  options.tls = secure->files();
  // One of the operator's own goes before it.
  if (options.policy_file.empty()) options.policy_file = secure->policy_file();
  LogSecureFilesMade(*secure);
  return secure;
}

// Null where calls are not encrypted.
absl::StatusOr<std::unique_ptr<ServerTls>> OpenTls(const ServerOptions& options, Clock& clock,
                                                   SecureStart* secure) {
  if (options.tls.certificate.empty()) return nullptr;
  ServerTls::Options tls;
  tls.files = options.tls;
  tls.client_auth = options.client_auth;
  tls.directory = absl::StrCat(options.data_dir, "/tls");
  ServerTls::Observer observer;
  observer.loaded = [](const TlsMaterial& material) {
    spdlog::info("tls=loaded subject=\"{}\" serial={} valid_until={}",
                 absl::CHexEscape(material.subject), material.serial,
                 absl::FormatTime(absl::RFC3339_sec, material.valid_until, absl::UTCTimeZone()));
  };
  observer.refused = [](const absl::Status& status) {
    spdlog::error("tls=refused message=\"{}; the certificate before stays in force\"",
                  absl::CHexEscape(status.message()));
  };
  if (secure != nullptr) observer.looking = [secure] { LookAtSecureFiles(*secure); };
  observer.expiring = [secure](const TlsMaterial& material, absl::Duration left) {
    const bool over = left <= absl::ZeroDuration();
    // Those of --secure are renewed then, and `secure=failed` says why where they are not.
    if (secure != nullptr && !over) return;
    spdlog::warn("tls={} subject=\"{}\" serial={} hours_left={:.1f} message=\"{}\"",
                 over ? "expired" : "expiring", absl::CHexEscape(material.subject), material.serial,
                 absl::ToDoubleHours(left),
                 over ? "clients refuse the server until there is a new certificate"
                      : "less than a third of the certificate's time is left: renew it");
  };
  return ServerTls::Open(tls, clock, std::move(observer));
}

// Null without --master-key.
absl::StatusOr<std::unique_ptr<KeyWrapper>> OpenMasterKeys(const ServerOptions& options) {
  if (options.master_key.empty()) return nullptr;
  MUSTER_ASSIGN_OR_RETURN(auto keys, OpenMasterKeyFile(options.master_key));
  spdlog::info("master_keys=loaded current={} count={}", keys->current_id(), keys->ids().size());
  return keys;
}

// Null where agents get their certificates from elsewhere: without TLS, without an authority, or with --enroll off.
absl::StatusOr<std::unique_ptr<CertificateIssuer>> OpenIssuer(const ServerOptions& options,
                                                              const std::string& cluster_id,
                                                              Clock& clock) {
  const std::string folder = absl::StrCat(options.data_dir, "/tls/authority");
  TlsFiles files;
  files.certificate = absl::StrCat(folder, "/ca.crt");
  files.key = absl::StrCat(folder, "/ca.key");
  if (!options.enroll || options.tls.certificate.empty()) return nullptr;
  const absl::StatusOr<TlsMaterial> authority = ReadTlsFiles(files, clock.Now());
  if (absl::IsNotFound(authority.status())) return nullptr;
  MUSTER_RETURN_IF_ERROR(authority.status());
  CertificateIssuer::Options issuer;
  issuer.authority = {authority->certificate_pem, authority->key_pem};
  issuer.cluster_id = cluster_id;
  issuer.life = absl::Seconds(options.node_certificate_life_s);
  MUSTER_ASSIGN_OR_RETURN(auto made, CertificateIssuer::Make(std::move(issuer), clock));
  spdlog::info("enrolment=on authority={}", made->authority_pin());
  return made;
}

void LogPolicy(const Policy& policy) {
  spdlog::info("policy=loaded digest={}", policy.digest().substr(0, 16));
}

absl::Status OpenGate(const ServerOptions& options, const std::string& cluster, Clock& clock,
                      Guards& guards) {
  MUSTER_ASSIGN_OR_RETURN(guards.gate, Gate::Make({guards.tls != nullptr, cluster}, clock));
  if (options.policy_file.empty()) return absl::OkStatus();
  PolicyFile::Observer observer;
  observer.changed = [&guards](std::shared_ptr<const Policy> policy) {
    LogPolicy(*policy);
    guards.gate->SetPolicy(std::move(policy));
    if (RpcServer* server = guards.server; server != nullptr) server->AskWatchesAgain();
  };
  observer.refused = [](const absl::Status& status) {
    spdlog::error("policy=refused message=\"{}; the policy before stays in force\"",
                  absl::CHexEscape(status.message()));
  };
  guards.policy = std::make_unique<PolicyFile>(options.policy_file, clock, std::move(observer));
  MUSTER_ASSIGN_OR_RETURN(std::shared_ptr<const Policy> policy, guards.policy->Load());
  LogPolicy(*policy);
  guards.gate->SetPolicy(std::move(policy));
  return absl::OkStatus();
}

absl::Status OpenAudit(const ServerOptions& options, Clock& clock, Guards& guards) {
  if (options.audit_file.empty()) return absl::OkStatus();
  AuditLog::Options audit;
  audit.path = options.audit_file;
  audit.fail_open = options.audit_fail_open;
  MUSTER_ASSIGN_OR_RETURN(
      guards.audit, AuditLog::Open(audit, clock, [&options](const absl::Status& status) {
        if (status.ok()) {
          spdlog::warn("audit=works");
          return;
        }
        spdlog::error("audit=failed message=\"{}; {}\"", absl::CHexEscape(status.message()),
                      options.audit_fail_open ? "mutations are carried out untold"
                                              : "mutations are refused until it can be written");
      }));
  return absl::OkStatus();
}

// Takes what was opened over.
template <typename T>
absl::Status Take(absl::StatusOr<std::unique_ptr<T>> opened, std::unique_ptr<T>& into) {
  if (opened.ok()) into = *std::move(opened);
  return opened.status();
}

}  // namespace

void Guards::Start() {
  if (tls != nullptr) tls->Start();
  if (policy != nullptr) policy->Start();
}

void Guards::StopCalling() { policy.reset(); }

GuardsError OpenGuards(ServerOptions& options, const StoreIdentity& identity, Clock& clock,
                       Guards& guards) {
  absl::Status status = Take(OpenSecure(options, identity), guards.secure);
  if (!status.ok()) return {"what --secure needs can't be made", status};
  status = Take(OpenTls(options, clock, guards.secure.get()), guards.tls);
  if (!status.ok()) return {"the certificate can't be used", status};
  status = Take(OpenIssuer(options, identity.cluster_id, clock), guards.issuer);
  if (!status.ok())
    return {"the authority for agents can't be used; --enroll off does without", status};
  status = OpenGate(options, identity.cluster_id, clock, guards);
  if (!status.ok()) return {"the policy can't be used", status};
  status = OpenAudit(options, clock, guards);
  if (!status.ok()) return {"the audit log can't be used", status};
  status = Take(OpenMasterKeys(options), guards.keys);
  if (!status.ok()) return {"the master keys can't be used", status};
  return {};
}

}  // namespace muster
