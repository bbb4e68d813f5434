#include "storage/tls/tls_handshake.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "absl/strings/strip.h"
#include "storage/base/clock.h"

namespace muster {
namespace {

// gRPC speaks HTTP/2, and its servers close what does not offer it.
constexpr unsigned char kAlpn[] = {2, 'h', '2'};

}  // namespace

HandshakeDeadline::HandshakeDeadline(absl::Duration timeout)
    : end_(SystemClock().Monotonic() + timeout) {}

bool HandshakeDeadline::Await(int fd, short events) const {
  const absl::Duration left = end_ - SystemClock().Monotonic();
  pollfd wait{fd, events, 0};
  return poll(&wait, 1, std::max(0, static_cast<int>(absl::ToInt64Milliseconds(left)))) > 0;
}

HostAndPort SplitServer(absl::string_view server) {
  const size_t colon = server.rfind(':');
  if (colon == absl::string_view::npos) return {};
  absl::string_view host = server.substr(0, colon);
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  return {std::string(host), std::string(server.substr(colon + 1))};
}

UniqueFd ConnectTo(const HostAndPort& server, const HandshakeDeadline& deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(server.host.c_str(), server.port.c_str(), &hints, &found) != 0) return UniqueFd();
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

TlsContext NewClientContext(int verify) {
  TlsContext context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_verify(context.get(), verify, nullptr);
  SSL_CTX_set_alpn_protos(context.get(), kAlpn, sizeof(kAlpn));
  return context;
}

HandshakeStep FinishStep(SSL& session, int fd, const HandshakeDeadline& deadline,
                         absl::FunctionRef<int()> step) {
  while (true) {
    ERR_clear_error();
    const int result = step();
    if (result > 0) return HandshakeStep::kDone;
    const int error = SSL_get_error(&session, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
      return HandshakeStep::kFailed;
    if (!deadline.Await(fd, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT)) {
      return HandshakeStep::kOverdue;
    }
  }
}

}  // namespace muster
