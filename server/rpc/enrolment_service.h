// muster.v1.EnrolmentService: join tokens, and certificates for nodes.
#ifndef MUSTER_SERVER_RPC_ENROLMENT_SERVICE_H_
#define MUSTER_SERVER_RPC_ENROLMENT_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "server/rpc/calls.h"
#include "server/rpc/certificate_issuer.h"
#include "server/rpc/work_pool.h"

namespace muster {

// All outlive the service. `issuer` is null where enrolment is off; `signers` do its work. Thread-safe.
std::unique_ptr<grpc::Service> NewEnrolmentService(ServiceContext& services,
                                                   const CertificateIssuer* issuer,
                                                   WorkPool& signers, Clock& clock);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_ENROLMENT_SERVICE_H_
