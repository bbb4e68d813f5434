// Makes the complete model from its shards, and proves that it is complete.
#ifndef MUSTER_CLIENT_ASSEMBLE_ASSEMBLER_H_
#define MUSTER_CLIENT_ASSEMBLE_ASSEMBLER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cache/shard_cache.h"
#include "client/hash/parallel.h"
#include "client/sdk/client.h"
#include "client/transfer/puller.h"

namespace muster {

struct AssembleOptions {
  // "models/{model}/versions/{version}".
  std::string model_version;
  // Appears when it is complete; absent or an empty directory before.
  std::string out;
  // Local caches that are asked before the locations.
  std::vector<ShardCache*> caches;
  // For encrypted shards; may be null.
  std::shared_ptr<KeySource> keys;
  // Write files that engines may run, too; see CheckNoCode.
  bool allow_code = false;
  // Shards that are under way at once.
  size_t jobs = 2;
  std::stop_token stop;
  // Gets the size of what will be copied, once; may be empty.
  std::function<void(int64_t total_bytes)> on_plan;
  ByteProgress on_bytes;
  // Gets one sentence per thing that went wrong and was made good; may be empty. From any thread.
  std::function<void(const std::string& warning)> warn;
};

struct AssembleSummary {
  v1::ModelVersion model_version;
  // With those that were written under other names too.
  uint64_t tensor_count = 0;
  uint64_t tied_count = 0;
  // Of the tensors; of all files where the model is cut raw.
  int64_t content_bytes = 0;
  // Relative to the directory, in order of shards, then those of tied names; without companions.
  std::vector<std::string> files;
  uint32_t companion_count = 0;
  uint32_t shards_from_cache = 0;
  uint32_t shards_from_locations = 0;
};

// Writes the model into a hidden directory beside `options.out`, which gets its name at the end.
// Every byte was compared with the registered digests, and every tensor of the catalogue is in
// exactly one file with the dtype, shape and range that were published. Tensors with several names
// are in one further file of their folder under the others. After an error nothing is left. Blocks; memory is bounded by a few pieces and the names of the tensors.
//
// kPermissionDenied CODE_NOT_ALLOWED. kAlreadyExists: `out` is there. kResourceExhausted: no room for it, said before the first byte
// where that can be known. kFailedPrecondition VERSION_NOT_COMMITTED. kDataLoss: a shard has no
// good copy anywhere, or the catalogue contradicts itself. kCancelled.
absl::StatusOr<AssembleSummary> AssembleModel(Client& client, Puller& puller,
                                              const AssembleOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_ASSEMBLE_ASSEMBLER_H_
