// Looks at the stored copies of a model version's shards, and mends them.
#ifndef MUSTER_CLIENT_PUBLISH_SHARD_COPIES_H_
#define MUSTER_CLIENT_PUBLISH_SHARD_COPIES_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/hash/parallel.h"
#include "client/publish/shard_upload.h"
#include "client/sdk/client.h"
#include "muster/v1/model.pb.h"
#include "storage/base/random.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Reads all of the object at `uri` and compares it with what is registered of `shard`. kDataLoss SHARD_CORRUPT: it has
// other bytes, or another size; otherwise the errors of the store.
absl::Status CheckCopy(const ObjectStoreRegistry& stores, const std::string& uri,
                       const v1::Shard& shard, const std::stop_token& stop,
                       const ByteProgress& progress);

struct RepairOptions {
  // "models/{model}/versions/{version}"; committed.
  std::string model_version;
  // Unset: all shards.
  std::optional<std::vector<uint32_t>> shards;
  // The checkpoint that the version was published from, for shards of which no copy is good; "" for none. It is cut as
  // the version says it was.
  std::string source;
  // URI of the folder below which new copies go; "" where the version was published to.
  std::string destination;
  std::stop_token stop;
  // Called once, with how much will be read at least; may be empty.
  std::function<void(int64_t total_bytes)> on_plan;
  ByteProgress on_bytes;
};

struct RepairedShard {
  uint32_t index = 0;
  // The copies that were bad, which are no locations any more.
  struct BadCopy {
    std::string uri;
    std::string why;
  };
  std::vector<BadCopy> bad;
  // Where the bytes of the new one came from, and where it is; "" where other good copies are left and nothing says
  // where one may be written.
  std::string source;
  std::string written;
};

// Reads every copy of the shards. Where one is bad or missing, a new one is written from a good one, or from
// `options.source`, into a folder of its own; then it is registered, with zone, priority and bound of the bad one, and the
// bad one's location is removed. Objects are never overwritten or deleted. Returns the shards that had bad copies; those that come before an
// error are mended.
//
// kDataLoss SHARD_CORRUPT: no copy is good, and there is no source. kAborted SHARD_DIFFERS: the source gives other bytes than were
// published. kFailedPrecondition ENCODING_DIFFERS: the shard is stored encoded, so that no source gives its stored bytes;
// VERSION_NOT_COMMITTED. A copy that can't be read for now is neither good nor bad; kUnavailable and the like where that leaves
// nothing to go by.
absl::StatusOr<std::vector<RepairedShard>> RepairShards(Client& client,
                                                        const ObjectStoreRegistry& stores,
                                                        Random& random,
                                                        const RepairOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_PUBLISH_SHARD_COPIES_H_
