// Reads shards and companions once: hashes them and stores them in the same pass.
#ifndef MUSTER_CLIENT_PUBLISH_SHARD_UPLOAD_H_
#define MUSTER_CLIENT_PUBLISH_SHARD_UPLOAD_H_

#include <cstdint>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/checkpoint/directory_walk.h"
#include "client/checkpoint/shard_stream.h"
#include "client/checkpoint/source_files.h"
#include "client/hash/hash_queue.h"
#include "client/hash/parallel.h"
#include "client/hash/piece_hasher.h"
#include "muster/v1/model.pb.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// How a shard's bytes are read, once and in order. The references outlive the reading.
struct ShardReading {
  int64_t piece_size_bytes = 0;
  HashQueue& hashes;
  std::stop_token stop;
  const ByteProgress& progress;
  // What all of the bytes must hash to; "" where nothing is known.
  std::string sha256;
};

// The digests of `stream`. Memory: one piece. kCancelled when a stop is requested; kDataLoss
// BLOB_CORRUPT when the SHA-256 is another one.
absl::StatusOr<ShardDigests> DigestShard(const ShardStream& stream, const ShardReading& reading);

// The same, and writes the bytes to `uri`, where nothing may be yet unless `replace`. Nothing new is
// visible at `uri` after an error.
absl::StatusOr<ShardDigests> UploadShard(const ObjectStoreRegistry& stores, const std::string& uri,
                                         const ShardStream& stream, const ShardReading& reading,
                                         bool replace);

// Whether an object of this size is at `uri`; an object that can't be asked for is not there.
bool IsStored(const ObjectStoreRegistry& stores, const std::string& uri, int64_t size_bytes,
              const std::stop_token& stop);

// A companion as it was read, and how to tell whether the file changed since.
struct ReadCompanion {
  // Without a location.
  v1::Companion companion;
  std::string bytes;
  std::string source_path;
  std::string fingerprint;
  SourceFiles::Place place;
};

// kDataLoss BLOB_CORRUPT when its SHA-256 is not the one that the snapshot names.
absl::StatusOr<ReadCompanion> ReadCompanionFile(const SourceFiles& files, const FoundFile& file);

// kAborted when the source file is no longer what was read.
absl::Status CheckUnchanged(const SourceFiles& files, const ReadCompanion& companion);

}  // namespace muster

#endif  // MUSTER_CLIENT_PUBLISH_SHARD_UPLOAD_H_
