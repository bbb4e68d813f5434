// Loads a model version's shards into this process, verified, as tensors.
#ifndef MUSTER_CLIENT_LOADING_MODEL_LOAD_H_
#define MUSTER_CLIENT_LOADING_MODEL_LOAD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cache/shard_cache.h"
#include "client/encoding/key_source.h"
#include "client/loading/loaded_shard.h"
#include "client/sdk/client.h"
#include "client/transfer/puller.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Where a load puts shards.
enum class LoadPlace {
  // Into LoadOptions::cache, from where they are mapped. The page cache holds the bytes, once for
  // all processes of the node, and the next load finds them.
  kCache,
  // Into memory of this process; no disk is touched.
  kPrivateMemory,
  // Into anonymous shared memory, so that other processes of the node can use the same copy; see
  // LoadedShard::shared_fd. No disk is touched.
  kSharedMemory,
};

struct LoadProgress {
  // Verified bytes; of an encoded shard that is under way those of its stored bytes, at most as many as
  // its content has. For a shard without pieces bytes fetched, which may have to be fetched again.
  int64_t done_bytes = 0;
  // Of all shards; 0 until the server has described them.
  int64_t total_bytes = 0;
  size_t shards_loaded = 0;
  size_t shards_failed = 0;
  size_t shards_total = 0;
};

// The callbacks may be empty. They are called from threads of the load, and must neither wait for it
// nor destroy it; Cancel is allowed.
struct LoadOptions {
  // "llama@v1", or the full name.
  std::string model_version;
  // Unset: all shards. Order and repetitions don't matter.
  std::optional<std::vector<uint32_t>> shards;
  LoadPlace place = LoadPlace::kPrivateMemory;
  // For kCache; outlives the load, not the shards. It keeps content, not only what is stored.
  ShardCache* cache = nullptr;
  // For encrypted shards that go into memory; the cache has its own. May be null; keys that the server made come from
  // the server.
  std::shared_ptr<KeySource> keys = nullptr;
  // Connections, zone, rate, and the bound on the buffers of pieces in flight. The destination does
  // not count towards that; with a single location per shard, pieces are read right into it. What decodes takes of the
  // same; the stored bytes of encoded shards take as much again, or one shard's where that is more.
  PullerOptions puller = {};
  // Shards that are under way at once, at least 1.
  size_t shards_at_once = 4;
  // A request ends the load, as Cancel does.
  std::stop_token stop = {};

  // Must be quick; one call at a time.
  std::function<void(const LoadProgress& progress)> on_progress = {};
  // Called once for each shard, as it comes or fails for good, and then on_tensor for each of its
  // tensors in order of their bytes. One call at a time of both together; meanwhile other shards go
  // on. Transfers begin in shard order and earlier ones go first, so early layers come first.
  std::function<void(uint32_t shard, const absl::StatusOr<LoadedShard>& loaded)> on_shard = {};
  std::function<void(const LoadedTensor& tensor)> on_tensor = {};
  // Gets one sentence per thing that went wrong at a location and was made good elsewhere. From any
  // thread.
  std::function<void(const std::string& warning)> warn = {};
};

// A load that is under way, in threads of its own.
//
// Every byte that it gives out was compared with the registered digests by this process, or is of a
// cache entry that counts as verified; nothing is copied after that. Shards fail one by one: the
// others continue. Thread-safe; calls whose names begin with Await or Wait block.
//
// Errors name the shard. kNotFound VERSION_UNKNOWN, or no location has the object; kDataLoss wrong
// bytes everywhere, or a header that can't be used; kFailedPrecondition VERSION_NOT_COMMITTED;
// kInvalidArgument SHARD_OUT_OF_RANGE; kResourceExhausted no memory, or no room in the cache, which
// is said before the first byte; kUnimplemented an encoding that this program doesn't know;
// kFailedPrecondition KEY_MISSING, WRONG_KEY, or CACHE_KEEPS_STORED where the cache has no content;
// kCancelled; others as Puller and Client have them.
class ModelLoad {
 public:
  // Never fails: what is wrong with the options is what Wait returns. All references, and what the
  // options point to, outlive the load.
  static std::unique_ptr<ModelLoad> Start(Client& client, const ObjectStoreRegistry& stores,
                                          Clock& clock, Random& random, LoadOptions options);

  // Cancels, and waits for the load's threads. Shards that were given out stay.
  ~ModelLoad();
  ModelLoad(const ModelLoad&) = delete;
  ModelLoad& operator=(const ModelLoad&) = delete;

  // Ends the load soon: shards that are not there yet fail with kCancelled. Does not block.
  void Cancel();

  // Until every shard has come or failed, and the last callback has returned. OK, or the error of
  // the first shard, in shard order, that failed.
  absl::Status Wait();

  // Until this shard has come or failed. kNotFound SHARD_NOT_LOADED: it is not among those that
  // the load was asked for.
  absl::StatusOr<LoadedShard> AwaitShard(uint32_t index);

  // Until a shard with this tensor has come; `name` is as for LoadedShard::Find. kNotFound
  // TENSOR_UNKNOWN: all shards came and none has it. Where a shard failed that may have it, the error
  // of the load.
  absl::StatusOr<LoadedTensor> AwaitTensor(absl::string_view name);

  // Those that are there now, in shard order.
  std::vector<LoadedShard> Loaded() const;
  LoadProgress progress() const;

 private:
  class Run;
  explicit ModelLoad(std::unique_ptr<Run> run);

  const std::unique_ptr<Run> run_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_LOADING_MODEL_LOAD_H_
