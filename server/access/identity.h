// Who calls: what a certificate or a token says.
//
// Thread-safe: values and pure functions. Refusals are kUnauthenticated with reason CREDENTIAL_REFUSED; they quote what
// they refuse, cut and escaped, and never a secret.
#ifndef MUSTER_SERVER_ACCESS_IDENTITY_H_
#define MUSTER_SERVER_ACCESS_IDENTITY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace muster {

struct Identity {
  enum class Kind {
    // Showed nothing.
    kAnonymous,
    // Came over loopback to a server without TLS: whoever is on the machine, as musterd's owner is.
    kLocal,
    kUser,
    kNode,
  };
  enum class Proof { kNone, kCertificate, kToken };

  Kind kind = Kind::kAnonymous;
  // Of a user or a node: "alice", "n1".
  std::string name;
  Proof proof = Proof::kNone;
  // The certificate's serial number in lowercase hex without leading zeros, or the token's id.
  std::string credential;
  // When the proof ends; no later call counts.
  absl::Time expires = absl::InfiniteFuture();
  // Of a token: the SHA-256 that the policy knew it by, so that another secret of the same id is another token.
  std::string token_digest = "";

  static Identity Local() { return Of(Kind::kLocal, ""); }
  static Identity User(absl::string_view name) { return Of(Kind::kUser, name); }
  static Identity Node(absl::string_view name) { return Of(Kind::kNode, name); }
  static Identity Of(Kind kind, absl::string_view name) {
    Identity identity;
    identity.kind = kind;
    identity.name = std::string(name);
    return identity;
  }

  // "user/alice", "node/n1", "anonymous" or "local": what policies and messages call it.
  std::string Who() const;
};

// What a verified certificate says of its owner, as TLS told it.
struct CertificateNames {
  std::vector<std::string> uris;
  std::vector<std::string> dns;
  std::string common_name;
  // Hex of either case; colons and leading zeros are dropped.
  std::string serial;
};

// One line of a policy's `match`: which certificates of another PKI are whom.
struct CertificateMatch {
  enum class Field { kUri, kDns, kCommonName };

  Field field = Field::kUri;
  // With at most one "{name}", which stands for a name that does not hold the character that follows it.
  std::string pattern;
  // "user/" or "node/" with a name, in which "{name}" is what it stood for in the pattern.
  std::string as;
};

// Checks both sides of a match. kInvalidArgument says what is wrong.
absl::Status CheckMatch(const CertificateMatch& match);

// The first that applies: the URI spiffe://`cluster`/node/NAME or …/user/NAME; then `matches` in their order. Refuses
// two URIs that differ, a URI of the cluster of another form, and any name that is looked at and could be read in two
// ways: with a NUL or another control character, a wildcard, "..", percent codes, an upper-case scheme or host.
absl::StatusOr<Identity> IdentityOf(const CertificateNames& names, absl::string_view cluster,
                                    absl::Span<const CertificateMatch> matches);

// "3FA2:00" and "003fa200" are "3fa200". "" for what is not hex, or nothing but zeros.
std::string NormalSerial(absl::string_view serial);

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_IDENTITY_H_
