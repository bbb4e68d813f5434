// Remembers the replies to calls that carried a request id, so that a repeat is harmless.
#ifndef MUSTER_SERVER_REGISTRY_REQUEST_LOG_H_
#define MUSTER_SERVER_REGISTRY_REQUEST_LOG_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "muster/store/rows.pb.h"
#include "server/registry/transaction.h"

namespace muster {

// Not thread-safe.
class RequestLog {
 public:
  // Digest of a request without its request_id: equal for equal calls.
  static std::string DigestOf(const google::protobuf::Message& request);

  // True, with `reply` filled, when the call was answered before. INVALID_ARGUMENT
  // REQUEST_ID_REUSED when the id came with another call; RESOURCE_EXHAUSTED TOO_MANY_REQUEST_IDS
  // when a new id has no room.
  absl::StatusOr<bool> Find(absl::string_view request_id, absl::string_view digest,
                            google::protobuf::Message& reply) const;

  // Remembers a reply, in the transaction that it is the reply of.
  void Add(absl::string_view request_id, std::string digest, const google::protobuf::Message& reply,
           Transaction& tx);

  // Forgets what has expired by tx.now_us().
  void Tick(Transaction& tx);

  void Load(muster::store::RequestRow row);

  size_t size() const { return rows_.size(); }

 private:
  absl::flat_hash_map<std::string, muster::store::RequestRow> rows_;
  // Ids by the time at which they expire.
  std::multimap<int64_t, std::string> expiries_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_REQUEST_LOG_H_
