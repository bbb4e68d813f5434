#include "server/rpc/access_service.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "muster/v1/access.grpc.pb.h"
#include "server/access/resource_pattern.h"
#include "server/registry/timestamps.h"
#include "server/registry/validation.h"
#include "server/rpc/calls.h"
#include "server/rpc/members.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

// A collection is asked about as a whole, with any right in it.
bool IsCollection(absl::string_view name) {
  return std::find(kCollections.begin(), kCollections.end(), name) != kCollections.end();
}

class AccessServiceRpc final : public v1::AccessService::CallbackService {
 public:
  explicit AccessServiceRpc(ServiceContext& services) : services_(services) {}

  ServerUnaryReactor* WhoAmI(CallbackServerContext* context, const v1::WhoAmIRequest* request,
                             v1::WhoAmIResponse* response) override {
    const UnaryCall call(services_, context, "WhoAmI", *request);
    if (!call.refused()) {
      Describe(*call.admitted(), *response);
      call.Finish(absl::OkStatus());
    }
    return call.reactor();
  }

  ServerUnaryReactor* CheckAccess(CallbackServerContext* context,
                                  const v1::CheckAccessRequest* request,
                                  v1::CheckAccessResponse* response) override {
    const UnaryCall call(services_, context, "CheckAccess", *request);
    if (!call.refused()) call.Finish(Decide(call.admitted()->caller, *request, *response));
    return call.reactor();
  }

 private:
  void Describe(const Admitted& admitted, v1::WhoAmIResponse& out) const {
    const AuditRecord record = services_.gate.Describe(&admitted);
    out.set_who(record.actor);
    out.set_proof(record.proof);
    out.set_credential(record.credential);
    const absl::Time expires = admitted.caller.identity().expires;
    if (expires != absl::InfiniteFuture()) {
      *out.mutable_expires() = ToTimestamp(absl::ToUnixMicros(expires));
    }
    for (std::string& group : admitted.caller.Groups()) out.add_groups(std::move(group));
    for (std::string& grant : admitted.caller.Grants()) {
      if (out.grants_size() < 1'000) out.add_grants(std::move(grant));
    }
    if (!admitted.is_local()) out.set_policy(services_.gate.policy()->digest());
  }

  absl::Status Decide(const Caller& caller, const v1::CheckAccessRequest& request,
                      v1::CheckAccessResponse& out) const {
    const std::optional<Verb> verb = VerbOf(request.verb());
    if (!verb.has_value()) {
      return InvalidField("verb", request.verb(),
                          absl::StrCat("one of ", VerbNames(VerbSet::All())));
    }
    const bool collection = IsCollection(request.resource());
    if (!collection && !KindOfResource(request.resource()).has_value()) {
      return InvalidField("resource", request.resource(),
                          "models/MODEL/versions/VERSION, nodes/NODE, assemblies/ASSEMBLY, "
                          "models/, nodes/, assemblies/, or empty for everything");
    }
    const Scope scope = !collection                ? Scope::kName
                        : request.resource() == "" ? Scope::kEverywhere
                                                   : Scope::kSomewhere;
    const Decision decision =
        caller.Allows(*verb, scope, request.resource(), CommittedMembers(services_.committer));
    out.set_allowed(decision.allowed);
    out.set_rule(caller.RuleText(decision));
    if (!decision.allowed) {
      out.set_message(std::string(caller.Denial(decision, *verb, request.resource()).message()));
    }
    return absl::OkStatus();
  }

  ServiceContext& services_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewAccessService(ServiceContext& services) {
  return std::make_unique<AccessServiceRpc>(services);
}

}  // namespace muster
