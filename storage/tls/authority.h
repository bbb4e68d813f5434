// An authority of one's own: keys, certificates that it signs, and requests for them. All in PEM form.
//
// Thread-safe: pure functions, but for keys and serial numbers, which are OpenSSL's random numbers. Errors are
// kInvalidArgument unless a function says otherwise; no message has a byte of a key in it.
#ifndef MUSTER_STORAGE_TLS_AUTHORITY_H_
#define MUSTER_STORAGE_TLS_AUTHORITY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace muster {

// A certificate is valid this much earlier than was asked for, as the clocks of machines differ.
inline constexpr absl::Duration kCertificateSkew = absl::Minutes(5);

// Holds a private key: not for logs.
struct KeyPair {
  std::string certificate_pem;
  std::string key_pem;
};

// What a certificate is to say.
struct CertificateOrder {
  // Left out where it has more than the 64 bytes that a certificate has room for.
  std::string common_name;
  // Names, of which there is at least one, and at most 1,000: visible ASCII characters, of at most 1,024 bytes each.
  std::vector<std::string> uris = {};
  std::vector<std::string> dns = {};
  // IPv4 or IPv6.
  std::vector<std::string> addresses = {};
  // What it may be shown as, of which there is at least one.
  bool server = false;
  bool client = false;
  // `not_after` becomes the end of the authority's own time where that is earlier.
  absl::Time not_before;
  absl::Time not_after;
};

// A P-256 key, as PKCS#8.
absl::StatusOr<std::string> NewPrivateKey();

// The public key of a private one.
absl::StatusOr<std::string> PublicKeyOf(absl::string_view key_pem);

// A new key, and a certificate that it signs itself. It may sign certificates, but no further authorities. `uri`: what
// else it is called; "" for nothing else.
absl::StatusOr<KeyPair> NewAuthority(absl::string_view common_name, absl::Time not_before,
                                     absl::Time not_after, const std::string& uri = "");

// A certificate for that public key, under a random serial number of 128 bits. kFailedPrecondition: `authority` is
// none, its key is not that of its certificate, or its time is over at `not_before`.
absl::StatusOr<std::string> IssueCertificate(const KeyPair& authority,
                                             const CertificateOrder& order,
                                             absl::string_view public_key_pem);

// The same with a new key of its own.
absl::StatusOr<KeyPair> IssuePair(const KeyPair& authority, const CertificateOrder& order);

// Asks for a certificate for the key (PKCS#10).
absl::StatusOr<std::string> NewRequest(absl::string_view key_pem, absl::string_view common_name);

// The public key of a request by anybody: one PEM block of at most kMaxCertificateRequestBytes and nothing else, signed
// by the key itself, which is on P-256 or P-384, or RSA of 2,048 to 4,096 bits. Nothing else of a request is
// ever taken over, so that what it asks for (names, to be an authority) has no effect.
absl::StatusOr<std::string> PublicKeyOfRequest(absl::string_view request_pem);

// "sha256:" and 64 hex digits, of the SubjectPublicKeyInfo of the first certificate. It stays as it is while the key
// does.
absl::StatusOr<std::string> AuthorityPin(absl::string_view certificate_pem);

// What is in the first certificate. Texts have no control characters and at most 256 bytes or so, but may say anything.
struct CertificateFacts {
  // The first URI, else the first name of another kind, else the common name.
  std::string subject;
  std::string common_name;
  // The common name of whoever signed it.
  std::string issuer;
  // In lowercase hex.
  std::string serial;
  std::vector<std::string> uris;
  std::vector<std::string> dns;
  std::vector<std::string> addresses;
  bool authority = false;
  bool server = false;
  bool client = false;
  absl::Time valid_from;
  absl::Time valid_until;
  // See AuthorityPin.
  std::string pin;
};
absl::StatusOr<CertificateFacts> FactsOf(absl::string_view certificate_pem);
// The same of all, up to the first bad one; there is at least one.
absl::StatusOr<std::vector<CertificateFacts>> FactsOfAll(absl::string_view certificates_pem);

// Whether the first certificate is signed by the first of the authority's, at whatever time.
bool IsSignedBy(absl::string_view certificate_pem, absl::string_view authority_pem);

// When it is to be renewed: after two thirds of its time.
absl::Time RenewalTime(absl::Time valid_from, absl::Time valid_until);

}  // namespace muster

#endif  // MUSTER_STORAGE_TLS_AUTHORITY_H_
