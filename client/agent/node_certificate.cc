#include "client/agent/node_certificate.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/status_macros.h"
#include "storage/files/posix_file.h"
#include "storage/files/staged_file.h"
#include "storage/tls/authority.h"

namespace muster {
namespace {

constexpr char kAuthority[] = "ca.crt";
constexpr char kIdentity[] = "node.pem";
constexpr char kEnrolling[] = "enrolling.key";
constexpr int64_t kMaxPemBytes = int64_t{256} << 10;

// "" where there is no such file.
absl::StatusOr<std::string> ReadPemFile(const std::string& path, absl::Time* written = nullptr) {
  const absl::StatusOr<OpenedFile> file = OpenRegularFile(path, path);
  if (absl::IsNotFound(file.status())) return std::string();
  MUSTER_RETURN_IF_ERROR(file.status());
  if (file->info.st_size > kMaxPemBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": has ", file->info.st_size, " bytes; remove it, and enrol again"));
  }
  std::string text(static_cast<size_t>(file->info.st_size), '\0');
  MUSTER_RETURN_IF_ERROR(ReadAt(file->fd.get(), path, 0, absl::MakeSpan(text)));
  if (written != nullptr) *written = absl::TimeFromTimespec(file->info.st_mtim);
  return text;
}

}  // namespace

NodeCertificate::NodeCertificate(NodeFolder folder, absl::string_view node)
    : folder_(std::move(folder)), node_(node) {}

std::string NodeCertificate::Path(absl::string_view name) const {
  return absl::StrCat(folder_.path(), "/", name);
}

TlsFiles NodeCertificate::files() const {
  return {.certificate = Path(kIdentity), .key = Path(kIdentity), .authority = Path(kAuthority)};
}

absl::StatusOr<std::optional<NodeCertificate::Life>> NodeCertificate::Read() const {
  absl::Time written;
  MUSTER_ASSIGN_OR_RETURN(const std::string pem, ReadPemFile(Path(kIdentity), &written));
  if (pem.empty()) return std::nullopt;
  MUSTER_ASSIGN_OR_RETURN(const CertificateFacts facts, FactsOf(pem));
  // Its own beginning lies before the moment of its issue, for clocks that are behind.
  return Life{std::clamp(written, facts.valid_from, facts.valid_until), facts.valid_until};
}

absl::StatusOr<std::string> NodeCertificate::Authority() const {
  return ReadPemFile(Path(kAuthority));
}

absl::Status NodeCertificate::KeepAuthority(absl::string_view pem) const {
  MUSTER_RETURN_IF_ERROR(folder_.Make());
  return WriteSecretFile(Path(kAuthority), pem, /*may_replace=*/true);
}

absl::Status NodeCertificate::Keep(const std::string& key_pem,
                                   const std::string& certificate_pem) const {
  MUSTER_RETURN_IF_ERROR(folder_.Make());
  // Checked under another name, so that the present pair stays until the next one is good.
  const std::string beside = Path(absl::StrCat(kIdentity, ".next"));
  MUSTER_RETURN_IF_ERROR(
      WriteSecretFile(beside, absl::StrCat(key_pem, certificate_pem), /*may_replace=*/true));
  MUSTER_ASSIGN_OR_RETURN(const CertificateFacts facts, FactsOf(certificate_pem));
  // Whatever this machine's clock says: only whether the two fit each other.
  MUSTER_RETURN_IF_ERROR(
      ReadTlsFiles({.certificate = beside, .key = beside}, facts.valid_from).status());
  return WriteSecretFile(Path(kIdentity), absl::StrCat(key_pem, certificate_pem),
                         /*may_replace=*/true);
}

absl::Status NodeCertificate::Enrol(Client& client, absl::string_view token,
                                    const CallOptions& options) const {
  MUSTER_RETURN_IF_ERROR(folder_.Make());
  const std::string enrolling = Path(kEnrolling);
  MUSTER_ASSIGN_OR_RETURN(std::string key, ReadPemFile(enrolling));
  if (key.empty()) {
    MUSTER_ASSIGN_OR_RETURN(key, NewPrivateKey());
    MUSTER_RETURN_IF_ERROR(WriteSecretFile(enrolling, key, /*may_replace=*/true));
  }
  v1::EnrolRequest request;
  request.set_token(std::string(token));
  request.set_node(node_);
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_certificate_request_pem(),
                          NewRequest(key, absl::StripPrefix(node_, "nodes/")));
  MUSTER_ASSIGN_OR_RETURN(const auto response, client.Enrol(request, options));
  MUSTER_RETURN_IF_ERROR(Keep(key, response.certificate_pem()));
  unlink(enrolling.c_str());
  return absl::OkStatus();
}

absl::Status NodeCertificate::Renew(Client& client, const CallOptions& options) const {
  v1::RenewCertificateRequest request;
  request.set_node(node_);
  MUSTER_ASSIGN_OR_RETURN(const std::string key, NewPrivateKey());
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_certificate_request_pem(),
                          NewRequest(key, absl::StripPrefix(node_, "nodes/")));
  MUSTER_ASSIGN_OR_RETURN(const auto response, client.RenewCertificate(request, options));
  return Keep(key, response.certificate_pem());
}

}  // namespace muster
