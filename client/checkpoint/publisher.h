// Publishes a checkpoint: cuts it, stores the shards, registers them and commits.
#ifndef MUSTER_CLIENT_CHECKPOINT_PUBLISHER_H_
#define MUSTER_CLIENT_CHECKPOINT_PUBLISHER_H_

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/checkpoint/cut_plan.h"
#include "client/checkpoint/parallel.h"
#include "client/sdk/client.h"
#include "storage/base/random.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Buffers of all shards that are written at once take at most this much.
inline constexpr int64_t kMaxPublishBufferBytes = int64_t{256} << 20;

// What is about to be published.
struct PublishPlan {
  uint32_t shard_count = 0;
  uint64_t tensor_count = 0;
  uint32_t companion_count = 0;
  int64_t size_bytes = 0;
  // For the user, one line each.
  std::vector<std::string> warnings;
  std::vector<std::string> notes;
};

struct PublishOptions {
  // A file, or a directory in the Hugging Face layout.
  std::string source;
  // "models/{model}/versions/{version}".
  std::string model_version;
  // URI of the folder below which the objects go.
  std::string destination;
  CutStrategy strategy = CutStrategy::kLayer;
  // 0 means a count that fits the size.
  uint32_t shard_count = 0;
  int64_t piece_size_bytes = int64_t{8} << 20;
  // Of the locations.
  std::string zone;
  bool strict = false;
  // Shards that are written at once; fewer where their buffers would take too much memory.
  size_t jobs = 2;
  // Delete a draft of this name first, with the objects that its publisher wrote. For one whose
  // publisher is known to be dead.
  bool replace_draft = false;
  // Bounds the first call, so that a server that isn't there is told soon; later calls wait out a
  // restart.
  absl::Duration first_call_timeout = absl::Seconds(10);
  absl::Duration call_timeout = absl::Minutes(5);
  std::stop_token stop;
  // Called once, before the first byte is stored; may be empty.
  std::function<void(const PublishPlan&)> on_plan;
  ByteProgress on_bytes;
};

struct PublishSummary {
  v1::ModelVersion model_version;
  // Where the objects are.
  std::string prefix;
  PublishPlan plan;
};

// Blocks until the model version is committed, or nothing of it is left: after an error the draft
// and the objects that were written are deleted; where that is not possible the message says what
// is left. The exception is a commit whose outcome can't be learnt, which leaves all as it is.
//
// kAlreadyExists VERSION_EXISTS: the name is taken, and nothing was written. kAborted: a source
// file changed meanwhile. kCancelled: `options.stop`. kResourceExhausted: no room. Otherwise the
// errors of the checkpoint's reader, the store and the server.
absl::StatusOr<PublishSummary> Publish(Client& client, const ObjectStoreRegistry& stores,
                                       Random& random, const PublishOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_PUBLISHER_H_
