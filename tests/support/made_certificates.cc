#include "tests/support/made_certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

namespace muster {
namespace {

std::string TextOf(BIO* bio) {
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(bio, &bytes);
  std::string text(bytes, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

void AddExtension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

MadeCertificate::MadeCertificate(const CertificateWish& wish, const MadeCertificate* issuer)
    : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), certificate_(X509_new(), X509_free) {
  X509* certificate = certificate_.get();
  X509* signer = issuer == nullptr ? certificate : issuer->certificate_.get();
  X509_set_version(certificate, X509_VERSION_3);
  unsigned char serial[8];
  RAND_bytes(serial, sizeof(serial));
  serial[0] &= 0x7F;
  BIGNUM* number = BN_bin2bn(serial, sizeof(serial), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
  ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(wish.valid_from));
  ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(wish.valid_until));
  X509_set_pubkey(certificate, key_.get());
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1,
                             -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(signer));
  if (issuer == nullptr)
    AddExtension(certificate, signer, NID_basic_constraints, "critical,CA:TRUE");
  if (!wish.names.empty()) AddExtension(certificate, signer, NID_subject_alt_name, wish.names);
  X509_sign(certificate, issuer == nullptr ? key_.get() : issuer->key_.get(), EVP_sha256());
}

std::string MadeCertificate::certificate_pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate_.get());
  return TextOf(bio);
}

std::string MadeCertificate::key_pem(const std::string& passphrase) const {
  BIO* bio = BIO_new(BIO_s_mem());
  const bool locked = !passphrase.empty();
  PEM_write_bio_PKCS8PrivateKey(bio, key_.get(), locked ? EVP_aes_256_cbc() : nullptr,
                                locked ? passphrase.c_str() : nullptr,
                                static_cast<int>(passphrase.size()), nullptr, nullptr);
  return TextOf(bio);
}

}  // namespace muster
