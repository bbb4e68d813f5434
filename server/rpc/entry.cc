#include "server/rpc/entry.h"

#include <string>
#include <utility>

#include "server/rpc/members.h"
#include "storage/base/error_info.h"

namespace muster {
namespace {

std::shared_ptr<AuditRecord> RecordOf(const ServiceContext& services,
                                      const grpc::CallbackServerContext& context,
                                      const char* method, const Admitted* admitted,
                                      const google::protobuf::Message& request, std::string rule) {
  auto record = std::make_shared<AuditRecord>(services.gate.Describe(admitted));
  record->peer = context.peer();
  record->method = method;
  record->resources = services.gate.table().NamesIn(request);
  record->rule = std::move(rule);
  record->request_id = RequestIdOf(request);
  return record;
}

bool IsTold(const ServiceContext& services, AuditRule rule) {
  return rule == AuditRule::kAlways || (rule == AuditRule::kRead && services.audit_reads);
}

}  // namespace

Entry Enter(ServiceContext& services, const grpc::CallbackServerContext& context,
            const char* method, const google::protobuf::Message& request) {
  Entry entry;
  absl::StatusOr<AdmittedPtr> admitted = services.gate.Admit(context);
  if (!admitted.ok()) {
    entry.status = admitted.status();
    if (services.audit != nullptr) {
      entry.audit = RecordOf(services, context, method, nullptr, request, "credential refused");
    }
    return entry;
  }
  entry.admitted = *std::move(admitted);
  const CheckedCall checked =
      services.gate.Check(*entry.admitted, request, CommittedMembers(services.committer));
  entry.status = checked.status;
  if (services.audit == nullptr) return entry;
  const AuditRule rule = services.gate.table().AuditOf(request);
  if (entry.status.ok() && !IsTold(services, rule)) return entry;
  entry.audit = RecordOf(services, context, method, entry.admitted.get(), request,
                         entry.admitted->caller.RuleText(checked.decided.decision));
  entry.audit->allowed = entry.status.ok();
  if (entry.status.ok() && rule == AuditRule::kAlways) entry.status = services.audit->Ready();
  return entry;
}

void Tell(ServiceContext& services, const std::shared_ptr<AuditRecord>& audit,
          const absl::Status& status, absl::Duration took, std::function<void()> told) {
  if (audit == nullptr) return told();
  audit->code = absl::StatusCodeToString(status.code());
  audit->reason = ReasonOf(status);
  audit->took = took;
  services.audit->Write(AuditLine(*audit), std::move(told));
}

}  // namespace muster
