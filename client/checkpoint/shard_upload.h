// Stores shards and companions, and hashes what it stores in the same pass.
#ifndef MUSTER_CLIENT_CHECKPOINT_SHARD_UPLOAD_H_
#define MUSTER_CLIENT_CHECKPOINT_SHARD_UPLOAD_H_

#include <cstdint>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/checkpoint/directory_walk.h"
#include "client/checkpoint/parallel.h"
#include "client/checkpoint/shard_stream.h"
#include "client/transfer/hash_queue.h"
#include "client/transfer/piece_hasher.h"
#include "muster/v1/model.pb.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Writes the whole of `stream` to `uri`, where nothing may be yet. Memory: one piece. kCancelled
// when `stop` is requested; nothing is visible at `uri` after an error.
absl::StatusOr<ShardDigests> UploadShard(const ObjectStoreRegistry& stores, const std::string& uri,
                                         const ShardStream& stream, int64_t piece_size_bytes,
                                         HashQueue& hashes, const std::stop_token& stop,
                                         const ByteProgress& progress);

// A companion as it was read, and how to tell whether the file changed since.
struct UploadedCompanion {
  v1::Companion companion;
  std::string source_path;
  std::string fingerprint;
};

// Writes a companion to `uri`. The result has no location yet.
absl::StatusOr<UploadedCompanion> UploadCompanion(const ObjectStoreRegistry& stores,
                                                  const std::string& uri, const FoundFile& file);

// kAborted when the source file is no longer what was uploaded.
absl::Status CheckUnchanged(const UploadedCompanion& companion);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_SHARD_UPLOAD_H_
