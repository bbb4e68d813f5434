#include "storage/tls/x509_values.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <ctime>

#include "absl/strings/escaping.h"

namespace muster {
namespace {

// What is shown of a name that a certificate may hold: they have no bound of their own.
constexpr size_t kMaxSubjectBytes = 256;

std::string TextOf(const ASN1_STRING* text) {
  const auto* bytes = reinterpret_cast<const char*>(ASN1_STRING_get0_data(text));
  const auto size = static_cast<size_t>(ASN1_STRING_length(text));
  return absl::CHexEscape(absl::string_view(bytes, std::min(size, kMaxSubjectBytes)));
}

std::string AddressOf(const ASN1_OCTET_STRING* address) {
  char text[INET6_ADDRSTRLEN] = {};
  const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(address) != 16) return "";
  inet_ntop(family, ASN1_STRING_get0_data(address), text, sizeof(text));
  return text;
}

}  // namespace

int NoPassphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

BioPtr ReadingBio(absl::string_view bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

std::string TextOfBio(BIO& bio) {
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(&bio, &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}

std::vector<CertificatePtr> CertificatesIn(absl::string_view pem) {
  const BioPtr bio = ReadingBio(pem);
  std::vector<CertificatePtr> found;
  bool asked = false;
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, &asked)) {
    found.emplace_back(next);
  }
  ERR_clear_error();
  return found;
}

KeyPtr PrivateKeyIn(absl::string_view pem, bool& asked) {
  const BioPtr bio = ReadingBio(pem);
  asked = false;
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, &asked));
  ERR_clear_error();
  return key;
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string CommonNameOf(const X509_NAME& name) {
  const int position = X509_NAME_get_index_by_NID(&name, NID_commonName, -1);
  if (position < 0) return "";
  return TextOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(&name, position)));
}

std::string SerialOf(const X509& certificate) {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(&certificate);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
                        static_cast<size_t>(ASN1_STRING_length(serial))));
}

AlternativeNames NamesOf(const X509& certificate) {
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  AlternativeNames found;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    std::vector<std::string>* kind = nullptr;
    std::string text;
    if (name->type == GEN_URI) {
      kind = &found.uris;
      text = TextOf(name->d.uniformResourceIdentifier);
    } else if (name->type == GEN_DNS) {
      kind = &found.dns;
      text = TextOf(name->d.dNSName);
    } else if (name->type == GEN_IPADD) {
      kind = &found.addresses;
      text = AddressOf(name->d.iPAddress);
    }
    if (kind == nullptr) continue;
    if (found.foremost.empty() || (name->type == GEN_URI && found.uris.empty())) {
      found.foremost = text;
    }
    kind->push_back(std::move(text));
  }
  return found;
}

std::string SubjectOf(const X509& certificate) {
  const std::string foremost = NamesOf(certificate).foremost;
  return foremost.empty() ? CommonNameOf(*X509_get_subject_name(&certificate)) : foremost;
}

}  // namespace muster
