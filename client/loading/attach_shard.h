// Uses a shard that another process of the node has loaded into shared memory.
#ifndef MUSTER_CLIENT_LOADING_ATTACH_SHARD_H_
#define MUSTER_CLIENT_LOADING_ATTACH_SHARD_H_

#include <cstdint>
#include <stop_token>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/loading/loaded_shard.h"
#include "client/sdk/client.h"

namespace muster {

// Which shard it is said to be.
struct AttachOptions {
  // "llama@v1", or the full name.
  absl::string_view model_version;
  uint32_t shard = 0;
  std::stop_token stop = {};
};

// `fd` is a descriptor of what LoadedShard::shared_fd is over there: received over a Unix socket, or
// opened as /proc/PID/fd/N. It stays the caller's. The bytes are compared with the registered
// digests in this process too, where they are; nothing is copied. Blocks; thread-safe.
//
// kFailedPrecondition NOT_SEALED: somebody could still change the bytes. kDataLoss SHARD_CORRUPT:
// they are not those of this shard, with expected_md5 and found_md5 in the metadata. kUnimplemented:
// the shard is stored encoded. Others as ModelLoad has them.
absl::StatusOr<LoadedShard> AttachShard(Client& client, int fd, const AttachOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_LOADING_ATTACH_SHARD_H_
