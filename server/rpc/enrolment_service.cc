#include "server/rpc/enrolment_service.h"

#include <grpc/grpc_security_constants.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "muster/v1/enrolment.grpc.pb.h"
#include "server/registry/timestamps.h"
#include "server/registry/validation.h"
#include "server/rpc/join_token.h"
#include "server/rpc/list_page.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

constexpr char kTokenList[] = "ListJoinTokens";

// A request for a certificate before anybody reads it.
absl::Status CheckRequestPem(const std::string& pem) {
  if (!pem.empty() && pem.size() <= static_cast<size_t>(kMaxCertificateRequestBytes))
    return absl::OkStatus();
  return InvalidField("certificate_request_pem", absl::StrCat(pem.size(), " bytes"),
                      absl::StrCat("PEM text of at most ", kMaxCertificateRequestBytes, " bytes"));
}

// Of the certificate that TLS has checked: its key's digest, or "" where the connection shows none.
std::string ShownKeyOf(const grpc::ServerContextBase& context) {
  const auto shown = context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (shown.size() != 1) return "";
  absl::StatusOr<std::string> key =
      KeySha256Of(absl::string_view(shown.front().data(), shown.front().size()));
  return key.ok() ? *std::move(key) : "";
}

AddJoinToken ToCommand(const v1::CreateJoinTokenRequest& request, const JoinTokenText& token,
                       absl::Time now) {
  AddJoinToken add;
  add.id = token.id;
  add.sha256 = token.sha256;
  add.node_pattern = request.node_pattern();
  add.uses = request.has_uses() ? request.uses() : 1;
  add.create_time_us = absl::ToUnixMicros(now);
  add.ttl_us = request.has_ttl() ? FromDuration(request.ttl()) : kDefaultJoinTokenTtlUs;
  return add;
}

v1::JoinToken Describe(const AddJoinToken& add) {
  v1::JoinToken token;
  token.set_name(absl::StrCat("joinTokens/", add.id));
  token.set_node_pattern(add.node_pattern);
  token.set_uses(add.uses);
  *token.mutable_create_time() = ToTimestamp(add.create_time_us);
  *token.mutable_expire_time() = ToTimestamp(add.create_time_us + add.ttl_us);
  return token;
}

class EnrolmentServiceRpc final : public v1::EnrolmentService::CallbackService {
 public:
  EnrolmentServiceRpc(ServiceContext& services, const CertificateIssuer* issuer, WorkPool& signers,
                      Clock& clock)
      : services_(services), issuer_(issuer), signers_(signers), clock_(clock) {}

  ServerUnaryReactor* CreateJoinToken(CallbackServerContext* context,
                                      const v1::CreateJoinTokenRequest* request,
                                      v1::CreateJoinTokenResponse* response) override {
    const UnaryCall call(services_, context, "CreateJoinToken", *request);
    if (call.refused()) return call.reactor();
    const absl::StatusOr<JoinTokenText> token = NewToken(*request);
    if (!token.ok()) {
      call.Finish(token.status());
      return call.reactor();
    }
    const AddJoinToken add = ToCommand(*request, *token, clock_.Now());
    response->set_token(token->text);
    response->set_authority_pin(issuer_->authority_pin());
    *response->mutable_join_token() = Describe(add);
    Commit(services_, call, std::vector<Command>{add}, response,
           [](const JobResult& result, v1::CreateJoinTokenResponse& out) {
             out.set_revision(result.revision.value);
           });
    return call.reactor();
  }

  ServerUnaryReactor* ListJoinTokens(CallbackServerContext* context,
                                     const v1::ListJoinTokensRequest* request,
                                     v1::ListJoinTokensResponse* response) override {
    return Read(services_, context, "ListJoinTokens", request, response,
                [request](const UnaryCall& call, const Registry& registry,
                          v1::ListJoinTokensResponse& out) {
                  const EnrolmentTable& table = registry.enrolment();
                  return FillPage(
                      table.tokens(), PageTokens(kTokenList, call), registry.revision(), *request,
                      out, [&](const std::string&, const store::JoinTokenRow& row) -> size_t {
                        if (table.HasEnded(row)) return 0;
                        v1::JoinToken* item = out.add_join_tokens();
                        *item = table.Describe(row);
                        return item->ByteSizeLong();
                      });
                });
  }

  ServerUnaryReactor* DeleteJoinToken(CallbackServerContext* context,
                                      const v1::DeleteJoinTokenRequest* request,
                                      v1::DeleteJoinTokenResponse* response) override {
    return Mutate(services_, context, "DeleteJoinToken", request, response);
  }

  ServerUnaryReactor* ReleaseName(CallbackServerContext* context,
                                  const v1::ReleaseNameRequest* request,
                                  v1::ReleaseNameResponse* response) override {
    return Mutate(services_, context, "ReleaseName", request, response);
  }

