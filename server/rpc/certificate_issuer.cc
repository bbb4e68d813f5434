#include "server/rpc/certificate_issuer.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// What is wrong with it, for programs too.
absl::Status BadRequest(const absl::Status& status) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kInvalidField,
                   absl::StrCat("certificate_request_pem: ", status.message()),
                   {{"field", "certificate_request_pem"}});
}

}  // namespace

absl::Status EnrolmentOff() {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kEnrolmentOff,
      "this server issues no certificates: it has no authority of its own (musterd --secure makes "
      "one), or was started with --enroll off; get them where the server's own comes from");
}

absl::StatusOr<std::string> KeySha256Of(absl::string_view certificate_pem) {
  MUSTER_ASSIGN_OR_RETURN(const std::string pin, AuthorityPin(certificate_pem));
  return absl::HexStringToBytes(absl::StripPrefix(pin, "sha256:"));
}

CertificateIssuer::CertificateIssuer(Options options, std::string authority_pin, Clock& clock)
    : options_(std::move(options)), authority_pin_(std::move(authority_pin)), clock_(clock) {}

absl::StatusOr<std::unique_ptr<CertificateIssuer>> CertificateIssuer::Make(Options options,
                                                                           Clock& clock) {
  MUSTER_ASSIGN_OR_RETURN(std::string pin, AuthorityPin(options.authority.certificate_pem));
  return std::unique_ptr<CertificateIssuer>(
      new CertificateIssuer(std::move(options), std::move(pin), clock));
}

absl::StatusOr<IssuedCertificate> CertificateIssuer::Issue(absl::string_view node,
                                                           absl::string_view request_pem) const {
  const absl::StatusOr<std::string> key = PublicKeyOfRequest(request_pem);
  if (!key.ok()) return BadRequest(key.status());
  const absl::string_view name = absl::StripPrefix(node, "nodes/");
  const absl::Time now = clock_.Now();
  CertificateOrder order;
  order.common_name = std::string(name);
  order.uris = {absl::StrCat("spiffe://", options_.cluster_id, "/node/", name)};
  // Agents will serve one another, too.
  order.server = true;
  order.client = true;
  order.not_before = now;
  order.not_after = now + options_.life;
  IssuedCertificate issued;
  MUSTER_ASSIGN_OR_RETURN(issued.pem, IssueCertificate(options_.authority, order, *key));
  MUSTER_ASSIGN_OR_RETURN(const CertificateFacts facts, FactsOf(issued.pem));
  MUSTER_ASSIGN_OR_RETURN(issued.key_sha256, KeySha256Of(issued.pem));
  issued.serial = facts.serial;
  issued.valid_until = facts.valid_until;
  return issued;
}

}  // namespace muster
