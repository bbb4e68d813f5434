#include "server/rpc/gate.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/server_context.h>

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/status_to_grpc.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/tls/peer_certificate.h"

namespace muster {
namespace {

constexpr char kAuthorization[] = "authorization";
constexpr char kPath[] = ":path";
// About 1.5 KiB each.
constexpr size_t kCertificatesKept = 32'768;

constexpr char kBuiltIn[] = R"({"grants": [
  {"who": "user/*", "role": "admin", "on": ["**"]},
  {"who": "node/*", "role": "node", "on": ["assemblies/**"]}]})";

absl::string_view View(grpc::string_ref text) { return {text.data(), text.size()}; }

template <typename Metadata>
std::vector<absl::string_view> AuthorizationIn(const Metadata& metadata) {
  std::vector<absl::string_view> values;
  const auto [begin, end] = metadata.equal_range(kAuthorization);
  for (auto value = begin; value != end; ++value) values.push_back(View(value->second));
  return values;
}

// Nobody is a member of anything. For questions that are not about assemblies.
class NoMembers final : public MembershipView {
 public:
  std::string VersionOf(absl::string_view) const override { return ""; }
  bool IsMember(absl::string_view, absl::string_view) const override { return false; }
  bool NeedsVersion(absl::string_view, absl::string_view) const override { return false; }
};

}  // namespace

std::string RequestIdOf(const google::protobuf::Message& request) {
  const auto* field = request.GetDescriptor()->FindFieldByName("request_id");
  if (field == nullptr || field->is_repeated() ||
      field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING) {
    return "";
  }
  return request.GetReflection()->GetString(request, field).substr(0, kMaxIdBytes);
}

// Runs before each call, on gRPC's threads, and never waits.
class Gate::OtherServices final : public grpc::AuthMetadataProcessor {
 public:
  explicit OtherServices(Gate& gate) : gate_(gate) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* connection,
                       OutputMetadata*, OutputMetadata*) override {
    const auto path = metadata.find(kPath);
    // Nothing comes without one; who could not be told apart is treated as one who asks for the most.
    const absl::string_view method = path == metadata.end() ? "" : View(path->second);
    if (absl::StartsWith(method, "/muster.v1.")) return grpc::Status::OK;
    const ServiceAccess access = AccessOfService(method);
    if (access == ServiceAccess::kEverybody) return grpc::Status::OK;
    const auto admitted = gate_.AdmitBy(connection, AuthorizationIn(metadata));
    if (!admitted.ok()) return StatusToGrpc(admitted.status());
    const Caller& caller = (*admitted)->caller;
    if (access == ServiceAccess::kIdentified &&
        caller.identity().kind != Identity::Kind::kAnonymous) {
      return grpc::Status::OK;
    }
    const Decision decision = caller.Allows(Verb::kAdmin, Scope::kEverywhere, "", NoMembers());
    return decision.allowed ? grpc::Status::OK
                            : StatusToGrpc(caller.Denial(decision, Verb::kAdmin, ""));
  }

 private:
  Gate& gate_;
};

absl::string_view Gate::BuiltInPolicy() { return kBuiltIn; }

absl::StatusOr<std::unique_ptr<Gate>> Gate::Make(const Options& options, Clock& clock) {
  MUSTER_ASSIGN_OR_RETURN(MethodTable table, MethodTable::Make(MethodLines(), ItemLines()));
  MUSTER_ASSIGN_OR_RETURN(std::shared_ptr<const Policy> policy, Policy::Parse(kBuiltIn));
  auto gate = absl::WrapUnique(new Gate(options, clock, std::move(table)));
  gate->SetPolicy(std::move(policy));
  return gate;
}

Gate::Gate(const Options& options, Clock& clock, MethodTable table)
    : options_(options),
      clock_(clock),
      table_(std::move(table)),
      local_(std::make_shared<Admitted>(Admitted{
          *Caller::Admit(Policy::Empty(), Identity::Local(), clock.Now()), std::nullopt})) {}

void Gate::SetPolicy(std::shared_ptr<const Policy> policy) {
  MutexLock lock(mutex_);
  policy_ = std::move(policy);
  certificates_.clear();
  ++policy_number_;
}

std::shared_ptr<const Policy> Gate::policy() const {
  MutexLock lock(mutex_);
  return policy_;
}

absl::StatusOr<AdmittedPtr> Gate::Admit(const grpc::ServerContextBase& context) {
  if (!options_.tls) return local_;
  return AdmitBy(context.auth_context().get(), AuthorizationIn(context.client_metadata()));
}

absl::StatusOr<AdmittedPtr> Gate::AdmitBy(const grpc::AuthContext* connection,
                                          absl::Span<const absl::string_view> authorization) {
  if (authorization.empty() && connection != nullptr) {
    const std::vector<grpc::string_ref> shown =
        connection->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
    if (!shown.empty()) return AdmitCertificate(View(shown.front()));
  }
  std::shared_ptr<const Policy> policy;
  uint64_t number = 0;
  {
    MutexLock lock(mutex_);
    policy = policy_;
    number = policy_number_;
  }
  Identity identity;
  if (!authorization.empty()) {
    MUSTER_ASSIGN_OR_RETURN(identity, policy->IdentityOfToken(authorization, clock_.Now()));
  }
  MUSTER_ASSIGN_OR_RETURN(Caller caller,
                          Caller::Admit(std::move(policy), std::move(identity), clock_.Now()));
  return std::make_shared<Admitted>(
      Admitted{std::move(caller), std::nullopt, absl::InfiniteFuture(), number});
}

