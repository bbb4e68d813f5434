// Certificates for tests of TLS, made anew each time.
#ifndef MUSTER_TESTS_SUPPORT_MADE_CERTIFICATES_H_
#define MUSTER_TESTS_SUPPORT_MADE_CERTIFICATES_H_

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace muster {

struct CertificateWish {
  std::string common_name;
  // As openssl's configuration has it: "URI:spiffe://c/node/n1,DNS:localhost,IP:127.0.0.1".
  std::string names = "";
  absl::Time valid_from = absl::Now() - absl::Hours(1);
  absl::Time valid_until = absl::Now() + absl::Hours(24);
};

// A certificate with a P-256 key of its own.
class MadeCertificate {
 public:
  // Signed by `issuer`, or by itself.
  explicit MadeCertificate(const CertificateWish& wish, const MadeCertificate* issuer = nullptr);

  std::string certificate_pem() const;
  // With a passphrase where one is given.
  std::string key_pem(const std::string& passphrase = "") const;

 private:
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
  std::unique_ptr<X509, decltype(&X509_free)> certificate_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_MADE_CERTIFICATES_H_
