#include "storage/tls/peer_certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>

#include "absl/strings/escaping.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

constexpr size_t kMaxPeerPemBytes = size_t{64} << 10;

std::string BytesOf(const ASN1_STRING* text) {
  if (text == nullptr) return "";
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

void ReadAlternativeNames(const X509& certificate, PeerCertificate& out) {
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_URI) out.uris.push_back(BytesOf(name->d.uniformResourceIdentifier));
    if (name->type == GEN_DNS) out.dns.push_back(BytesOf(name->d.dNSName));
  }
  GENERAL_NAMES_free(names);
}

std::string LastCommonName(const X509& certificate) {
  const X509_NAME* subject = X509_get_subject_name(&certificate);
  int last = -1;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) last = at;
  return last < 0 ? "" : BytesOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
}

}  // namespace

absl::StatusOr<PeerCertificate> ReadPeerCertificate(absl::string_view pem) {
  X509* parsed = nullptr;
  if (pem.size() <= kMaxPeerPemBytes) {
    BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    parsed = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    BIO_free_all(bio);
  }
  ERR_clear_error();
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(parsed, X509_free);
  if (certificate == nullptr) {
    return MakeError(absl::StatusCode::kInvalidArgument, reasons::kTlsFilesUnusable,
                     "what the other end has shown is not a certificate of at most 64 KiB");
  }
  PeerCertificate out;
  ReadAlternativeNames(*certificate, out);
  ERR_clear_error();
  out.common_name = LastCommonName(*certificate);
  out.serial = absl::BytesToHexString(BytesOf(X509_get0_serialNumber(certificate.get())));
  std::tm parts = {};
  const bool has_end = ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &parts) == 1;
  out.valid_until = has_end ? absl::FromTM(parts, absl::UTCTimeZone()) : absl::InfinitePast();
  return out;
}

}  // namespace muster
