// How a publication ends in all or nothing:
//
// 1. The draft carries a random id of this run, so that it is told from anybody else's.
// 2. Objects go below a folder with the draft's uid, and are noted before they are written.
// 3. When all are registered and the sources are unchanged, the draft is committed.
// 4. After an error before 3 the objects are deleted, then the draft.
// 5. After an error in 3 the outcome is unknown: the server is asked. Committed is success; a draft
//    is handled as in 4; without an answer nothing is touched.
#include "client/checkpoint/publisher.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "client/checkpoint/shard_registrar.h"
#include "client/checkpoint/shard_stream.h"
#include "client/checkpoint/shard_upload.h"
#include "client/checkpoint/written_objects.h"
#include "client/sdk/pages.h"
#include "client/transfer/hash_queue.h"
#include "client/transfer/pull_shard.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

constexpr char kPublishIdKey[] = "muster.publish_id";
// Nobody waits longer for the tidying after an error.
constexpr absl::Duration kCleanUpTimeout = absl::Seconds(10);
// Where the draft was not even made as far as is known, the server mostly can't be reached at all.
constexpr absl::Duration kLookTimeout = absl::Seconds(1);

class Publication {
 public:
  Publication(Client& client, const ObjectStoreRegistry& stores, Random& random,
              const PublishOptions& options)
      : client_(client), stores_(stores), options_(options), publish_id_(random.NextId()) {}

  absl::StatusOr<PublishSummary> Run() {
    MUSTER_RETURN_IF_ERROR(Plan());
    if (options_.replace_draft) MUSTER_RETURN_IF_ERROR(DeleteOldDraft());
    const absl::Status created = CreateDraft();
    if (IsNameTaken(created)) return created;
    absl::Status status = created;
    if (status.ok()) status = Fill();
    if (status.ok()) {
      status = Commit();
      if (!status.ok()) return Settle(status);
    }
    if (!status.ok()) return TakeBack(status);
    return PublishSummary{model_version_, prefix_, plan_};
  }

 private:
  static bool IsNameTaken(const absl::Status& status) { return absl::IsAlreadyExists(status); }

  CallOptions Call(absl::Duration timeout) const {
    return {.timeout = timeout, .stop = options_.stop};
  }

  absl::Status Plan() {
    const bool raw = options_.strategy == CutStrategy::kRaw;
    MUSTER_ASSIGN_OR_RETURN(checkpoint_,
                            raw ? OpenRawCheckpoint(options_.source)
                                : OpenTensorCheckpoint(options_.source, {options_.strict}));
    MUSTER_ASSIGN_OR_RETURN(cuts_,
                            CutCheckpoint(checkpoint_, options_.strategy,
                                          {options_.shard_count, options_.piece_size_bytes}));
    // Before the draft, so that a destination that can't be opened leaves nothing behind.
    MUSTER_RETURN_IF_ERROR(stores_.Open(options_.destination).status());
    plan_.shard_count = static_cast<uint32_t>(cuts_.shards.size());
    plan_.tensor_count = raw ? 0 : checkpoint_.tensors.size();
    plan_.companion_count = static_cast<uint32_t>(checkpoint_.companions.size());
    for (const ShardCut& shard : cuts_.shards) plan_.size_bytes += shard.size_bytes;
    plan_.warnings = checkpoint_.warnings;
    plan_.notes = cuts_.notes;
    return absl::OkStatus();
  }

  absl::Status DeleteOldDraft();
  absl::Status CreateDraft();
  absl::Status Fill();
  absl::Status StoreCompanions(std::vector<UploadedCompanion>& uploaded);
  absl::StatusOr<v1::Shard> StoreShard(uint32_t index, const std::stop_token& stop);
  absl::StatusOr<std::string> NewObject(absl::string_view relative);
  void FillTensors(uint32_t index, std::vector<v1::Tensor>& tensors) const;
  absl::Status Commit();
  absl::StatusOr<PublishSummary> Settle(const absl::Status& status);
  absl::Status TakeBack(const absl::Status& status);
  // What the server has under the name, if it is this run's.
  absl::StatusOr<std::optional<v1::ModelVersion>> FindOwn();

  Client& client_;
  const ObjectStoreRegistry& stores_;
  const PublishOptions& options_;
  const std::string publish_id_;
  Checkpoint checkpoint_;
  CutPlan cuts_;
  PublishPlan plan_;
  v1::ModelVersion model_version_;
  std::string prefix_;
  WrittenObjects written_;
  // Shared by the shards that are stored at once.
  HashQueue hashes_;
};

