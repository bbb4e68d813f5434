#include "storage/tls/tls_probe.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "storage/files/unique_fd.h"
#include "storage/tls/tls_handshake.h"

namespace muster {
namespace {

// Alerts that the other end sends are reasons from here on.
constexpr int kFirstAlert = SSL_AD_REASON_OFFSET;

TlsContext MakeContext(const TlsFiles& files) {
  TlsContext context = NewClientContext(SSL_VERIFY_PEER);
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

}  // namespace

TlsProbe ProbeTls(const TlsProbeOptions& options) {
  const HostAndPort server = SplitServer(options.server);
  if (server.port.empty()) return {};
  const HandshakeDeadline deadline(options.timeout);
  const UniqueFd fd = ConnectTo(server, deadline);
  if (!fd.valid()) return {};
  const TlsContext context = MakeContext(options.files);
  const TlsSession session(SSL_new(context.get()));
  ExpectName(*session, options.server_name.empty() ? server.host : options.server_name);
  SSL_set_fd(session.get(), fd.get());
  HandshakeStep step =
      FinishStep(*session, fd.get(), deadline, [&] { return SSL_connect(session.get()); });
  const bool shook = step == HandshakeStep::kDone;
  if (shook) {
    // In TLS 1.3 a server judges the certificate after this end is done; one that is content speaks
    // first in HTTP/2.
    char first = 0;
    step = FinishStep(*session, fd.get(), deadline,
                      [&] { return SSL_read(session.get(), &first, 1); });
  }
  switch (step) {
    case HandshakeStep::kDone:
      return {TlsProbe::Outcome::kGood, ""};
    case HandshakeStep::kFailed:
      return WhyItFailed(*session, shook);
    case HandshakeStep::kOverdue:
      return {TlsProbe::Outcome::kNoConnection, "it answers nothing"};
  }
  return {};
}

}  // namespace muster
