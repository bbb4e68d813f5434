// OpenSSL's values with an owner, and what is in a certificate as text. For the files of this folder.
#ifndef MUSTER_STORAGE_TLS_X509_VALUES_H_
#define MUSTER_STORAGE_TLS_X509_VALUES_H_

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace muster {

template <auto Free>
struct OpenSslFreer {
  template <typename T>
  void operator()(T* value) const {
    Free(value);
  }
};
using BioPtr = std::unique_ptr<BIO, OpenSslFreer<BIO_free_all>>;
using CertificatePtr = std::unique_ptr<X509, OpenSslFreer<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFreer<EVP_PKEY_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpenSslFreer<GENERAL_NAMES_free>>;

// For PEM_read_…: sets the bool at `asked` instead of asking a terminal for a passphrase.
int NoPassphrase(char*, int, int, void* asked);

// To read from; `bytes` outlives it.
BioPtr ReadingBio(absl::string_view bytes);
// What was written.
std::string TextOfBio(BIO& bio);

// All certificates in PEM form up to the first bad one.
std::vector<CertificatePtr> CertificatesIn(absl::string_view pem);
// The first private key in PEM form, or null; then `asked` says whether there is one with a passphrase.
KeyPtr PrivateKeyIn(absl::string_view pem, bool& asked);

// The past without end where OpenSSL can't read it.
absl::Time TimeOf(const ASN1_TIME* time);

// Texts are those of whoever made the certificate: control characters come escaped, and long ones
// are cut to 256 bytes.
std::string CommonNameOf(const X509_NAME& name);
// In lowercase hex, two digits a byte.
std::string SerialOf(const X509& certificate);

struct AlternativeNames {
  std::vector<std::string> uris;
  std::vector<std::string> dns;
  // As inet_ntop has them.
  std::vector<std::string> addresses;
  // The first URI, else the first of all; "" where there is none.
  std::string foremost;
};
AlternativeNames NamesOf(const X509& certificate);
// The foremost name, or else the common name.
std::string SubjectOf(const X509& certificate);

}  // namespace muster

#endif  // MUSTER_STORAGE_TLS_X509_VALUES_H_