absl::Status Publication::DeleteOldDraft() {
  v1::GetModelVersionRequest get;
  get.set_name(options_.model_version);
  const auto found = client_.GetModelVersion(get, Call(options_.first_call_timeout));
  if (absl::IsNotFound(found.status())) return absl::OkStatus();
  MUSTER_RETURN_IF_ERROR(found.status());
  if (found->model_version().state() != v1::ModelVersion::DRAFT) return absl::OkStatus();
  v1::DeleteModelVersionRequest request;
  request.set_name(options_.model_version);
  MUSTER_RETURN_IF_ERROR(
      client_.DeleteModelVersion(request, Call(options_.first_call_timeout)).status());
  // A killed publisher may have written objects that it never registered, so the folder is listed.
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> uris,
                          ListPublishedObjects(stores_, found->model_version()));
  return DeleteObjects(stores_, found->model_version(), uris);
}

absl::Status Publication::CreateDraft() {
  v1::CreateModelVersionRequest request;
  v1::ModelVersion& version = *request.mutable_model_version();
  version.set_name(options_.model_version);
  version.set_shard_count(plan_.shard_count);
  version.set_tensor_count(plan_.tensor_count);
  version.set_companion_count(plan_.companion_count);
  version.set_strategy(std::string(CutStrategyName(options_.strategy)));
  (*version.mutable_annotations())[kPublishIdKey] = publish_id_;
  (*version.mutable_annotations())[kDestinationKey] = options_.destination;
  MUSTER_ASSIGN_OR_RETURN(const v1::CreateModelVersionResponse response,
                          client_.CreateModelVersion(request, Call(options_.first_call_timeout)));
  model_version_ = response.model_version();
  prefix_ = PublishPrefix(options_.destination, options_.model_version, model_version_.uid());
  if (options_.on_plan) options_.on_plan(plan_);
  return absl::OkStatus();
}

absl::Status Publication::Fill() {
  std::vector<UploadedCompanion> companions;
  MUSTER_RETURN_IF_ERROR(StoreCompanions(companions));
  ShardRegistrar registrar(
      client_, options_.model_version,
      [this](uint32_t index, std::vector<v1::Tensor>& tensors) { FillTensors(index, tensors); },
      Call(options_.call_timeout));
  const auto fitting =
      static_cast<size_t>(std::max<int64_t>(1, kMaxPublishBufferBytes / options_.piece_size_bytes));
  const size_t jobs = std::clamp<size_t>(options_.jobs, 1, fitting);
  MUSTER_RETURN_IF_ERROR(RunInParallel(
      cuts_.shards.size(), jobs, options_.stop, [&](size_t i, const std::stop_token& stop) {
        const auto index = static_cast<uint32_t>(i);
        absl::StatusOr<v1::Shard> shard = StoreShard(index, stop);
        if (!shard.ok()) return Annotate(shard.status(), absl::StrCat("shard ", index));
        return registrar.Add(*std::move(shard));
      }));
  MUSTER_RETURN_IF_ERROR(checkpoint_.CheckUnchanged());
  for (const UploadedCompanion& companion : companions) {
    MUSTER_RETURN_IF_ERROR(CheckUnchanged(companion));
  }
  return absl::OkStatus();
}

absl::Status Publication::StoreCompanions(std::vector<UploadedCompanion>& uploaded) {
  std::vector<v1::Companion> companions;
  for (const FoundFile& file : checkpoint_.companions) {
    if (options_.stop.stop_requested()) return absl::CancelledError("interrupted");
    MUSTER_ASSIGN_OR_RETURN(const std::string uri,
                            NewObject(absl::StrCat("companions/", file.relative_path)));
    MUSTER_ASSIGN_OR_RETURN(UploadedCompanion companion, UploadCompanion(stores_, uri, file));
    v1::Location& location = *companion.companion.add_locations();
    location.set_uri(uri);
    location.set_zone(options_.zone);
    companions.push_back(companion.companion);
    uploaded.push_back(std::move(companion));
  }
  return RegisterCompanions(client_, options_.model_version, companions,
                            Call(options_.call_timeout));
}

absl::StatusOr<std::string> Publication::NewObject(absl::string_view relative) {
  MUSTER_ASSIGN_OR_RETURN(std::string uri, JoinUri(prefix_, relative));
  written_.Add(uri);
  return uri;
}

absl::StatusOr<v1::Shard> Publication::StoreShard(uint32_t index, const std::stop_token& stop) {
  const ShardCut& cut = cuts_.shards[index];
  const bool raw = options_.strategy == CutStrategy::kRaw;
  MUSTER_ASSIGN_OR_RETURN(
      const std::string uri,
      NewObject(absl::StrFormat("shard-%05d.%s", index, raw ? "bin" : "safetensors")));
  MUSTER_ASSIGN_OR_RETURN(const ShardStream stream, ShardStream::Open(checkpoint_, cut));
  MUSTER_ASSIGN_OR_RETURN(const ShardDigests digests,
                          UploadShard(stores_, uri, stream, options_.piece_size_bytes, hashes_,
                                      stop, options_.on_bytes));
  v1::Shard shard;
  shard.set_index(index);
  shard.set_size_bytes(static_cast<uint64_t>(digests.size_bytes));
  shard.set_md5(Md5ToHex(digests.md5));
  shard.set_root(Md5ToHex(digests.root));
  shard.set_piece_size_bytes(static_cast<uint64_t>(options_.piece_size_bytes));
  shard.set_piece_md5s(PackPieces(digests.pieces));
  shard.set_tensor_count(static_cast<uint32_t>(cut.tensors.size()));
  if (raw) {
    shard.set_source_path(checkpoint_.files[cut.raw.file].relative_path);
    shard.set_source_offset_bytes(static_cast<uint64_t>(cut.raw.offset_bytes));
  }
  v1::Location& location = *shard.add_locations();
  location.set_uri(uri);
  location.set_zone(options_.zone);
  return shard;
}

