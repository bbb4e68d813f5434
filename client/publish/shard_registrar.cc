#include "client/publish/shard_registrar.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Names and framing need a little of what a request may have.
constexpr size_t kMaxShardBytes = kMaxAddShardsBytes - (16 << 10);
constexpr size_t kMaxTensorBytes = kMaxTensorBatchBytes - (8 << 10);
// 1 tag byte and a length of at most 3 bytes per item, rounded up.
constexpr size_t kItemFrameBytes = 8;

}  // namespace

ShardRegistrar::ShardRegistrar(Client& client, std::string model_version, TensorsOf tensors_of,
                               CallOptions call)
    : client_(client),
      model_version_(std::move(model_version)),
      tensors_of_(std::move(tensors_of)),
      call_(std::move(call)) {}

absl::Status ShardRegistrar::Add(v1::Shard shard) {
  {
    MutexLock lock(mutex_);
    pending_.push_back(std::move(shard));
    if (registering_) return absl::OkStatus();
    registering_ = true;
  }
  while (true) {
    const std::vector<v1::Shard> batch = TakeBatch();
    if (batch.empty()) return absl::OkStatus();
    // After an error `registering_` stays, and nobody continues: the publication has failed.
    MUSTER_RETURN_IF_ERROR(Register(batch));
  }
}

std::vector<v1::Shard> ShardRegistrar::TakeBatch() {
  MutexLock lock(mutex_);
  size_t count = 0;
  size_t bytes = 0;
  while (count < std::min<size_t>(pending_.size(), kMaxItemsPerCall)) {
    bytes += pending_[count].ByteSizeLong() + kItemFrameBytes;
    if (count > 0 && bytes > kMaxShardBytes) break;
    ++count;
  }
  const auto end = pending_.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<v1::Shard> batch(std::make_move_iterator(pending_.begin()),
                               std::make_move_iterator(end));
  pending_.erase(pending_.begin(), end);
  if (batch.empty()) registering_ = false;
  return batch;
}

absl::Status ShardRegistrar::Register(const std::vector<v1::Shard>& batch) {
  v1::AddShardsRequest request;
  request.set_name(model_version_);
  request.mutable_shards()->Add(batch.begin(), batch.end());
  MUSTER_RETURN_IF_ERROR(client_.AddShards(request, call_).status());
  for (const v1::Shard& shard : batch) {
    if (shard.tensor_count() > 0) MUSTER_RETURN_IF_ERROR(RegisterTensors(shard.index()));
  }
  return absl::OkStatus();
}

absl::Status ShardRegistrar::RegisterTensors(uint32_t index) {
  std::vector<v1::Tensor> tensors;
  tensors_of_(index, tensors);
  size_t next = 0;
  while (next < tensors.size()) {
    v1::AddTensorsRequest request;
    request.set_name(absl::StrCat(model_version_, "/shards/", index));
    request.set_start(static_cast<uint32_t>(next));
    size_t bytes = 0;
    while (next < tensors.size() && request.tensors_size() < kMaxItemsPerCall) {
      bytes += tensors[next].ByteSizeLong() + kItemFrameBytes;
      if (request.tensors_size() > 0 && bytes > kMaxTensorBytes) break;
      *request.add_tensors() = std::move(tensors[next]);
      ++next;
    }
    MUSTER_RETURN_IF_ERROR(client_.AddTensors(request, call_).status());
  }
  return absl::OkStatus();
}

absl::Status RegisterCompanions(Client& client, const std::string& model_version,
                                const std::vector<v1::Companion>& companions,
                                const CallOptions& call) {
  size_t next = 0;
  while (next < companions.size()) {
    v1::AddCompanionsRequest request;
    request.set_name(model_version);
    size_t bytes = 0;
    while (next < companions.size() && request.companions_size() < kMaxItemsPerCall) {
      bytes += companions[next].ByteSizeLong() + kItemFrameBytes;
      if (request.companions_size() > 0 && bytes > kMaxShardBytes) break;
      *request.add_companions() = companions[next];
      ++next;
    }
    MUSTER_RETURN_IF_ERROR(client.AddCompanions(request, call).status());
  }
  return absl::OkStatus();
}

}  // namespace muster
