// Which certificates a cluster has, what is in them, and the files that they are in: what `musterd --secure` and
// `muster certs` make is the same.
//
// Thread-safe: pure functions, but for those that read and write files. Errors are kInvalidArgument unless a
// function says otherwise.
#ifndef MUSTER_STORAGE_TLS_CLUSTER_CERTIFICATES_H_
#define MUSTER_STORAGE_TLS_CLUSTER_CERTIFICATES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/tls/authority.h"

namespace muster {

inline constexpr absl::Duration kAuthorityTime = absl::Hours(24 * 3'650);
inline constexpr absl::Duration kServerCertificateTime = absl::Hours(24 * 90);
inline constexpr absl::Duration kUserCertificateTime = absl::Hours(24 * 365);
inline constexpr absl::Duration kNodeCertificateTime = absl::Hours(24 * 7);

// Names of files, without what follows the dot; see PairFiles.
inline constexpr char kAuthorityFile[] = "ca";
inline constexpr char kServerFile[] = "server";
inline constexpr char kAdminFile[] = "admin";
// Whom the admin's certificate names.
inline constexpr char kAdmin[] = "user/admin";

// The paths of DIRECTORY/NAME.crt and DIRECTORY/NAME.key.
struct PairFiles {
  PairFiles(absl::string_view directory, absl::string_view name);

  std::string certificate;
  std::string key;
};

// Whether it can stand in the names of certificates: 1 to 63 lowercase letters, digits, "-", "_" and ".", no two dots
// in a row.
absl::Status CheckClusterName(absl::string_view cluster);

// "node/n1" or "user/alice" as spiffe://`cluster`/node/n1. Names of nodes are those of storage/base/resource_name.h;
// those of users may have a "@", too.
absl::StatusOr<std::string> IdentityUri(absl::string_view cluster, absl::string_view who);

// Its certificate is for `cluster`, which it names as spiffe://`cluster`.
absl::StatusOr<KeyPair> NewClusterAuthority(absl::string_view cluster, absl::Time now);

// The cluster that an authority is for. kFailedPrecondition where its certificate names none.
absl::StatusOr<std::string> ClusterOf(absl::string_view authority_pem);

// The default time of whom `who` is.
absl::Duration CertificateTimeOf(absl::string_view who);

// For a client that is `who`, as above.
absl::StatusOr<CertificateOrder> IdentityOrder(absl::string_view cluster, absl::string_view who,
                                               absl::Time now, absl::Duration lasting);

// For a server that is reached by these host names and addresses.
absl::StatusOr<CertificateOrder> ServerOrder(absl::Span<const std::string> hosts, absl::Time now,
                                             absl::Duration lasting);

// Reads DIRECTORY/ca.crt and DIRECTORY/ca.key; fails as ReadPemFile does.
absl::StatusOr<KeyPair> ReadAuthorityFiles(const std::string& directory);

// kAlreadyExists where one of them is there.
absl::Status CheckFree(const PairFiles& files);

// The key, then the certificate, so that whoever finds the certificate finds both; the key is for its owner's eyes
// only. kAlreadyExists where one of them is there and `may_replace` is not set. Else fails as WriteSecretFile does.
absl::Status WritePair(const PairFiles& files, const KeyPair& pair, bool may_replace);

}  // namespace muster

#endif  // MUSTER_STORAGE_TLS_CLUSTER_CERTIFICATES_H_