void Publication::FillTensors(uint32_t index, std::vector<v1::Tensor>& tensors) const {
  const ShardCut& cut = cuts_.shards[index];
  const std::vector<int64_t> offsets = TensorOffsetsInShard(cut, checkpoint_.tensors);
  tensors.reserve(cut.tensors.size());
  for (size_t i = 0; i < cut.tensors.size(); ++i) {
    const SourceTensor& source = checkpoint_.tensors[cut.tensors[i]];
    v1::Tensor& tensor = tensors.emplace_back();
    tensor.set_name(std::string(source.name));
    tensor.set_dtype(std::string(source.dtype));
    tensor.mutable_shape()->Add(source.shape.begin(), source.shape.end());
    tensor.set_begin_bytes(static_cast<uint64_t>(offsets[i]));
    tensor.set_end_bytes(static_cast<uint64_t>(offsets[i] + source.size_bytes));
  }
}

absl::Status Publication::Commit() {
  v1::CommitModelVersionRequest request;
  request.set_name(options_.model_version);
  MUSTER_ASSIGN_OR_RETURN(v1::CommitModelVersionResponse response,
                          client_.CommitModelVersion(request, Call(options_.call_timeout)));
  model_version_ = std::move(*response.mutable_model_version());
  return absl::OkStatus();
}

absl::StatusOr<std::optional<v1::ModelVersion>> Publication::FindOwn() {
  v1::GetModelVersionRequest request;
  request.set_name(options_.model_version);
  CallOptions call;
  call.timeout = model_version_.uid().empty() ? kLookTimeout : kCleanUpTimeout;
  const auto found = client_.GetModelVersion(request, call);
  if (absl::IsNotFound(found.status())) return std::optional<v1::ModelVersion>();
  MUSTER_RETURN_IF_ERROR(found.status());
  const auto& annotations = found->model_version().annotations();
  const auto id = annotations.find(kPublishIdKey);
  if (id == annotations.end() || id->second != publish_id_) {
    return std::optional<v1::ModelVersion>();
  }
  return std::optional<v1::ModelVersion>(found->model_version());
}

absl::StatusOr<PublishSummary> Publication::Settle(const absl::Status& status) {
  const auto own = FindOwn();
  if (!own.ok()) {
    return Annotate(status, absl::StrCat("whether ", options_.model_version,
                                         " was committed is not known, so its objects at ", prefix_,
                                         " are left as they are"));
  }
  if (own->has_value() && (*own)->state() == v1::ModelVersion::COMMITTED) {
    model_version_ = **own;
    return PublishSummary{model_version_, prefix_, plan_};
  }
  return TakeBack(status);
}

absl::Status Publication::TakeBack(const absl::Status& status) {
  const std::vector<std::string> uris = written_.uris();
  const absl::Status deleted = DeleteObjects(stores_, model_version_, uris);
  std::string left;
  if (!deleted.ok()) left = absl::StrCat("; left behind: ", deleted.message());
  const auto own = FindOwn();
  absl::Status dropped = own.status();
  if (own.ok() && own->has_value()) {
    v1::DeleteModelVersionRequest request;
    request.set_name(options_.model_version);
    CallOptions call;
    call.timeout = kCleanUpTimeout;
    dropped = client_.DeleteModelVersion(request, call).status();
    if (absl::IsNotFound(dropped)) dropped = absl::OkStatus();
  }
  // A draft that was never created is not worth a word.
  if (!dropped.ok() && !model_version_.uid().empty()) {
    absl::StrAppend(&left, "; the draft ", ShortModelVersionName(options_.model_version),
                    " could not be deleted and expires by itself (", dropped.message(), ")");
  }
  if (left.empty()) return status;
  absl::Status result(status.code(), absl::StrCat(status.message(), left));
  return WithDetail(result, DetailOf(status));
}

}  // namespace

absl::StatusOr<PublishSummary> Publish(Client& client, const ObjectStoreRegistry& stores,
                                       Random& random, const PublishOptions& options) {
  return Publication(client, stores, random, options).Run();
}

}  // namespace muster
