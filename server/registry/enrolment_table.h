// Join tokens, and which key's certificate holds the name of a node.
#ifndef MUSTER_SERVER_REGISTRY_ENROLMENT_TABLE_H_
#define MUSTER_SERVER_REGISTRY_ENROLMENT_TABLE_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "muster/store/rows.pb.h"
#include "muster/v1/enrolment.pb.h"
#include "server/registry/command.h"
#include "server/registry/transaction.h"

namespace muster {

// Not thread-safe. Makes no keys, no secrets and no certificates: those come with the commands, as digests and numbers.
//
// A token ends by whichever clock comes first, the time of day or the server's own, so that neither a stop of the
// server nor a clock that is set back makes it live longer. A certificate holds its name until the time of day at which
// it ends, as that is what everybody checks it by. Rows go by the server's own time only, so that a clock that is set
// forward deletes nothing.
class EnrolmentTable {
 public:
  using TokenMap = std::map<std::string, muster::store::JoinTokenRow>;

  // By id.
  const TokenMap& tokens() const { return tokens_; }
  // Null where nobody holds the name ("nodes/n1"), or the certificate's row has gone.
  const muster::store::EnrolledNameRow* FindName(absl::string_view node) const;
  size_t name_count() const { return names_.size(); }

  muster::v1::JoinToken Describe(const muster::store::JoinTokenRow& row) const;
  // Whether it is refused by now, at the times of the last tick.
  bool HasEnded(const muster::store::JoinTokenRow& row) const;

  // Whether Enrol would succeed. UNAUTHENTICATED JOIN_TOKEN_REFUSED, PERMISSION_DENIED JOIN_TOKEN_NOT_FOR_NODE,
  // FAILED_PRECONDITION JOIN_TOKEN_USED_UP or NODE_NAME_ENROLLED, RESOURCE_EXHAUSTED TOO_MANY_ITEMS. An unknown id and a
  // wrong secret get the same answer. `key_sha256` may be "", which stands for a key that may have used the token
  // already: then only what no key would change is checked.
  absl::Status CheckEnrol(const EnrolNode& command) const;
  // FAILED_PRECONDITION NODE_NOT_ENROLLED.
  absl::Status CheckRenew(const RenewNode& command) const;

  // RESOURCE_EXHAUSTED TOO_MANY_ITEMS. Fails, too, for an id that is there.
  absl::Status Add(const AddJoinToken& command, Transaction& tx);
  // NOT_FOUND JOIN_TOKEN_UNKNOWN.
  absl::Status Delete(const muster::v1::DeleteJoinTokenRequest& request, Transaction& tx);
  absl::Status Enrol(const EnrolNode& command, Transaction& tx);
  absl::Status Renew(const RenewNode& command, Transaction& tx);
  // FAILED_PRECONDITION NODE_NOT_ENROLLED.
  absl::Status Release(const muster::v1::ReleaseNameRequest& request, Transaction& tx,
                       muster::v1::ReleaseNameResponse& reply);

  // Takes note of the time, and forgets some of what has ended.
  void Tick(Transaction& tx);

  void Load(muster::store::JoinTokenRow row);
  void Load(muster::store::EnrolledNameRow row);

 private:
  // Of a row, by server time.
  using Dues = std::set<std::pair<int64_t, std::string>>;

  bool Holds(const muster::store::EnrolledNameRow& row) const;
  void Put(muster::store::EnrolledNameRow row, Transaction& tx);
  void ForgetName(absl::string_view node, Transaction& tx);

  TokenMap tokens_;
  // By the node's full name.
  absl::flat_hash_map<std::string, muster::store::EnrolledNameRow> names_;
  Dues name_dues_;
  int64_t now_us_ = 0;
  int64_t wall_us_ = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_ENROLMENT_TABLE_H_
