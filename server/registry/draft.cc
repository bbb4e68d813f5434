#include "server/registry/draft.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"

namespace muster {

namespace v1 = muster::v1;

Draft::Fingerprint Draft::FingerprintOf(absl::string_view bytes) {
  const Md5Digest digest = Md5Of(bytes);
  uint64_t high = 0, low = 0;
  for (int i = 0; i < 8; ++i) {
    high = high << 8 | digest[i];
    low = low << 8 | digest[i + 8];
  }
  return absl::MakeUint128(high, low);
}

Draft::Fingerprint Draft::NameFingerprint(std::optional<uint32_t> rank, absl::string_view name) {
  return FingerprintOf(absl::StrCat(rank.has_value() ? absl::StrCat(*rank) : "-", ":", name));
}

Draft::Fingerprint Draft::BatchFingerprint(
    const google::protobuf::RepeatedPtrField<v1::Tensor>& tensors) {
  std::string content;
  for (const v1::Tensor& tensor : tensors) {
    absl::StrAppend(&content, tensor.name().size(), ":", tensor.name(), tensor.dtype().size(), ":",
                    tensor.dtype(), tensor.begin_bytes(), "-", tensor.end_bytes(), "[");
    for (const int64_t size : tensor.shape()) absl::StrAppend(&content, size, ",");
  }
  return FingerprintOf(content);
}

void Draft::AddShard(uint32_t shard, uint32_t tensors) {
  if (tensors == 0) return;
  shards_[shard].announced = tensors;
  tensors_announced_ += tensors;
  ++shards_short_;
}

std::vector<uint32_t> Draft::ShardsShortOfTensors() const {
  std::vector<uint32_t> out;
  if (shards_short_ == 0) return out;
  for (const auto& [shard, tensors] : shards_) {
    if (tensors.count < tensors.announced) out.push_back(shard);
  }
  std::sort(out.begin(), out.end());
  return out;
}

uint32_t Draft::TensorsOf(uint32_t shard) const {
  const auto found = shards_.find(shard);
  return found == shards_.end() ? 0 : found->second.count;
}

absl::Status Draft::CheckTensors(uint32_t shard, std::optional<uint32_t> rank, uint32_t announced,
                                 const v1::AddTensorsRequest& batch, bool* repeat) const {
  *repeat = false;
  static const ShardTensors kNone;
  const auto found = shards_.find(shard);
  const ShardTensors& present = found == shards_.end() ? kNone : found->second;
  if (batch.start() < present.count) {
    const auto same = present.batches.find(batch.start());
    if (same != present.batches.end() && same->second == BatchFingerprint(batch.tensors())) {
      *repeat = true;
      return absl::OkStatus();
    }
    return MakeError(absl::StatusCode::kAlreadyExists, reasons::kTensorsExist,
                     absl::StrCat(batch.name(), " has different tensors at ", batch.start(),
                                  ": continue at ", present.count),
                     {{"name", batch.name()}, {"tensors_added", absl::StrCat(present.count)}});
  }
  if (batch.start() > present.count) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, reasons::kTensorsOutOfOrder,
        absl::StrCat(batch.name(), " has ", present.count, " tensors, and a batch starts at ",
                     batch.start(), ": continue at ", present.count),
        {{"name", batch.name()}, {"tensors_added", absl::StrCat(present.count)}});
  }
  if (uint64_t{present.count} + batch.tensors_size() > announced) {
    return InvalidField("tensors", absl::StrCat(present.count + batch.tensors_size()),
                        absl::StrCat("at most the ", announced, " that the shard announced"));
  }
  if (batch.tensors(0).begin_bytes() < present.end_bytes) {
    return InvalidField(
        absl::StrCat("range of tensor '", batch.tensors(0).name(), "'"),
        absl::StrCat(batch.tensors(0).begin_bytes()),
        absl::StrCat("at or after ", present.end_bytes, ", where the tensor before it ends"));
  }
  absl::flat_hash_set<Fingerprint> in_batch;
  for (const v1::Tensor& tensor : batch.tensors()) {
    const Fingerprint name = NameFingerprint(rank, tensor.name());
    if (names_.contains(name) || !in_batch.insert(name).second) {
      return MakeError(absl::StatusCode::kAlreadyExists, reasons::kTensorNameTaken,
                       absl::StrCat("tensor '", tensor.name(), "' of ", batch.name(),
                                    " is already in the model version"),
                       {{"tensor", tensor.name()}, {"name", batch.name()}});
    }
  }
  return absl::OkStatus();
}

void Draft::AddTensors(uint32_t shard, std::optional<uint32_t> rank, uint32_t start,
                       const google::protobuf::RepeatedPtrField<v1::Tensor>& tensors) {
  ShardTensors& present = shards_[shard];
  present.batches[start] = BatchFingerprint(tensors);
  const bool was_short = present.count < present.announced;
  present.count = start + tensors.size();
  if (was_short && present.count >= present.announced) --shards_short_;
  if (!tensors.empty()) present.end_bytes = tensors.rbegin()->end_bytes();
  for (const v1::Tensor& tensor : tensors) names_.insert(NameFingerprint(rank, tensor.name()));
  tensors_added_ += tensors.size();
}

}  // namespace muster
