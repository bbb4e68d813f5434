// The beginning of every call: who it is of, whether it may be made, and whether the audit log will tell of it.
#ifndef MUSTER_SERVER_RPC_ENTRY_H_
#define MUSTER_SERVER_RPC_ENTRY_H_

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "server/audit/audit_record.h"
#include "server/rpc/service_context.h"

namespace muster {

struct Entry {
  // Null where nobody got in.
  AdmittedPtr admitted;
  // Whether the call may be made.
  absl::Status status;
  // What is to be told of it once it has ended; null: nothing.
  std::shared_ptr<AuditRecord> audit;
};

// `method` is a literal: the RPC's name. Asks for the registry's lock where a node's memberships decide.
Entry Enter(ServiceContext& services, const grpc::CallbackServerContext& context,
            const char* method, const google::protobuf::Message& request);

// Tells of a call that has ended so, and then runs `told`; at once where there is nothing to tell.
void Tell(ServiceContext& services, const std::shared_ptr<AuditRecord>& audit,
          const absl::Status& status, absl::Duration took, std::function<void()> told);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_ENTRY_H_
