// One handshake as a client, by OpenSSL itself, with an end to its waiting. For this folder alone.
#ifndef MUSTER_STORAGE_TLS_TLS_HANDSHAKE_H_
#define MUSTER_STORAGE_TLS_TLS_HANDSHAKE_H_

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/files/unique_fd.h"

namespace muster {

struct FreeTlsContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeTlsSession {
  void operator()(SSL* session) const { SSL_free(session); }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeTlsContext>;
using TlsSession = std::unique_ptr<SSL, FreeTlsSession>;

// A value; thread-safe.
class HandshakeDeadline {
 public:
  // From now on.
  explicit HandshakeDeadline(absl::Duration timeout);

  // Waits for the poll events; false when the time is over.
  bool Await(int fd, short events) const;

 private:
  absl::Duration end_;
};

// "host" and "port" of "host:port", without the brackets of an IPv6 address; "" where there is no colon.
struct HostAndPort {
  std::string host;
  std::string port;
};
HostAndPort SplitServer(absl::string_view server);

// A connection to the first address of the host that takes one; not valid where none does. Blocks for as long as a name
// server takes, too.
UniqueFd ConnectTo(const HostAndPort& server, const HandshakeDeadline& deadline);

// Speaks HTTP/2, as gRPC's servers close what does not; checks what `verify` says (SSL_VERIFY_PEER or SSL_VERIFY_NONE).
TlsContext NewClientContext(int verify);

enum class HandshakeStep { kDone, kFailed, kOverdue };

// Carries `step`, which is SSL_connect or SSL_read and returns what that does, on until it is done.
HandshakeStep FinishStep(SSL& session, int fd, const HandshakeDeadline& deadline,
                         absl::FunctionRef<int()> step);

}  // namespace muster

#endif  // MUSTER_STORAGE_TLS_TLS_HANDSHAKE_H_
