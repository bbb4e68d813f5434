#include "storage/tls/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <arpa/inet.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/posix_file.h"

namespace muster {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{1} << 20;
// What is shown of a name that a certificate may hold: they have no bound of their own.
constexpr size_t kMaxSubjectBytes = 256;

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* value) const {
    Free(value);
  }
};
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;

absl::Status Unusable(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kTlsFilesUnusable,
                   absl::StrCat("\"", path, "\": ", what), {{"file", path}});
}

absl::StatusOr<std::string> ReadPem(const std::string& path, bool secret) {
  MUSTER_ASSIGN_OR_RETURN(
      const OpenedFile file,
      OpenRegularFile(path, absl::StrCat("\"", path, "\""), absl::StatusCode::kInvalidArgument));
  if (file.info.st_size > kMaxFileBytes) {
    return Unusable(path, absl::StrCat("has ", file.info.st_size,
                                       " bytes; a PEM file of a certificate or key has a few "
                                       "thousand"));
  }
  // A group is let in, as Kubernetes mounts secrets for one.
  if (secret && (file.info.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) != 0) {
    return Unusable(path, "others than its owner can open this private key; `chmod 600` it");
  }
  std::string pem(static_cast<size_t>(file.info.st_size), '\0');
  MUSTER_RETURN_IF_ERROR(ReadAt(file.fd.get(), path, 0, absl::MakeSpan(pem)));
  return pem;
}

std::vector<Certificate> CertificatesIn(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<Certificate> found;
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    found.emplace_back(next);
  }
  ERR_clear_error();
  return found;
}

// Set to true when asked for a passphrase, which there is nobody to type.
int NoPassphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

absl::StatusOr<Key> KeyIn(const std::string& path, const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  bool asked = false;
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, &asked));
  ERR_clear_error();
  if (key != nullptr) return key;
  return Unusable(path, asked ? "this private key has a passphrase; keys of services have none"
                              : "holds no private key in PEM form");
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

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

std::string CommonNameOf(const X509& certificate) {
  const X509_NAME* name = X509_get_subject_name(&certificate);
  const int position = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (position < 0) return "";
  return TextOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, position)));
}

std::string SubjectOf(const X509& certificate) {
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  std::string first;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) return TextOf(name->d.uniformResourceIdentifier);
    if (!first.empty()) continue;
    if (name->type == GEN_DNS) first = TextOf(name->d.dNSName);
    if (name->type == GEN_IPADD) first = AddressOf(name->d.iPAddress);
  }
  return first.empty() ? CommonNameOf(certificate) : first;
}

std::string SerialOf(const X509& certificate) {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(&certificate);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
                        static_cast<size_t>(ASN1_STRING_length(serial))));
}

std::string Date(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

// To the unit that matters.
std::string About(absl::Duration duration) {
  for (const absl::Duration unit : {absl::Hours(24), absl::Hours(1), absl::Minutes(1)}) {
    if (duration < 2 * unit) continue;
    if (unit == absl::Hours(24)) return absl::StrCat(duration / unit, " days");
    return absl::FormatDuration(absl::Trunc(duration, unit));
  }
  return absl::FormatDuration(absl::Trunc(duration, absl::Seconds(1)));
}

absl::Status CheckTime(const std::string& path, const std::string& whose, absl::Time from,
                       absl::Time until, absl::Time now) {
  if (now > until) {
    return Unusable(path, absl::StrCat("the certificate of ", whose, " expired ",
                                       About(now - until), " ago, ", Date(until)));
  }
  if (now < from) {
    return Unusable(
        path, absl::StrCat("the certificate of ", whose, " is not valid before ", Date(from), ", ",
                           About(from - now), " from now; is the clock of this machine right?"));
  }
  return absl::OkStatus();
}

absl::Status ReadIdentity(const TlsFiles& files, absl::Time now, TlsMaterial& out) {
  if (files.certificate.empty() || files.key.empty()) {
    const std::string& given = files.certificate.empty() ? files.key : files.certificate;
    return Unusable(given, files.certificate.empty()
                               ? "is a private key without a certificate; name both"
                               : "is a certificate without its private key; name both");
  }
  MUSTER_ASSIGN_OR_RETURN(out.certificate_pem, ReadPem(files.certificate, /*secret=*/false));
  MUSTER_ASSIGN_OR_RETURN(out.key_pem, ReadPem(files.key, /*secret=*/true));
  const std::vector<Certificate> chain = CertificatesIn(out.certificate_pem);
  if (chain.empty()) return Unusable(files.certificate, "holds no certificate in PEM form");
  MUSTER_ASSIGN_OR_RETURN(const Key key, KeyIn(files.key, out.key_pem));
  const X509& own = *chain.front();
  const bool fits = X509_check_private_key(&own, key.get()) == 1;
  ERR_clear_error();
  if (!fits) {
    return Unusable(files.key, absl::StrCat("is not the private key of the certificate in \"",
                                            files.certificate, "\"; both have to be of one issue"));
  }
  out.subject = SubjectOf(own);
  out.serial = SerialOf(own);
  out.valid_from = TimeOf(X509_get0_notBefore(&own));
  out.valid_until = TimeOf(X509_get0_notAfter(&own));
  return CheckTime(files.certificate, out.subject, out.valid_from, out.valid_until, now);
}

absl::Status ReadAuthority(const std::string& path, absl::Time now, std::string& pem) {
  MUSTER_ASSIGN_OR_RETURN(pem, ReadPem(path, /*secret=*/false));
  const std::vector<Certificate> authorities = CertificatesIn(pem);
  if (authorities.empty())
    return Unusable(path, "holds no certificate of an authority in PEM form");
  absl::Status none;
  for (const Certificate& authority : authorities) {
    const absl::Status valid =
        CheckTime(path, absl::StrCat("the authority ", CommonNameOf(*authority)),
                  TimeOf(X509_get0_notBefore(authority.get())),
                  TimeOf(X509_get0_notAfter(authority.get())), now);
    if (valid.ok()) return valid;
    none = valid;
  }
  return none;
}

}  // namespace

absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files, absl::Time now) {
  TlsMaterial out;
  if (!files.certificate.empty() || !files.key.empty()) {
    MUSTER_RETURN_IF_ERROR(ReadIdentity(files, now, out));
  }
  if (!files.authority.empty()) {
    MUSTER_RETURN_IF_ERROR(ReadAuthority(files.authority, now, out.authority_pem));
  }
  return out;
}

}  // namespace muster
