// What `musterd --secure` needs and makes itself: an authority, certificates of the server and of its admin, a policy.
//
// In DATA/tls/authority, which only its owner can look into: ca, server and admin, each .crt and .key, as `muster certs
// init` makes them. A later start uses what is there. Whoever takes ca.key or the admin's files away to keep them
// elsewhere finds them not made again.
#ifndef MUSTER_SERVER_SECURE_START_H_
#define MUSTER_SERVER_SECURE_START_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/tls/authority.h"
#include "storage/tls/cluster_certificates.h"
#include "storage/tls/tls_files.h"

namespace muster {

// The host's name, which comes first, "localhost", and the addresses that this machine has now, at most 200; those of
// one link only are left out.
std::vector<std::string> NamesOfThisMachine();

// Used by one thread at a time.
class SecureStart {
 public:
  struct Options {
    // Exists.
    std::string data_dir;
    std::string cluster_id;
    // By which names and addresses the server is reached; the first is the one to tell others.
    std::vector<std::string> names;
  };

  // Makes what is missing of the above, the server's certificate also where one of the names is not in it, or where it
  // is due (see Look); where that can't be, the one before does while it is valid. kFailedPrecondition: the authority
  // is of another cluster, incomplete, or over; kInvalidArgument: the cluster's id or a name can't stand in a
  // certificate; else what keeps the files from being read and written. The clock outlives it.
  static absl::StatusOr<std::unique_ptr<SecureStart>> Open(const Options& options, Clock& clock);

  // For ServerTls.
  TlsFiles files() const;
  const std::string& policy_file() const { return policy_file_; }
  // Of the authority.
  const std::string& pin() const { return pin_; }
  // Takes the paths of what was made since the last call.
  std::vector<std::string> TakeMade();

  // Renews, with a new key, the server's certificate and the admin's once two thirds of their time are over. Looks
  // at the files every 10 s at most, however often it is called. An error is returned once, and tried again.
  absl::Status Look();

  // For a person: how an admin uses the server on this machine, and how a node joins. Two lines. `address` is
  // what it listens on.
  std::string Instructions(absl::string_view address) const;

 private:
  SecureStart(const Options& options, Clock& clock);

  absl::Status MakeAuthority();
  absl::Status ReadAuthority();
  absl::Status MakePolicy();
  // Why a new certificate of the server is to be made; "" where none is.
  std::string WhyServerIsDue() const;
  bool IsAdminDue() const;
  absl::StatusOr<CertificateOrder> OrderOfServer() const;
  absl::StatusOr<CertificateOrder> OrderOfAdmin() const;
  absl::Status RenewWhatIsDue();
  absl::Status Renew(const PairFiles& files, const absl::StatusOr<CertificateOrder>& order);

  const Options options_;
  Clock& clock_;
  const std::string directory_;
  const std::string policy_file_;
  const PairFiles authority_files_;
  const PairFiles server_files_;
  const PairFiles admin_files_;
  // Without a key where that was taken away.
  KeyPair authority_;
  std::string pin_;
  std::vector<std::string> made_;
  absl::Duration next_look_ = absl::ZeroDuration();
  std::string told_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_SECURE_START_H_