absl::StatusOr<AdmittedPtr> Gate::AdmitCertificate(absl::string_view pem) {
  std::shared_ptr<const Policy> policy;
  uint64_t number = 0;
  {
    MutexLock lock(mutex_);
    policy = policy_;
    number = policy_number_;
    const auto found = certificates_.find(pem);
    if (found != certificates_.end() && !IsStale(*found->second)) return found->second;
  }
  MUSTER_ASSIGN_OR_RETURN(PeerCertificate peer, ReadPeerCertificate(pem));
  CertificateNames names{std::move(peer.uris), std::move(peer.dns), std::move(peer.common_name),
                         std::move(peer.serial)};
  MUSTER_ASSIGN_OR_RETURN(AdmittedPtr admitted,
                          AdmitNames(std::move(names), peer.valid_until, policy, number));
  MutexLock lock(mutex_);
  if (number != policy_number_) return admitted;
  if (certificates_.size() >= kCertificatesKept) certificates_.clear();
  certificates_[pem] = admitted;
  return admitted;
}

absl::StatusOr<AdmittedPtr> Gate::AdmitNames(CertificateNames names, absl::Time expires,
                                             const std::shared_ptr<const Policy>& policy,
                                             uint64_t number) const {
  MUSTER_ASSIGN_OR_RETURN(Identity identity,
                          policy->IdentityOfCertificate(names, options_.cluster));
  identity.expires = expires;
  MUSTER_ASSIGN_OR_RETURN(Caller caller, Caller::Admit(policy, std::move(identity), clock_.Now()));
  return std::make_shared<Admitted>(Admitted{std::move(caller), std::move(names), expires, number});
}

bool Gate::HasExpired(const Admitted& admitted) const {
  return clock_.Now() >= admitted.caller.identity().expires;
}

bool Gate::IsStale(const Admitted& admitted) const {
  if (admitted.is_local()) return false;
  return admitted.policy != policy_number_ || HasExpired(admitted);
}

absl::StatusOr<AdmittedPtr> Gate::AdmitAgain(const AdmittedPtr& admitted) {
  if (!IsStale(*admitted)) return admitted;
  std::shared_ptr<const Policy> policy;
  uint64_t number = 0;
  {
    MutexLock lock(mutex_);
    policy = policy_;
    number = policy_number_;
  }
  if (admitted->certificate.has_value()) {
    return AdmitNames(*admitted->certificate, admitted->certificate_expires, policy, number);
  }
  MUSTER_ASSIGN_OR_RETURN(
      Caller caller, Caller::Admit(std::move(policy), admitted->caller.identity(), clock_.Now()));
  return std::make_shared<Admitted>(
      Admitted{std::move(caller), std::nullopt, absl::InfiniteFuture(), number});
}

CheckedCall Gate::Check(const Admitted& admitted, const google::protobuf::Message& request,
                        const MembershipView& members) const {
  const CallDecision call = table_.Authorise(admitted.caller, request, members);
  if (call.unknown) {
    return {absl::InternalError(
                absl::StrCat("no rule says who may send a ", request.GetDescriptor()->full_name())),
            call};
  }
  CheckedCall checked{absl::OkStatus(), call};
  if (!call.allowed)
    checked.status = admitted.caller.Denial(call.decision, call.verb, call.resource());
  return checked;
}

absl::Status Gate::CheckVersion(const Admitted& admitted, absl::string_view version,
                                const MembershipView& members) const {
  const Decision decision = admitted.caller.Allows(Verb::kRead, version, members);
  return decision.allowed ? absl::OkStatus()
                          : admitted.caller.Denial(decision, Verb::kRead, version);
}

absl::Status Gate::Told(const Admitted& admitted, const absl::Status& status) const {
  if (status.ok() || admitted.is_local()) return status;
  if (ReasonOf(status) != reasons::kVersionInUse) return status;
  if (admitted.caller.Allows(Verb::kRead, Scope::kEverywhere, "assemblies/", NoMembers()).allowed) {
    return status;
  }
  const ErrorDetail detail = DetailOf(status);
  const auto name = detail.metadata.find("name");
  const std::string version = name == detail.metadata.end() ? "the model version" : name->second;
  return MakeError(status.code(), reasons::kVersionInUse,
                   absl::StrCat(version, " is used by assemblies: delete these first"),
                   {{"name", version}});
}

AuditRecord Gate::Describe(const Admitted* admitted) const {
  AuditRecord record;
  record.time = clock_.Now();
  if (admitted == nullptr) return record;
  const Identity& identity = admitted->caller.identity();
  record.actor = admitted->caller.who();
  record.proof = identity.proof == Identity::Proof::kCertificate ? "certificate"
                 : identity.proof == Identity::Proof::kToken     ? "token"
                                                                 : "none";
  record.credential = identity.credential;
  return record;
}

std::shared_ptr<grpc::AuthMetadataProcessor> Gate::ProcessorOfOtherServices() {
  return std::make_shared<OtherServices>(*this);
}

}  // namespace muster
