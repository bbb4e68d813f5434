#include "server/rpc/server_tls.h"

#include <errno.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/file_error.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

// How often gRPC looks whether its link leads elsewhere.
constexpr unsigned int kGrpcLooksEverySeconds = 1;
constexpr char kLink[] = "current";
constexpr char kCertificate[] = "certificate.pem";
constexpr char kKey[] = "key.pem";
constexpr char kAuthority[] = "authority.pem";

grpc_ssl_client_certificate_request_type RequestType(ClientAuth auth) {
  switch (auth) {
    case ClientAuth::kNone:
      return GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    case ClientAuth::kOptional:
      return GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
    case ClientAuth::kRequire:
      return GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  return GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
}

std::shared_ptr<grpc::ServerCredentials> CredentialsFrom(const std::string& folder,
                                                         const ServerTls::Options& options) {
  const bool believes = !options.files.authority.empty();
  const auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      absl::StrCat(folder, "/", kKey), absl::StrCat(folder, "/", kCertificate),
      believes ? absl::StrCat(folder, "/", kAuthority) : "", kGrpcLooksEverySeconds);
  grpc::experimental::TlsServerCredentialsOptions credentials(provider);
  // An assertion of gRPC fails without.
  credentials.watch_identity_key_cert_pairs();
  if (believes) credentials.watch_root_certs();
  credentials.set_cert_request_type(believes ? RequestType(options.client_auth)
                                             : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return grpc::experimental::TlsServerCredentials(credentials);
}

// Leads the link `name` to `target` in one step.
absl::Status PointLink(const std::string& name, const std::string& target) {
  const std::string beside = absl::StrCat(name, ".new");
  unlink(beside.c_str());
  if (symlink(target.c_str(), beside.c_str()) != 0)
    return PathError(errno, "make the link", beside);
  if (rename(beside.c_str(), name.c_str()) != 0) return PathError(errno, "rename the link", beside);
  return absl::OkStatus();
}

}  // namespace

void RequireTls13() { setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", /*overwrite=*/0); }

ServerTls::ServerTls(const Options& options, Clock& clock, Observer observer)
    : options_(options), clock_(clock), observer_(std::move(observer)) {}

absl::StatusOr<std::unique_ptr<ServerTls>> ServerTls::Open(const Options& options, Clock& clock,
                                                           Observer observer) {
  std::unique_ptr<ServerTls> tls(new ServerTls(options, clock, std::move(observer)));
  MUSTER_RETURN_IF_ERROR(
      MakeDirectories(options.directory, options.directory, {.mode = 0700}).status());
  tls->seen_ = tls->StateOfFiles();
  MUSTER_RETURN_IF_ERROR(tls->Load());
  tls->credentials_ = CredentialsFrom(absl::StrCat(options.directory, "/", kLink), options);
  tls->TellOfExpiry();
  return tls;
}

ServerTls::~ServerTls() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    stop_changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

std::string ServerTls::StateOfFiles() const {
  std::string state;
  for (const std::string* path :
       {&options_.files.certificate, &options_.files.key, &options_.files.authority}) {
    struct stat info = {};
    if (path->empty() || stat(path->c_str(), &info) != 0) info = {};
    absl::StrAppend(&state, info.st_dev, ":", info.st_ino, ":", info.st_size, ":", info.st_mode,
                    ":", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, ":", info.st_ctim.tv_sec,
                    ".", info.st_ctim.tv_nsec, " ");
  }
  return state;
}

absl::Status ServerTls::Load() {
  read_ = seen_;
  MUSTER_ASSIGN_OR_RETURN(TlsMaterial material, ReadTlsFiles(options_.files, clock_.Now()));
  MUSTER_RETURN_IF_ERROR(Stage(material));
  present_ = std::move(material);
  told_third_ = false;
  told_end_ = false;
  observer_.loaded(present_);
  return absl::OkStatus();
}

absl::Status ServerTls::Stage(const TlsMaterial& material) {
  // The folder that the link does not lead to: gRPC may be reading in the other one.
  slot_ = 1 - slot_;
  const std::string name = slot_ == 0 ? "a" : "b";
  const std::string folder = absl::StrCat(options_.directory, "/", name);
  MUSTER_RETURN_IF_ERROR(MakeDirectories(folder, folder, {.mode = 0700}).status());
  const auto write = [&](const char* file, const std::string& pem) {
    return pem.empty() ? absl::OkStatus() : WriteWholeFile(absl::StrCat(folder, "/", file), pem);
  };
  MUSTER_RETURN_IF_ERROR(write(kCertificate, material.certificate_pem));
  MUSTER_RETURN_IF_ERROR(write(kKey, material.key_pem));
  MUSTER_RETURN_IF_ERROR(write(kAuthority, material.authority_pem));
  return PointLink(absl::StrCat(options_.directory, "/", kLink), name);
}

void ServerTls::Look() {
  if (observer_.looking) observer_.looking();
  const std::string state = StateOfFiles();
  // Whoever writes them one after the other is given until the next look.
  const bool settled = state == seen_;
  seen_ = state;
  if (settled && state != read_) {
    if (const absl::Status loaded = Load(); !loaded.ok()) observer_.refused(loaded);
  }
  TellOfExpiry();
}

void ServerTls::TellOfExpiry() {
  const absl::Duration left = present_.valid_until - clock_.Now();
  const bool last_third = left < (present_.valid_until - present_.valid_from) / 3;
  const bool over = left <= absl::ZeroDuration();
  if ((over && !std::exchange(told_end_, true)) ||
      (last_third && !std::exchange(told_third_, true))) {
    observer_.expiring(present_, left);
  }
}

void ServerTls::Start() {
  thread_ = std::thread([this] { Run(); });
}

void ServerTls::Run() {
  while (true) {
    Look();
    MutexLock lock(mutex_);
    const absl::Duration next = clock_.Monotonic() + options_.interval;
    while (!stopped_ && clock_.Monotonic() < next) {
      stop_changed_.WaitFor(mutex_, next - clock_.Monotonic());
    }
    if (stopped_) return;
  }
}

}  // namespace muster
