// Verified shards in memory, and the tensors in them.
#ifndef MUSTER_CLIENT_LOADING_LOADED_SHARD_H_
#define MUSTER_CLIENT_LOADING_LOADED_SHARD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/format/dtype.h"
#include "client/loading/shard_memory.h"
#include "muster/v1/model.pb.h"

namespace muster {

struct LoadedTensor;

// A handle: copies are cheap and share the bytes, which stay where they are, unchanged, until the
// last handle and the last tensor of the shard are gone, whatever becomes of the load that they
// came from. Thread-safe for reading.
class LoadedShard {
 public:
  // `memory` holds the verified bytes of `shard`. Where `shard` announces tensors its header is
  // checked like any file's: kDataLoss SHARD_HEADER_BROKEN when it can't be used.
  static absl::StatusOr<LoadedShard> Make(const v1::Shard& shard, ShardMemory memory);

  // Position in the model version.
  uint32_t index() const;

  // The whole shard, decoded where it is stored encoded, with its header; begins at a page.
  absl::string_view bytes() const;

  // 0 for shards that are cut `raw`: they are bytes only.
  size_t tensor_count() const;
  // `i` is below tensor_count(); in order of their bytes.
  LoadedTensor tensor(size_t i) const;
  // By the name that the catalogue knows, or another one that is tied to it.
  std::optional<LoadedTensor> Find(absl::string_view name) const;

  // Of a shard in shared memory: a memfd with the bytes from byte 0, sealed against writing,
  // shrinking and growing. Another process gets it over a Unix socket (SCM_RIGHTS) or opens
  // /proc/PID/fd/N, and uses the same copy with AttachShard; or maps it itself: MAP_PRIVATE and
  // PROT_READ work on every kernel, and copy nothing. It is closed with the last handle; what
  // others have mapped stays. -1 for other shards.
  int shared_fd() const;

 private:
  struct Content;
  explicit LoadedShard(std::shared_ptr<const Content> content) : content_(std::move(content)) {}

  std::shared_ptr<const Content> content_;
};

// One tensor, where it lies in its shard's memory. A value; thread-safe for reading.
struct LoadedTensor {
  // As in the catalogue: where the checkpoint has tensors in several folders, behind the folder, as in
  // "unet/conv_in.weight"; of tied names the one that it is stored under.
  absl::string_view name;
  // As safetensors spells it, for instance "BF16".
  absl::string_view dtype;
  TensorShape shape;
  // Little-endian elements in row-major order, read-only.
  absl::string_view bytes;
  // Keeps all of the above valid.
  LoadedShard shard;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_LOADING_LOADED_SHARD_H_
