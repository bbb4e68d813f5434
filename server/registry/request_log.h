// Remembers the replies to calls that carried a request id, so that a repeat is harmless.
#ifndef MUSTER_SERVER_REGISTRY_REQUEST_LOG_H_
#define MUSTER_SERVER_REGISTRY_REQUEST_LOG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "muster/store/rows.pb.h"
#include "server/registry/transaction.h"

namespace muster {

// Not thread-safe.
//
// One caller can't take the places of all. A host may have as many ids remembered as there are free
// places, and each of its connections as many as its host may still take: so whoever has few of them
// finds room while others have used up theirs. Registrations have places of their own, of which the
// oldest make room, so that a node can always come back: one whose registration is forgotten before
// it has read the answer merely gets another epoch.
class RequestLog {
 public:
  enum class Kind : uint8_t { kCall, kRegistration };

  // Digest of a request without its request_id: equal for equal calls, also in a build that knows more
  // fields.
  static std::string DigestOf(const google::protobuf::Message& request);

  // True, with `reply` filled, when the call was answered before. INVALID_ARGUMENT
  // REQUEST_ID_REUSED when the id came with another call.
  absl::StatusOr<bool> Find(absl::string_view request_id, absl::string_view digest,
                            google::protobuf::Message& reply) const;

  // RESOURCE_EXHAUSTED TOO_MANY_REQUEST_IDS when a new id of the caller has no room. The caller is a
  // connection as gRPC names its peer ("ipv4:10.0.0.7:4711"); "" for one that nobody knows.
  absl::Status CheckRoom(absl::string_view caller) const;

  // Remembers a reply, in the transaction that it is the reply of.
  void Add(absl::string_view request_id, std::string digest, const google::protobuf::Message& reply,
           absl::string_view caller, Kind kind, Transaction& tx);

  // Forgets what has expired by tx.now_us().
  void Tick(Transaction& tx);

  void Load(muster::store::RequestRow row);

  size_t size() const { return rows_.size(); }

 private:
  // Takes an id out of memory, but for the lists by time.
  void Forget(const std::string& request_id);
  void Count(absl::string_view caller, int sign);

  absl::flat_hash_map<std::string, muster::store::RequestRow> rows_;
  // Ids by the time at which they expire.
  std::multimap<int64_t, std::string> expiries_;
  // The registrations among them, in the same order.
  std::deque<std::pair<int64_t, std::string>> registrations_;
  // Calls that are no registrations, by host and by connection.
  absl::flat_hash_map<std::string, size_t> of_host_;
  absl::flat_hash_map<std::string, size_t> of_connection_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_REQUEST_LOG_H_
