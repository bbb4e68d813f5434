#include "storage/tls/tls_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/clock.h"
#include "storage/files/unique_fd.h"

namespace muster {
namespace {

// gRPC speaks HTTP/2, and its servers close what does not offer it.
constexpr unsigned char kAlpn[] = {2, 'h', '2'};
// Alerts that the other end sends are reasons from here on.
constexpr int kFirstAlert = SSL_AD_REASON_OFFSET;

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeSession {
  void operator()(SSL* session) const { SSL_free(session); }
};
using Context = std::unique_ptr<SSL_CTX, FreeContext>;
using Session = std::unique_ptr<SSL, FreeSession>;

class Deadline {
 public:
  explicit Deadline(absl::Duration timeout) : end_(SystemClock().Monotonic() + timeout) {}

  // False when it is over.
  bool Await(int fd, short events) const {
    const absl::Duration left = end_ - SystemClock().Monotonic();
    pollfd wait{fd, events, 0};
    return poll(&wait, 1, std::max(0, static_cast<int>(absl::ToInt64Milliseconds(left)))) > 0;
  }

 private:
  const absl::Duration end_;
};

UniqueFd Connect(const std::string& host, const std::string& port, const Deadline& deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return UniqueFd();
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, freeaddrinfo);
  for (const addrinfo* next = found; next != nullptr; next = next->ai_next) {
    UniqueFd fd(socket(next->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) continue;
    if (connect(fd.get(), next->ai_addr, next->ai_addrlen) == 0) return fd;
    if (errno != EINPROGRESS || !deadline.Await(fd.get(), POLLOUT)) continue;
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) return fd;
  }
  return UniqueFd();
}

Context MakeContext(const TlsFiles& files) {
  Context context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_alpn_protos(context.get(), kAlpn, sizeof(kAlpn));
  if (files.authority.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else {
    SSL_CTX_load_verify_locations(context.get(), files.authority.c_str(), nullptr);
  }
  if (!files.certificate.empty()) {
    SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str());
    SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM);
  }
  ERR_clear_error();
  return context;
}

void ExpectName(SSL& session, const std::string& name) {
  unsigned char address[sizeof(in6_addr)];
  const bool numeric = inet_pton(AF_INET, name.c_str(), address) == 1 ||
                       inet_pton(AF_INET6, name.c_str(), address) == 1;
  if (numeric) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(&session), name.c_str());
  } else {
    SSL_set1_host(&session, name.c_str());
    SSL_set_tlsext_host_name(&session, name.c_str());
  }
}

// `shook`: this end was done with the handshake, and the other end judges after that.
TlsProbe WhyItFailed(const SSL& session, bool shook) {
  const unsigned long error = ERR_peek_error();
  const int reason = ERR_GET_REASON(error);
  const int64_t verified = SSL_get_verify_result(&session);
  if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    return {TlsProbe::Outcome::kNameDiffers, X509_verify_cert_error_string(verified)};
  }
  if (verified != X509_V_OK) {
    return {TlsProbe::Outcome::kServerRefused, X509_verify_cert_error_string(verified)};
  }
  if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
    if (reason >= kFirstAlert) {
      return {TlsProbe::Outcome::kClientRefused, ERR_reason_error_string(error)};
    }
    if (reason == SSL_R_WRONG_VERSION_NUMBER) {
      return {TlsProbe::Outcome::kPlaintext, ""};
    }
    const char* why = ERR_reason_error_string(error);
    if (why != nullptr && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
      return {TlsProbe::Outcome::kClientRefused, why};
    }
  }
  return {shook ? TlsProbe::Outcome::kClientRefused : TlsProbe::Outcome::kClosed,
          "it closed the connection"};
}

enum class Step { kDone, kFailed, kOverdue };

// Carries `step`, which is SSL_connect or SSL_read, on until it is done.
template <typename Try>
Step Finish(SSL& session, int fd, const Deadline& deadline, Try step) {
  while (true) {
    ERR_clear_error();
    const int result = step();
    if (result > 0) return Step::kDone;
    const int error = SSL_get_error(&session, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return Step::kFailed;
    if (!deadline.Await(fd, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT)) {
      return Step::kOverdue;
    }
  }
}

}  // namespace

TlsProbe ProbeTls(const TlsProbeOptions& options) {
  const size_t colon = options.server.rfind(':');
  if (colon == std::string::npos) return {};
  absl::string_view host = absl::string_view(options.server).substr(0, colon);
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  const Deadline deadline(options.timeout);
  const UniqueFd fd = Connect(std::string(host), options.server.substr(colon + 1), deadline);
  if (!fd.valid()) return {};
  const Context context = MakeContext(options.files);
  const Session session(SSL_new(context.get()));
  ExpectName(*session, options.server_name.empty() ? std::string(host) : options.server_name);
  SSL_set_fd(session.get(), fd.get());
  Step step = Finish(*session, fd.get(), deadline, [&] { return SSL_connect(session.get()); });
  const bool shook = step == Step::kDone;
  if (shook) {
    // In TLS 1.3 a server judges the certificate after this end is done; one that is content speaks
    // first in HTTP/2.
    char first = 0;
    step = Finish(*session, fd.get(), deadline, [&] { return SSL_read(session.get(), &first, 1); });
  }
  switch (step) {
    case Step::kDone:
      return {TlsProbe::Outcome::kGood, ""};
    case Step::kFailed:
      return WhyItFailed(*session, shook);
    case Step::kOverdue:
      return {TlsProbe::Outcome::kNoConnection, "it answers nothing"};
  }
  return {};
}

}  // namespace muster
