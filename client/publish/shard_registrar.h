// Registers stored shards and their tensors with the server, many at a time.
#ifndef MUSTER_CLIENT_PUBLISH_SHARD_REGISTRAR_H_
#define MUSTER_CLIENT_PUBLISH_SHARD_REGISTRAR_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/sdk/client.h"
#include "storage/base/mutex.h"

namespace muster {

// Registers shards of one draft. Thread-safe.
//
// One call is under way at a time; what comes meanwhile goes together with the next one, on the
// thread that made the first. So batches grow by themselves as the server becomes the slower part.
class ShardRegistrar {
 public:
  // Puts the tensors of shard `index` into `tensors`, in order of offset.
  using TensorsOf = std::function<void(uint32_t index, std::vector<v1::Tensor>& tensors)>;

  // `client` outlives the registrar. `call` holds for each of its calls.
  ShardRegistrar(Client& client, std::string model_version, TensorsOf tensors_of, CallOptions call);

  // Takes a shard whose object is stored. Returns an error of a call that this thread made; it may
  // be about another shard. Once every Add has returned OK, all shards are registered.
  absl::Status Add(v1::Shard shard);

 private:
  std::vector<v1::Shard> TakeBatch();
  absl::Status Register(const std::vector<v1::Shard>& batch);
  absl::Status RegisterTensors(uint32_t index);

  Client& client_;
  const std::string model_version_;
  const TensorsOf tensors_of_;
  const CallOptions call_;
  Mutex mutex_;
  std::vector<v1::Shard> pending_ MUSTER_GUARDED_BY(mutex_);
  bool registering_ MUSTER_GUARDED_BY(mutex_) = false;
};

// Registers companions in as many calls as they take.
absl::Status RegisterCompanions(Client& client, const std::string& model_version,
                                const std::vector<v1::Companion>& companions,
                                const CallOptions& call);

}  // namespace muster

#endif  // MUSTER_CLIENT_PUBLISH_SHARD_REGISTRAR_H_
