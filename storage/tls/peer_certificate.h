// What the certificate that another end of a connection has shown says of its owner.
#ifndef MUSTER_STORAGE_TLS_PEER_CERTIFICATE_H_
#define MUSTER_STORAGE_TLS_PEER_CERTIFICATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace muster {

struct PeerCertificate {
  // As they are in the certificate, byte by byte: with NULs, where it has some. Nobody has checked them.
  std::vector<std::string> uris;
  std::vector<std::string> dns;
  // The last one of the subject; "" without one.
  std::string common_name;
  // In lowercase hex.
  std::string serial;
  absl::Time valid_until;
};

// Reads the first certificate of a PEM text. That it leads to an authority is TLS's to check. kInvalidArgument
// TLS_FILES_UNUSABLE: there is none, or it is longer than 64 KiB.
absl::StatusOr<PeerCertificate> ReadPeerCertificate(absl::string_view pem);

}  // namespace muster

#endif  // MUSTER_STORAGE_TLS_PEER_CERTIFICATE_H_
