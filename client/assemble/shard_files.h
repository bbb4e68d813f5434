// Copies shards of a model version into a directory, one file each; encoded ones are decoded.
#ifndef MUSTER_CLIENT_ASSEMBLE_SHARD_FILES_H_
#define MUSTER_CLIENT_ASSEMBLE_SHARD_FILES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cache/shard_cache.h"
#include "client/hash/parallel.h"
#include "client/sdk/client.h"
#include "client/transfer/puller.h"
#include "storage/files/disk_room.h"

namespace muster {

struct PullFilesOptions {
  // "models/{model}/versions/{version}".
  std::string model_version;
  // Made if it is absent. Other files in it are left alone.
  std::string out;
  // Unset: all shards.
  std::optional<std::vector<uint32_t>> shards;
  std::vector<ShardCache*> caches;
  // For encrypted shards; may be null.
  std::shared_ptr<KeySource> keys;
  size_t jobs = 2;
  std::stop_token stop;
  // Requested beside `stop`: the files that this call made go, too.
  std::stop_token discard;
  std::function<void(int64_t total_bytes)> on_plan;
  ByteProgress on_bytes;
  std::function<void(const std::string& warning)> warn;
};

struct PulledFile {
  uint32_t shard = 0;
  std::string path;
  int64_t size_bytes = 0;
  // The file was there already, with the right bytes.
  bool kept = false;
};

// The shards of a model version that `indices` names, or all of them without it. kInvalidArgument
// SHARD_OUT_OF_RANGE: a shard that the model version doesn't have.
absl::StatusOr<std::vector<v1::Shard>> ChooseShards(
    Client& client, const std::string& model_version,
    const std::optional<std::vector<uint32_t>>& indices, const CallOptions& call);

// What PullShardFiles would write, and the room for it; writes nothing.
struct ShardFilesRoom {
  // Those that were asked for, whether they are there already or not.
  size_t shards = 0;
  DiskRoom disk;
};
absl::StatusOr<ShardFilesRoom> RoomForShardFiles(Client& client, const PullFilesOptions& options);

// Each file appears when it is complete and verified: "shard-00003.safetensors", or ".bin" for
// shards without tensors. Files that are there are compared with the catalogue and copied again if
// they differ, or if the shard is encoded: the catalogue has no digest of its content. After an error, files that were complete stay.
//
// The errors are those of ChooseShards and AssembleModel. kResourceExhausted NO_SPACE comes before
// the first byte.
absl::StatusOr<std::vector<PulledFile>> PullShardFiles(Client& client, Puller& puller,
                                                       const PullFilesOptions& options);

// Removes the files in `options.out` that hold what PullShardFiles would put there, and what a killed one left beside them.
// Returns those that were there; `kept` are those that hold something else, or that can't be told, as of encoded shards.
absl::StatusOr<std::vector<PulledFile>> RemoveShardFiles(Client& client,
                                                         const PullFilesOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_ASSEMBLE_SHARD_FILES_H_
