// Why a connection to a server failed, found out by trying once.
#ifndef MUSTER_STORAGE_TLS_TLS_PROBE_H_
#define MUSTER_STORAGE_TLS_TLS_PROBE_H_

#include <string>

#include "absl/time/time.h"
#include "storage/tls/tls_files.h"

namespace muster {

struct TlsProbeOptions {
  // "host:port".
  std::string server;
  // What this end shows and believes; without an authority those of the system.
  TlsFiles files;
  // The name that the server's certificate has to have; "" means the host of `server`.
  std::string server_name;
  // Of the whole attempt.
  absl::Duration timeout = absl::Seconds(2);
};

// What happens on a handshake.
struct TlsProbe {
  enum class Outcome {
    // It succeeds, so that TLS is not what is wrong.
    kGood,
    // Nobody listens, or nobody answers in time.
    kNoConnection,
    // Whoever listens does not speak TLS.
    kPlaintext,
    // The server's certificate does not lead to an authority, or its time is over; `why` says so in OpenSSL's words.
    kServerRefused,
    // The server's certificate names others.
    kNameDiffers,
    // The server refuses this end: its certificate, or that there is none. A server that is stopped just after the
    // handshake looks the same, once.
    kClientRefused,
    // Whoever listens closed the connection in the middle of the handshake, as a server does that is being stopped.
    kClosed,
  };
  Outcome outcome = Outcome::kNoConnection;
  // A phrase for people; may be empty.
  std::string why;
};

// Connects, shakes hands and closes. Blocks for up to the timeout, and for as long as a name server takes.
TlsProbe ProbeTls(const TlsProbeOptions& options);

}  // namespace muster

#endif  // MUSTER_STORAGE_TLS_TLS_PROBE_H_