  ServerUnaryReactor* Enrol(CallbackServerContext* context, const v1::EnrolRequest* request,
                            v1::EnrolResponse* response) override {
    const UnaryCall call(services_, context, "Enrol", *request);
    if (call.refused()) return call.reactor();
    const absl::StatusOr<EnrolNode> enrol = ToEnrol(*request);
    if (!enrol.ok()) {
      call.Finish(enrol.status());
      return call.reactor();
    }
    IssueFor(call, *enrol, request->certificate_request_pem(), response,
             [enrol = *enrol](const Registry& registry) {
               return registry.enrolment().CheckEnrol(enrol);
             });
    return call.reactor();
  }

  ServerUnaryReactor* RenewCertificate(CallbackServerContext* context,
                                       const v1::RenewCertificateRequest* request,
                                       v1::RenewCertificateResponse* response) override {
    const UnaryCall call(services_, context, "RenewCertificate", *request);
    if (call.refused()) return call.reactor();
    absl::Status checked = CheckNode(request->node(), request->certificate_request_pem());
    if (!checked.ok()) {
      call.Finish(checked);
      return call.reactor();
    }
    RenewNode renew;
    renew.node = request->node();
    renew.shown_key_sha256 = ShownKeyOf(*context);
    IssueFor(call, renew, request->certificate_request_pem(), response,
             [renew](const Registry& registry) { return registry.enrolment().CheckRenew(renew); });
    return call.reactor();
  }

 private:
  absl::StatusOr<JoinTokenText> NewToken(const v1::CreateJoinTokenRequest& request) const {
    MUSTER_RETURN_IF_ERROR(CheckJoinToken(request));
    if (issuer_ == nullptr) return EnrolmentOff();
    return DrawJoinToken();
  }

  absl::Status CheckNode(const std::string& node, const std::string& request_pem) const {
    if (issuer_ == nullptr) return EnrolmentOff();
    MUSTER_RETURN_IF_ERROR(ParseNodeName(node).status());
    return CheckRequestPem(request_pem);
  }

  absl::StatusOr<EnrolNode> ToEnrol(const v1::EnrolRequest& request) const {
    MUSTER_RETURN_IF_ERROR(CheckNode(request.node(), request.certificate_request_pem()));
    MUSTER_ASSIGN_OR_RETURN(const JoinTokenText token, ParseJoinToken(request.token()));
    EnrolNode enrol;
    enrol.token_id = token.id;
    enrol.token_sha256 = token.sha256;
    enrol.node = request.node();
    return enrol;
  }

  // Signs first: the certificate leaves only once the command that notes it is durable. Whoever would be refused anyway
  // costs no signature.
  template <typename What, typename Response>
  void IssueFor(const UnaryCall& call, What what, const std::string& request_pem,
                Response* response, std::function<absl::Status(const Registry&)> check) {
    auto checked = std::make_shared<absl::Status>();
    services_.committer.Read(
        [&](const Registry& registry) { *checked = check(registry); },
        [this, call, checked, what = std::move(what), request_pem, response](Revision) {
          if (!checked->ok()) return call.Finish(*checked);
          call.Work(signers_, [this, call, what, request_pem, response] {
            Sign(call, what, request_pem, response);
          });
        });
  }

  template <typename What, typename Response>
  void Sign(const UnaryCall& call, What what, const std::string& request_pem,
            Response* response) const {
    absl::StatusOr<IssuedCertificate> issued = issuer_->Issue(what.node, request_pem);
    if (!issued.ok()) return call.Finish(issued.status());
    what.key_sha256 = issued->key_sha256;
    what.serial = issued->serial;
    what.valid_until_us = absl::ToUnixMicros(issued->valid_until);
    response->set_certificate_pem(std::move(issued->pem));
    response->set_authority_pem(issuer_->authority_pem());
    *response->mutable_valid_until() = ToTimestamp(what.valid_until_us);
    Job job;
    job.commands = {std::move(what)};
    job.actor = call.actor();
    job.done = [call, response](const JobResult& result) {
      if (!result.status.ok()) response->Clear();
      response->set_revision(result.revision.value);
      call.NoteRevision(result.revision);
      call.Finish(result.status);
    };
    services_.committer.Submit(std::move(job));
  }

  ServiceContext& services_;
  const CertificateIssuer* const issuer_;
  WorkPool& signers_;
  Clock& clock_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewEnrolmentService(ServiceContext& services,
                                                   const CertificateIssuer* issuer,
                                                   WorkPool& signers, Clock& clock) {
  return std::make_unique<EnrolmentServiceRpc>(services, issuer, signers, clock);
}

}  // namespace muster
