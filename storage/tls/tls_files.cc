#include "storage/tls/tls_files.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/posix_file.h"
#include "storage/tls/x509_values.h"

namespace muster {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{1} << 20;

absl::Status Unusable(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kTlsFilesUnusable,
                   absl::StrCat("\"", path, "\": ", what), {{"file", path}});
}

absl::StatusOr<KeyPtr> KeyIn(const std::string& path, const std::string& pem) {
  bool asked = false;
  KeyPtr key = PrivateKeyIn(pem, asked);
  if (key != nullptr) return key;
  return Unusable(path, asked ? "this private key has a passphrase; keys of services have none"
                              : "holds no private key in PEM form");
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
  MUSTER_ASSIGN_OR_RETURN(out.certificate_pem, ReadPemFile(files.certificate, /*secret=*/false));
  MUSTER_ASSIGN_OR_RETURN(out.key_pem, ReadPemFile(files.key, /*secret=*/true));
  const std::vector<CertificatePtr> chain = CertificatesIn(out.certificate_pem);
  if (chain.empty()) return Unusable(files.certificate, "holds no certificate in PEM form");
  MUSTER_ASSIGN_OR_RETURN(const KeyPtr key, KeyIn(files.key, out.key_pem));
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
  MUSTER_ASSIGN_OR_RETURN(pem, ReadPemFile(path, /*secret=*/false));
  const std::vector<CertificatePtr> authorities = CertificatesIn(pem);
  if (authorities.empty())
    return Unusable(path, "holds no certificate of an authority in PEM form");
  absl::Status none;
  for (const CertificatePtr& authority : authorities) {
    const absl::Status valid = CheckTime(
        path, absl::StrCat("the authority ", CommonNameOf(*X509_get_subject_name(authority.get()))),
        TimeOf(X509_get0_notBefore(authority.get())), TimeOf(X509_get0_notAfter(authority.get())),
        now);
    if (valid.ok()) return valid;
    none = valid;
  }
  return none;
}

}  // namespace

absl::StatusOr<std::string> ReadPemFile(const std::string& path, bool secret) {
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
