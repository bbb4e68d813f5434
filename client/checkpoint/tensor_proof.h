// Proves that an assembled file holds the tensors that were published.
#ifndef MUSTER_CLIENT_CHECKPOINT_TENSOR_PROOF_H_
#define MUSTER_CLIENT_CHECKPOINT_TENSOR_PROOF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/checkpoint/index_json.h"
#include "client/sdk/client.h"
#include "storage/base/mutex.h"
#include "storage/base/numbers.h"

namespace muster {

// Collects what the files of one model hold. Thread-safe, but for TakeEntries.
class TensorProof {
 public:
  // `client` outlives it.
  TensorProof(Client& client, std::string model_version, CallOptions call)
      : client_(client), model_version_(std::move(model_version)), call_(std::move(call)) {}

  // Compares the header of the file at `path`, called `name` in the model, with the catalogue's
  // tensors of `shard`: the same names, dtypes, shapes and byte ranges. kDataLoss TENSORS_DIFFER,
  // naming the first one that differs.
  absl::Status CheckFile(ShardIndex shard, const std::string& path, const std::string& name);

  // Checks that every tensor is in one file only and that there are `expected` of them. kDataLoss
  // TENSORS_DIFFER.
  absl::Status CheckWhole(uint64_t expected);

  uint64_t tensor_count() const;
  // Of the tensors, without headers.
  int64_t tensor_bytes() const;
  // Which file holds which tensor, in order of names after CheckWhole. Called last.
  std::vector<WeightMapEntry> TakeEntries();

 private:
  Client& client_;
  const std::string model_version_;
  const CallOptions call_;
  mutable Mutex mutex_;
  std::vector<WeightMapEntry> entries_ MUSTER_GUARDED_BY(mutex_);
  int64_t tensor_bytes_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_TENSOR_PROOF_H_
