// What is known of a model version only while it is a DRAFT: enough for Commit to check it without
// reading.
#ifndef MUSTER_SERVER_REGISTRY_DRAFT_H_
#define MUSTER_SERVER_REGISTRY_DRAFT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/numeric/int128.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "muster/v1/model.pb.h"

namespace muster {

// Not thread-safe.
class Draft {
 public:
  // 128 bits of an MD5: two different contents never share one by accident.
  using Fingerprint = absl::uint128;
  static Fingerprint FingerprintOf(absl::string_view bytes);

  // Notes a shard that has come, with the tensors that it announces. Once for each.
  void AddShard(uint32_t shard, uint32_t tensors);
  // Tensors that the shards announce in all.
  uint64_t tensors_announced() const { return tensors_announced_; }
  // The shards that lack some of theirs, ascending. Costs nothing where there are none.
  std::vector<uint32_t> ShardsShortOfTensors() const;

  // Tensors of a shard that have been added.
  uint32_t TensorsOf(uint32_t shard) const;

  // Checks a batch of a shard that announced `announced` tensors. Sets `*repeat` when the very same
  // batch is there. Errors as AddTensors; nothing is changed.
  absl::Status CheckTensors(uint32_t shard, std::optional<uint32_t> rank, uint32_t announced,
                            const muster::v1::AddTensorsRequest& batch, bool* repeat) const;

  // Records a batch that CheckTensors accepted, or that was loaded from the store.
  void AddTensors(uint32_t shard, std::optional<uint32_t> rank, uint32_t start,
                  const google::protobuf::RepeatedPtrField<muster::v1::Tensor>& tensors);

  uint64_t tensors_added() const { return tensors_added_; }
  // 0 before the first Touch.
  void Touch(int64_t now_us) { last_addition_us_ = now_us; }
  int64_t last_addition_us() const { return last_addition_us_; }

 private:
  struct ShardTensors {
    uint32_t announced = 0;
    uint32_t count = 0;
    uint64_t end_bytes = 0;
    // By the batch's start: its content.
    std::map<uint32_t, Fingerprint> batches;
  };

  static Fingerprint NameFingerprint(std::optional<uint32_t> rank, absl::string_view name);
  static Fingerprint BatchFingerprint(
      const google::protobuf::RepeatedPtrField<muster::v1::Tensor>& tensors);

  absl::flat_hash_set<Fingerprint> names_;
  absl::flat_hash_map<uint32_t, ShardTensors> shards_;
  uint64_t tensors_added_ = 0;
  uint64_t tensors_announced_ = 0;
  size_t shards_short_ = 0;
  int64_t last_addition_us_ = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_DRAFT_H_
