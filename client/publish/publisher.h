// Publishes a checkpoint: cuts it, stores the shards, registers them and commits.
#ifndef MUSTER_CLIENT_PUBLISH_PUBLISHER_H_
#define MUSTER_CLIENT_PUBLISH_PUBLISHER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/hash/parallel.h"
#include "client/publish/shard_encoding.h"
#include "client/publish/source_plan.h"
#include "client/sdk/client.h"
#include "storage/base/random.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Buffers of all shards that are written at once take at most this much.
inline constexpr int64_t kMaxPublishBufferBytes = int64_t{256} << 20;

struct PublishOptions {
  SourceOptions source;
  // "models/{model}/versions/{version}".
  std::string model_version;
  // URI of the folder below which the objects go; "" where the source's files stay in place.
  std::string destination;
  // Of the locations.
  std::string zone;
  // Not with `source.in_place`.
  EncodeOptions encode = {};
  // Shards that are written at once; fewer where their buffers would take too much memory.
  size_t jobs = 2;
  // Delete a draft of this name first, with the objects that its publisher wrote, rather than go on
  // with it. For one whose publisher is known to be dead.
  bool restart = false;
  // Bounds the first call, so that a missing server is noticed soon; later calls wait out a
  // restart.
  absl::Duration first_call_timeout = absl::Seconds(10);
  absl::Duration call_timeout = absl::Minutes(5);
  // Objects that were stored by then stay, with the draft: publishing again resumes it.
  std::stop_token stop;
  // Requested after `stop`: they go, too, as DiscardDraft has it.
  std::stop_token discard;
  // Called once, before the first byte is read; may be empty. `total_bytes` will be passed to
  // `on_bytes`: shards, and files of a snapshot that are checked by themselves.
  std::function<void(const SourcePlan& plan, int64_t total_bytes)> on_plan;
  ByteProgress on_bytes;
};

struct PublishSummary {
  v1::ModelVersion model_version;
  // Where the objects are; "" where the source's files stay in place.
  std::string prefix;
  // Of an earlier publication that died and was resumed: how many shards were stored already.
  bool resumed = false;
  uint32_t shards_kept = 0;
  // What could not be checked, and what may be missing.
  std::vector<std::string> warnings;
};

// Blocks until the model version is committed, or nothing of it is left: after an error the draft
// and the objects that were written are deleted; where that is not possible the message says what
// is left. The exceptions are a commit whose outcome can't be learnt, a draft of an earlier run that was
// resumed, and a stop: those leave what is stored as it is.
//
// A draft of this name that a publication of a source that looks alike, with the same options, left
// behind is resumed: a shard that is registered with the size and root that the source gives
// now, and stored with that size, is not written again; of an encoded one the content's frames are
// compared instead, as an encrypted content never gives the same object twice. With `source.in_place` nothing is written:
// the locations are the source's files, which then must stay as they are.
//
// kAlreadyExists, and nothing was written: VERSION_EXISTS, the name is taken; DRAFT_DIFFERS, by a
// draft of another source or with other options. kAborted: a source file changed meanwhile, or is
// not what the draft was made from (SHARD_DIFFERS). kDataLoss BLOB_CORRUPT: a file of a Hugging Face
// snapshot doesn't have the SHA-256 that its blob is named by. kCancelled: `options.stop`.
// kResourceExhausted: no room. Otherwise the errors of the checkpoint's reader, the store and the
// server.
absl::StatusOr<PublishSummary> Publish(Client& client, const ObjectStoreRegistry& stores,
                                       Random& random, const PublishOptions& options);

// What DiscardDraft removed.
struct DiscardedDraft {
  // Whether there was a draft.
  bool found = false;
  size_t objects = 0;
};

// Deletes the draft of this name, and the objects that its publishers wrote, registered or not; one whose publisher is
// known to be dead. kFailedPrecondition VERSION_NOT_DRAFT: the model version is committed, and stays.
absl::StatusOr<DiscardedDraft> DiscardDraft(Client& client, const ObjectStoreRegistry& stores,
                                            const std::string& model_version,
                                            const CallOptions& call);

}  // namespace muster

#endif  // MUSTER_CLIENT_PUBLISH_PUBLISHER_H_
