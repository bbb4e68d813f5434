// Signs certificates of nodes, by an authority of the server's own.
#ifndef MUSTER_SERVER_RPC_CERTIFICATE_ISSUER_H_
#define MUSTER_SERVER_RPC_CERTIFICATE_ISSUER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/tls/authority.h"

namespace muster {

// FAILED_PRECONDITION ENROLMENT_OFF: the server has no authority of its own, or is told not to use it.
absl::Status EnrolmentOff();

struct IssuedCertificate {
  std::string pem;
  // In lowercase hex.
  std::string serial;
  // The SHA-256 of its SubjectPublicKeyInfo: 32 bytes.
  std::string key_sha256;
  absl::Time valid_until;
};

// The SHA-256 of a certificate's SubjectPublicKeyInfo: 32 bytes. kInvalidArgument: it is no certificate.
absl::StatusOr<std::string> KeySha256Of(absl::string_view certificate_pem);

// Holds the authority's private key. Thread-safe: nothing changes.
class CertificateIssuer {
 public:
  struct Options {
    KeyPair authority;
    // Names the cluster in the certificates' URIs.
    std::string cluster_id;
    // Of a certificate; less where the authority ends before.
    absl::Duration life = absl::Hours(7 * 24);
  };

  // kInvalidArgument: what is there is no certificate.
  static absl::StatusOr<std::unique_ptr<CertificateIssuer>> Make(Options options, Clock& clock);

  const std::string& authority_pem() const { return options_.authority.certificate_pem; }
  // "sha256:" and the hex digits of its public key's digest.
  const std::string& authority_pin() const { return authority_pin_; }

  // A certificate for a node ("nodes/n1") and the key of a request, of which nothing else is taken. INVALID_ARGUMENT
  // INVALID_FIELD: what is wrong with the request. Takes about a millisecond.
  absl::StatusOr<IssuedCertificate> Issue(absl::string_view node,
                                          absl::string_view request_pem) const;

 private:
  CertificateIssuer(Options options, std::string authority_pin, Clock& clock);

  const Options options_;
  const std::string authority_pin_;
  Clock& clock_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_CERTIFICATE_ISSUER_H_
