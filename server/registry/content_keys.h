// The content keys of model versions, as the registry knows them: wrapped.
#ifndef MUSTER_SERVER_REGISTRY_CONTENT_KEYS_H_
#define MUSTER_SERVER_REGISTRY_CONTENT_KEYS_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "muster/store/rows.pb.h"

namespace muster {

// How many content keys each master key wraps. Not thread-safe.
class ContentKeyCounts {
 public:
  // Nothing happens with a row of a version without a content key.
  void Add(const muster::store::WrappedKeyRow& key);
  void Remove(const muster::store::WrappedKeyRow& key);

  // By the master key's id; none is 0.
  const std::map<std::string, uint64_t>& by_master_key() const { return by_master_key_; }

 private:
  std::map<std::string, uint64_t> by_master_key_;
};

// kInvalidArgument INVALID_FIELD: a shard says that it is encrypted with a key of the server's that its version doesn't
// have. Nobody could ever get it.
absl::Status CheckKeyOfShard(const muster::store::VersionRow& version, absl::string_view key_id);

// kDataLoss: the row has a wrapped key that no server of ours made.
absl::Status CheckWrappedKey(const muster::store::VersionRow& version);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_CONTENT_KEYS_H_
