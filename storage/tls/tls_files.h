// The PEM files with which one end of a connection says who it is and whom it believes.
#ifndef MUSTER_STORAGE_TLS_TLS_FILES_H_
#define MUSTER_STORAGE_TLS_TLS_FILES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace muster {

// Paths; "" where there is none. A certificate and its key come together.
struct TlsFiles {
  // The certificate, perhaps followed by those that lead from it to an authority.
  std::string certificate = "";
  // Its private key, without a passphrase.
  std::string key = "";
  // Certificates of authorities; what the other end shows has to lead to one of them.
  std::string authority = "";

  bool empty() const { return certificate.empty() && key.empty() && authority.empty(); }
  bool operator==(const TlsFiles&) const = default;
};

// What was in them, as it was in one moment. Holds a private key: not for logs.
struct TlsMaterial {
  std::string certificate_pem;
  std::string key_pem;
  std::string authority_pem;

  // Of the first certificate; empty where there is none.
  // Whom it names: its first URI, or else its first DNS name or IP address, or its common name.
  std::string subject;
  // In lowercase hex.
  std::string serial;
  absl::Time valid_from;
  absl::Time valid_until;
};

// Reads and checks them.
//
// kInvalidArgument TLS_FILES_UNUSABLE, with the file in the metadata: one of certificate and key is missing; a file
// is no regular file, above 1 MiB, or has nothing in it of what it should; the key is not the certificate's, has a
// passphrase, or may be read by others than its owner and group or written by others than its owner; `now` is not
// within the time of the certificate, or of any authority. kNotFound, kPermissionDenied: as the system says.
absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files, absl::Time now);

// One of them, as it is: a regular file of at most 1 MiB; a `secret` one is its owner's alone, as above. Fails as
// ReadTlsFiles does.
absl::StatusOr<std::string> ReadPemFile(const std::string& path, bool secret);

}  // namespace muster

#endif  // MUSTER_STORAGE_TLS_TLS_FILES_H_
