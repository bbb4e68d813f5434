// Who calls, and whether it may: what every call passes before anything is looked up.
//
// 1. Admit takes a certificate or a token for an identity, under the policy in force.
// 2. Check decides by the names in the request alone, so that what may not be read and what does not exist get the same
//    answer.
// 3. MayShow decides item by item what lists, watches and plans show.
// Another policy is in force for the calls that come after it; streams that are open are checked again.
#ifndef MUSTER_SERVER_RPC_GATE_H_
#define MUSTER_SERVER_RPC_GATE_H_

#include <google/protobuf/message.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/access/identity.h"
#include "server/access/method_table.h"
#include "server/access/policy.h"
#include "server/audit/audit_record.h"
#include "server/rpc/page_seal.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace grpc {
class AuthContext;
class AuthMetadataProcessor;
class ServerContextBase;
}  // namespace grpc

namespace muster {

// The request_id of a request that has one; "" without.
std::string RequestIdOf(const google::protobuf::Message& request);

// A caller that got in, and what it was taken for it by. Immutable.
struct Admitted {
  Caller caller;
  // Of a certificate: whom it is of may change with the policy.
  std::optional<CertificateNames> certificate;
  absl::Time certificate_expires = absl::InfiniteFuture();
  // Which policy, in the order of their coming.
  uint64_t policy = 0;

  bool is_local() const { return caller.identity().kind == Identity::Kind::kLocal; }
};
using AdmittedPtr = std::shared_ptr<const Admitted>;

// What came of Check.
struct CheckedCall {
  absl::Status status;
  CallDecision decided;
};

// Thread-safe.
class Gate {
 public:
  struct Options {
    // Calls are encrypted, and callers show who they are. Without it everybody is `local`, who may do everything.
    bool tls = false;
    // Certificates of spiffe://{cluster}/… are of this cluster's users and nodes.
    std::string cluster;
  };

  // Begins with the policy that BuiltInPolicy describes. The clock outlives it. kInternal: the table of methods is wrong.
  static absl::StatusOr<std::unique_ptr<Gate>> Make(const Options& options, Clock& clock);

  // Without a policy of the operator's: certificates of users may do everything, nodes may join any assembly.
  static absl::string_view BuiltInPolicy();

  // In force for what comes after it.
  void SetPolicy(std::shared_ptr<const Policy> policy) MUSTER_EXCLUDES(mutex_);
  std::shared_ptr<const Policy> policy() const MUSTER_EXCLUDES(mutex_);
  // Grows with each policy.
  uint64_t policy_number() const { return policy_number_; }

  // Whom the call is of. kUnauthenticated CREDENTIAL_REFUSED: what it shows is nobody's, revoked, expired or malformed; a
  // call that shows nothing is of `anonymous`.
  absl::StatusOr<AdmittedPtr> Admit(const grpc::ServerContextBase& context) MUSTER_EXCLUDES(mutex_);
  // The same caller under the policy of now, at the time of now.
  absl::StatusOr<AdmittedPtr> AdmitAgain(const AdmittedPtr& admitted) MUSTER_EXCLUDES(mutex_);
  // Whether what it has shown is over.
  bool HasExpired(const Admitted& admitted) const;
  // Whether AdmitAgain may answer otherwise than it did.
  bool IsStale(const Admitted& admitted) const;

  // kPermissionDenied or kUnauthenticated ACCESS_DENIED; kInternal for a method that nobody gave a line.
  CheckedCall Check(const Admitted& admitted, const google::protobuf::Message& request,
                    const MembershipView& members) const;
  bool MayShow(const Admitted& admitted, const google::protobuf::Message& item,
               const MembershipView& members) const {
    return admitted.is_local() || table_.MayShow(admitted.caller, item, members);
  }
  // Whether it may read the model version, by its full name.
  absl::Status CheckVersion(const Admitted& admitted, absl::string_view version,
                            const MembershipView& members) const;

  // An error as the caller may see it: without the names of assemblies that it may not read.
  absl::Status Told(const Admitted& admitted, const absl::Status& status) const;

  bool tls() const { return options_.tls; }
  const PageSeal& page_seal() const { return page_seal_; }

  // The lines of an audit record that say who calls, and when; null: nobody got in.
  AuditRecord Describe(const Admitted* admitted) const;

  const MethodTable& table() const { return table_; }

  // For the credentials of the port: lets everybody ask for health, who has an identity for the descriptors, admins for
  // channelz. Our own services are left to Check. Outlived by the gate.
  std::shared_ptr<grpc::AuthMetadataProcessor> ProcessorOfOtherServices();

 private:
  class OtherServices;

  Gate(const Options& options, Clock& clock, MethodTable table);

  absl::StatusOr<AdmittedPtr> AdmitBy(const grpc::AuthContext* connection,
                                      absl::Span<const absl::string_view> authorization)
      MUSTER_EXCLUDES(mutex_);
  absl::StatusOr<AdmittedPtr> AdmitCertificate(absl::string_view pem) MUSTER_EXCLUDES(mutex_);
  absl::StatusOr<AdmittedPtr> AdmitNames(CertificateNames names, absl::Time expires,
                                         const std::shared_ptr<const Policy>& policy,
                                         uint64_t number) const;

  const Options options_;
  Clock& clock_;
  const MethodTable table_;
  const AdmittedPtr local_;
  const PageSeal page_seal_;
  std::atomic<uint64_t> policy_number_ = 0;
  mutable Mutex mutex_;
  std::shared_ptr<const Policy> policy_ MUSTER_GUARDED_BY(mutex_);
  // By the PEM text of certificates, under the policy in force. Bounded: emptied when it is full.
  absl::flat_hash_map<std::string, AdmittedPtr> certificates_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_GATE_H_
