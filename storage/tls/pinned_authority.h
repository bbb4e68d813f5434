// Gets the certificate of a server's authority from the server itself, known by nothing but its pin.
#ifndef MUSTER_STORAGE_TLS_PINNED_AUTHORITY_H_
#define MUSTER_STORAGE_TLS_PINNED_AUTHORITY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace muster {

// Whether the text is a pin: "sha256:" and 64 lowercase hex digits.
bool IsPin(absl::string_view text);

// The certificate, in PEM form, in the chain that `server` ("host:port") shows whose public key has the digest `pin`
// ("sha256:" and 64 hex digits of the SHA-256 of the SubjectPublicKeyInfo), once the rest of the chain has been found to
// lead to it. Nothing is sent but a handshake; nothing else that the server says is believed. Whom the server's
// certificate names is for the first call to check.
//
// kInvalidArgument: the pin has another form. kUnavailable SERVER_UNREACHABLE: nobody answers there, or it speaks no
// TLS. kFailedPrecondition AUTHORITY_DIFFERS: the chain does not hold the authority, or does not lead to it; metadata
// `server` and `pin`. Blocks for up to the timeout, and for as long as a name server takes.
absl::StatusOr<std::string> FetchPinnedAuthority(const std::string& server, absl::string_view pin,
                                                 absl::Duration timeout);

}  // namespace muster

#endif  // MUSTER_STORAGE_TLS_PINNED_AUTHORITY_H_
