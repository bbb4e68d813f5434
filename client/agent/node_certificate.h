// A node's own certificate, kept beside its cache: got by a join token, and renewed before it ends.
#ifndef MUSTER_CLIENT_AGENT_NODE_CERTIFICATE_H_
#define MUSTER_CLIENT_AGENT_NODE_CERTIFICATE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/agent/node_folder.h"
#include "client/sdk/client.h"
#include "storage/tls/tls_files.h"

namespace muster {

// Files in the node's folder, for its owner alone:
//   ca.crt          the authority of the server, which the first contact has found by its pin
//   node.pem        key and certificate in one, so that a new pair takes the old one's place in one step
//   enrolling.key   the key of an enrolment whose answer has not come; a repeat with it takes no further use of the token
// Used by one thread at a time. It prints nothing.
class NodeCertificate {
 public:
  // `node` is a full name. Touches nothing.
  NodeCertificate(NodeFolder folder, absl::string_view node);

  const std::string& node() const { return node_; }
  // What this end shows and believes, once it is there.
  TlsFiles files() const;

  // When the stored certificate was got, and when it ends.
  struct Life {
    absl::Time from;
    absl::Time until;
  };
  // None where there is no certificate. Whatever its time.
  absl::StatusOr<std::optional<Life>> Read() const;

  // The authority that is believed, in PEM form; "" for none.
  absl::StatusOr<std::string> Authority() const;
  // Keeps an authority to believe, in PEM form.
  absl::Status KeepAuthority(absl::string_view pem) const;

  // Gets the first certificate, or another one after it has ended, from a server that has been checked. The errors are
  // the server's, and those of the files.
  absl::Status Enrol(Client& client, absl::string_view token, const CallOptions& options) const;

  // Gets the next one, with a new key. The client shows the present one.
  absl::Status Renew(Client& client, const CallOptions& options) const;

 private:
  std::string Path(absl::string_view name) const;
  // Stores the pair, once the certificate is found to be the key's.
  absl::Status Keep(const std::string& key_pem, const std::string& certificate_pem) const;

  const NodeFolder folder_;
  const std::string node_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_NODE_CERTIFICATE_H_
