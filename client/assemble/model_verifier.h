// Compares stored, cached or assembled bytes of a model version with the catalogue.
#ifndef MUSTER_CLIENT_ASSEMBLE_MODEL_VERIFIER_H_
#define MUSTER_CLIENT_ASSEMBLE_MODEL_VERIFIER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cache/shard_cache.h"
#include "client/encoding/key_source.h"
#include "client/hash/parallel.h"
#include "client/sdk/client.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Something that is not as it was registered.
struct VerifyFault {
  // "shard 3" or "companion config.json".
  std::string what;
  // The location's URI, or the file's path.
  std::string where;
  // One sentence: "piece 12 (bytes 100663296 to 109051903) has another MD5".
  std::string message;
  // Lowercase hex; empty where nothing could be compared.
  std::string expected_md5;
  std::string found_md5;
};

struct VerifyOptions {
  // "models/{model}/versions/{version}".
  std::string model_version;
  // Exactly one of these is looked at: an assembled directory, a cache, or, where both are empty,
  // all registered locations.
  std::string directory;
  ShardCache* cache = nullptr;
  // For the files of encrypted shards in a directory, which are compared by the digests in the stored
  // object; may be null. Nothing else needs a key.
  std::shared_ptr<KeySource> keys = nullptr;
  // Compare the MD5 of whole shards too, which pieces make unnecessary unless one was registered
  // wrong.
  bool whole = false;
  // Shards that are read at once; fewer where their buffers would take too much memory.
  size_t jobs = 2;
  std::stop_token stop;
  // Gets the bytes that will be read at most, once; may be empty.
  std::function<void(int64_t total_bytes)> on_plan;
  ByteProgress on_bytes;
};

struct VerifySummary {
  int64_t checked_bytes = 0;
  // Copies of shards and companions that were looked at.
  uint32_t objects = 0;
  // Shards that the cache does not hold.
  uint32_t absent = 0;
  // In order of shards, then companions; at most kMaxVerifyFaults.
  std::vector<VerifyFault> faults;
  uint64_t fault_count = 0;
};

inline constexpr size_t kMaxVerifyFaults = 1'000;

// Reads everything and collects what is wrong; a copy that is missing, too short or unreadable is a
// fault and no error. Errors are those of the server, and kCancelled.
absl::StatusOr<VerifySummary> VerifyModel(Client& client, const ObjectStoreRegistry& stores,
                                          const VerifyOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_ASSEMBLE_MODEL_VERIFIER_H_
