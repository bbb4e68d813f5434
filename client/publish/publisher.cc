// How a publication ends in all or nothing:
//
// 1. The draft carries a random id of this run, so that it can be distinguished from any other, and
//    a fingerprint of what is published.
// 2. Objects go below a folder with the draft's uid, and are noted before they are written.
// 3. When all are registered and the sources are unchanged, the draft is committed.
// 4. After an error before 3 the draft is deleted, then the objects: a publisher that resumes the
//    draft (6) never commits it without its objects.
// 5. After an error in 3 the outcome is unknown: the server is asked. Committed is success; a draft
//    is handled as in 4; without an answer nothing is touched.
// 6. A draft with another run's id and our fingerprint was left by a publisher that died. It is
//    resumed: everything is registered again as it was, objects that are there are kept where the
//    source still gives their digests, and overwritten otherwise. Should its publisher be alive
//    after all, both write the same bytes. After an error the draft stays, since it is not ours to
//    delete.
// 7. Where the storage is away or no longer grants access, deleting what it has would fail, too. If
//    it has something, the draft stays with it, and the same command resumes as in 6. So it is when a
//    person stops the publication: what kill -9 would leave is worth as much then. A second stop deletes it all.
#include "client/publish/publisher.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cache/checked_shard.h"
#include "client/checkpoint/object_files.h"
#include "client/checkpoint/shard_stream.h"
#include "client/hash/hash_queue.h"
#include "client/keys/server_keys.h"
#include "client/publish/shard_registrar.h"
#include "client/publish/shard_upload.h"
#include "client/publish/snapshot_digests.h"
#include "client/publish/written_objects.h"
#include "client/sdk/pages.h"
#include "client/sdk/pieces.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

// Annotations of the model version.
constexpr char kPublishIdKey[] = "muster.publish_id";
constexpr char kPlanKey[] = "muster.plan";
constexpr char kSnapshotKey[] = "muster.snapshot";
constexpr char kSourceSha256Key[] = "muster.source_sha256";
// Nobody waits longer for the tidying after an error.
constexpr absl::Duration kCleanUpTimeout = absl::Seconds(10);
// Where the draft was not even made as far as is known, the server mostly can't be reached at all.
constexpr absl::Duration kLookTimeout = absl::Seconds(1);

// Longer fingerprints are hashed.
constexpr size_t kMaxFingerprintBytes = 1'024;

class Publication {
 public:
  Publication(Client& client, const ObjectStoreRegistry& stores, Random& random,
              const PublishOptions& options)
      : client_(client),
        stores_(stores),
        options_(options),
        encode_(options.encode),
        publish_id_(random.NextId()),
        files_(FilesOf(options.source.path, stores)) {}

  absl::StatusOr<PublishSummary> Run() {
    MUSTER_RETURN_IF_ERROR(Plan());
    if (options_.restart) {
      const auto discarded =
          DiscardDraft(client_, stores_, options_.model_version, Call(options_.first_call_timeout));
      // A committed one is refused below, as without --restart.
      if (ReasonOf(discarded.status()) != reasons::kVersionNotDraft) {
        MUSTER_RETURN_IF_ERROR(discarded.status());
      }
    }
    absl::Status status = CreateDraft();
    if (absl::IsAlreadyExists(status)) return status;
    if (status.ok()) status = Fill();
    if (status.ok()) {
      status = Commit();
      if (!status.ok()) return Settle(status);
      return Summary();
    }
    return TakeBack(status);
  }

 private:
  CallOptions Call(absl::Duration timeout) const {
    return {.timeout = timeout, .stop = options_.stop};
  }

  bool in_place() const { return options_.source.in_place; }

  absl::Status Plan() {
    if (in_place() && encode_.any()) {
      return absl::InvalidArgumentError("files in place stay as they are and can't be encoded");
    }
    MUSTER_ASSIGN_OR_RETURN(plan_, PlanSource(options_.source, *files_));
    MUSTER_ASSIGN_OR_RETURN(const std::string fingerprint, plan_.Fingerprint());
    fingerprint_ = absl::StrCat(fingerprint, " ", options_.source.piece_size_bytes, " ",
                                in_place() ? "in-place" : options_.destination, " ", options_.zone);
    // Drafts of shards that are stored as they are have no word for it.
    if (encode_.any()) {
      absl::StrAppend(&fingerprint_, " ", encode_.Fingerprint());
    }
    if (fingerprint_.size() > kMaxFingerprintBytes) {
      fingerprint_ = Md5ToHex(Md5Of(fingerprint_));
    }
    if (in_place()) return absl::OkStatus();
    // Before the draft, so that a destination that can't be opened leaves nothing behind.
    return stores_.Open(options_.destination).status();
  }

  PublishSummary Summary() const {
    return {model_version_, prefix_, resumed_, shards_kept_, plan_.checkpoint.warnings};
  }

  absl::Status CreateDraft();
  absl::Status Resume(const absl::Status& taken);
  void Announce() const;
  absl::Status TakeServerKey();
  absl::Status Fill();
  std::vector<const SourceFile*> FilesToCheck() const;
  absl::Status CheckFiles();
  absl::Status StoreCompanions(std::vector<ReadCompanion>& companions);
  absl::StatusOr<SourceFiles::Place> StoreCompanion(const ReadCompanion& companion);
  void NoteStoring(const absl::Status& status);
  absl::StatusOr<v1::Shard> StoreShard(uint32_t index, const std::stop_token& stop);
  absl::Status StoreContent(const ShardCut& cut, const ShardStream& stream,
                            const v1::Shard* registered, const std::string& uri,
                            const ShardReading& reading, v1::Shard& shard);
  absl::StatusOr<ShardDigests> KeepEncoded(const ShardStream& stream, const v1::Shard& registered,
                                           const std::string& uri, const ShardReading& reading);
  absl::StatusOr<ShardDigests> StoreBytes(const ShardStream& stream, const v1::Shard* registered,
                                          const std::string& uri, const ShardReading& reading);
  absl::StatusOr<SourceFiles::Place> PlaceOfShard(uint32_t index) const;
  void AddLocation(const SourceFiles::Place& place,
                   google::protobuf::RepeatedPtrField<v1::Location>& locations) const;
  void FillTensors(uint32_t index, std::vector<v1::Tensor>& tensors) const;
  absl::Status Commit();
  absl::StatusOr<PublishSummary> Settle(const absl::Status& status);
  // The store refuses us: what could not be deleted was never written.
  bool WasRefusedToo(const absl::Status& status, const absl::Status& deleted) const;
  absl::Status TakeBack(const absl::Status& error);
  absl::Status DeleteDraft();
  std::string Discard();
  // What the server has under the name, if it is this run's.
  absl::StatusOr<std::optional<v1::ModelVersion>> FindOwn();

  Client& client_;
  const ObjectStoreRegistry& stores_;
  const PublishOptions& options_;
  // With the key that the server made for the draft, where that was asked for.
  EncodeOptions encode_;
  const std::string publish_id_;
  const std::shared_ptr<const SourceFiles> files_;
  SourcePlan plan_;
  // Of the plan and the options, as the draft's annotation.
  std::string fingerprint_;
  v1::ModelVersion model_version_;
  std::string prefix_;
  // Whether the draft is another run's, and the shards that it had then, by index.
  bool resumed_ = false;
  std::map<uint32_t, v1::Shard> registered_;
  // How many objects this run stored, and whether one failed as 7 says.
  std::atomic<uint32_t> stored_ = 0;
  std::atomic<bool> storage_is_away_ = false;
  // Shards that are stored and registered, kept ones included.
  std::atomic<uint32_t> shards_stored_ = 0;
  std::atomic<uint32_t> shards_kept_ = 0;
  WrittenObjects written_;
  // Shared by the shards that are stored at once.
  HashQueue hashes_;
};

absl::Status Publication::CreateDraft() {
  v1::CreateModelVersionRequest request;
  v1::ModelVersion& version = *request.mutable_model_version();
  version.set_name(options_.model_version);
  version.set_shard_count(static_cast<uint32_t>(plan_.cuts.shards.size()));
  version.set_tensor_count(plan_.checkpoint.tensors.size());
  version.set_companion_count(static_cast<uint32_t>(plan_.checkpoint.companions.size()));
  version.set_strategy(std::string(CutStrategyName(plan_.cuts.strategy)));
  auto& annotations = *version.mutable_annotations();
  annotations[kPublishIdKey] = publish_id_;
  annotations[kPlanKey] = fingerprint_;
  if (!in_place()) annotations[kDestinationKey] = options_.destination;
  const Checkpoint& checkpoint = plan_.checkpoint;
  if (!checkpoint.snapshot.empty()) annotations[kSnapshotKey] = checkpoint.snapshot;
  // Of what is encrypted no digest of the content leaves the node.
  const std::string sha256 = !encode_.encrypts() ? Sha256OfSource(checkpoint) : "";
  if (!sha256.empty()) annotations[kSourceSha256Key] = sha256;
  const auto response = client_.CreateModelVersion(request, Call(options_.first_call_timeout));
  if (absl::IsAlreadyExists(response.status())) {
    MUSTER_RETURN_IF_ERROR(Resume(response.status()));
  } else {
    MUSTER_RETURN_IF_ERROR(response.status());
    model_version_ = response->model_version();
  }
  if (!in_place()) {
    prefix_ = PublishPrefix(options_.destination, options_.model_version, model_version_.uid());
  }
  Announce();
  return absl::OkStatus();
}

absl::Status Publication::Resume(const absl::Status& taken) {
  v1::GetModelVersionRequest get;
  get.set_name(options_.model_version);
  const auto found = client_.GetModelVersion(get, Call(options_.first_call_timeout));
  if (!found.ok() || found->model_version().state() != v1::ModelVersion::DRAFT) return taken;
  const auto& annotations = found->model_version().annotations();
  const auto value = [&](const char* key) {
    const auto it = annotations.find(key);
    return it == annotations.end() ? std::string() : it->second;
  };
  if (value(kPlanKey) != fingerprint_) {
    return MakeError(
        absl::StatusCode::kAlreadyExists, reasons::kDraftDiffers,
        absl::StrCat(ShortModelVersionName(options_.model_version),
                     " is a draft of another source or with other options, so it can't be "
                     "resumed"),
        {{"name", options_.model_version}});
  }
  model_version_ = found->model_version();
  // The reply to our own call may have been lost.
  resumed_ = value(kPublishIdKey) != publish_id_;
  return ForEachShard(
      client_, options_.model_version,
      [this](const v1::Shard& shard) {
        registered_[shard.index()] = shard;
        return absl::OkStatus();
      },
      Call(options_.call_timeout));
}

void Publication::Announce() const {
  if (!options_.on_plan) return;
  int64_t total = plan_.SizeBytes();
  for (const SourceFile* file : FilesToCheck()) total += file->bytes->size_bytes();
  options_.on_plan(plan_, total);
}

absl::Status Publication::TakeServerKey() {
  if (!encode_.server_key) return absl::OkStatus();
  MUSTER_ASSIGN_OR_RETURN(
      DraftKey made, CreateServerKey(client_, options_.model_version, Call(options_.call_timeout)));
  encode_.keys = NewFixedKey(made.key);
  encode_.key_id = std::move(made.key_id);
  return absl::OkStatus();
}

absl::Status Publication::Fill() {
  MUSTER_RETURN_IF_ERROR(TakeServerKey());
  MUSTER_RETURN_IF_ERROR(CheckFiles());
  std::vector<ReadCompanion> companions;
  MUSTER_RETURN_IF_ERROR(StoreCompanions(companions));
  ShardRegistrar registrar(
      client_, options_.model_version,
      [this](uint32_t index, std::vector<v1::Tensor>& tensors) { FillTensors(index, tensors); },
      Call(options_.call_timeout));
  const auto fitting = static_cast<size_t>(
      std::max<int64_t>(1, kMaxPublishBufferBytes / options_.source.piece_size_bytes));
  const size_t jobs = std::clamp<size_t>(options_.jobs, 1, fitting);
  MUSTER_RETURN_IF_ERROR(RunInParallel(
      plan_.cuts.shards.size(), jobs, options_.stop, [&](size_t i, const std::stop_token& stop) {
        const auto index = static_cast<uint32_t>(i);
        absl::StatusOr<v1::Shard> shard = StoreShard(index, stop);
        if (!shard.ok()) return Annotate(shard.status(), absl::StrCat("shard ", index));
        absl::Status added = registrar.Add(*std::move(shard));
        if (added.ok()) ++shards_stored_;
        return added;
      }));
  MUSTER_RETURN_IF_ERROR(plan_.checkpoint.CheckUnchanged());
  for (const ReadCompanion& companion : companions) {
    MUSTER_RETURN_IF_ERROR(CheckUnchanged(*files_, companion));
  }
  return absl::OkStatus();
}

// Files with a known digest that no shard is a copy of: those are hashed as they are stored.
std::vector<const SourceFile*> Publication::FilesToCheck() const {
  std::set<uint32_t> whole;
  for (const ShardCut& shard : plan_.cuts.shards) {
    if (!Sha256OfShard(plan_, shard).empty()) whole.insert(shard.range->file);
  }
  std::vector<const SourceFile*> files;
  for (uint32_t i = 0; i < plan_.checkpoint.files.size(); ++i) {
    const SourceFile& file = plan_.checkpoint.files[i];
    if (!file.sha256.empty() && !whole.contains(i)) files.push_back(&file);
  }
  return files;
}

// Before anything is stored. One pass in order, which also brings the files into the page cache.
absl::Status Publication::CheckFiles() {
  const std::vector<const SourceFile*> files = FilesToCheck();
  return RunInParallel(
      files.size(), options_.jobs, options_.stop, [&](size_t i, const std::stop_token& stop) {
        return CheckSha256(*files[i]->bytes, files[i]->sha256, stop, options_.on_bytes);
      });
}

absl::Status Publication::StoreCompanions(std::vector<ReadCompanion>& read) {
  std::vector<v1::Companion> companions;
  for (const FoundFile& file : plan_.checkpoint.companions) {
    if (options_.stop.stop_requested()) return absl::CancelledError("interrupted");
    MUSTER_ASSIGN_OR_RETURN(ReadCompanion companion, ReadCompanionFile(*files_, file));
    MUSTER_ASSIGN_OR_RETURN(const SourceFiles::Place place, StoreCompanion(companion));
    AddLocation(place, *companion.companion.mutable_locations());
    companion.bytes = std::string();
    companions.push_back(companion.companion);
    read.push_back(std::move(companion));
  }
  return RegisterCompanions(client_, options_.model_version, companions,
                            Call(options_.call_timeout));
}

// Where its bytes are now.
absl::StatusOr<SourceFiles::Place> Publication::StoreCompanion(const ReadCompanion& companion) {
  if (in_place()) return companion.place;
  MUSTER_ASSIGN_OR_RETURN(
      const std::string uri,
      JoinUri(prefix_, absl::StrCat("companions/", companion.companion.path())));
  written_.Add(uri);
  MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, stores_.Open(uri));
  const absl::Status stored =
      object.store->Put(object.key, companion.bytes, {.must_not_exist = !resumed_}).status();
  NoteStoring(stored);
  MUSTER_RETURN_IF_ERROR(stored);
  return SourceFiles::Place{uri, ""};
}

void Publication::NoteStoring(const absl::Status& status) {
  if (status.ok()) ++stored_;
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
      absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status)) {
    storage_is_away_ = true;
  }
}

absl::StatusOr<SourceFiles::Place> Publication::PlaceOfShard(uint32_t index) const {
  const ShardCut& cut = plan_.cuts.shards[index];
  if (in_place()) return files_->Locate(*plan_.checkpoint.files[cut.range->file].bytes);
  MUSTER_ASSIGN_OR_RETURN(
      const std::string uri,
      JoinUri(prefix_, absl::StrFormat("shard-%05d.%s", index,
                                       cut.tensors.empty() ? "bin" : "safetensors")));
  return SourceFiles::Place{uri, ""};
}

void Publication::AddLocation(const SourceFiles::Place& place,
                              google::protobuf::RepeatedPtrField<v1::Location>& locations) const {
  v1::Location& location = *locations.Add();
  location.set_uri(place.uri);
  location.set_version(place.version);
  location.set_zone(options_.zone);
}

absl::StatusOr<v1::Shard> Publication::StoreShard(uint32_t index, const std::stop_token& stop) {
  const ShardCut& cut = plan_.cuts.shards[index];
  MUSTER_ASSIGN_OR_RETURN(const SourceFiles::Place place, PlaceOfShard(index));
  MUSTER_ASSIGN_OR_RETURN(const ShardStream stream, ShardStream::Open(plan_.checkpoint, cut));
  const auto known = registered_.find(index);
  v1::Shard shard;
  shard.set_index(index);
  MUSTER_RETURN_IF_ERROR(
      StoreContent(cut, stream, known == registered_.end() ? nullptr : &known->second, place.uri,
                   {options_.source.piece_size_bytes, hashes_, stop, options_.on_bytes,
                    Sha256OfShard(plan_, cut)},
                   shard));
  shard.set_tensor_count(static_cast<uint32_t>(cut.tensors.size()));
  shard.set_source_path(cut.path);
  if (cut.rank.has_value()) shard.set_rank(*cut.rank);
  if (cut.range.has_value()) {
    shard.set_source_offset_bytes(static_cast<uint64_t>(cut.range->offset_bytes));
  }
  AddLocation(place, *shard.mutable_locations());
  return shard;
}

// Sets what `shard` says of the stored bytes.
absl::Status Publication::StoreContent(const ShardCut& cut, const ShardStream& stream,
                                       const v1::Shard* registered, const std::string& uri,
                                       const ShardReading& reading, v1::Shard& shard) {
  ContentToEncode content{
      .shard_name = absl::StrCat(options_.model_version, "/shards/", shard.index()),
      .stream = stream,
      .runs = ElementRunsOf(cut, plan_.checkpoint.tensors),
      .encoding = {}};
  if (registered != nullptr) {
    MUSTER_ASSIGN_OR_RETURN(content.encoding, ParseEncoding(registered->encoding()));
  } else if (encode_.any()) {
    MUSTER_ASSIGN_OR_RETURN(content.encoding, ChooseEncoding(stream, content.runs, encode_));
  }
  absl::StatusOr<ShardDigests> digests;
  if (content.encoding.IsPlain()) {
    digests = StoreBytes(stream, registered, uri, reading);
    shard.set_sha256(reading.sha256);
  } else if (registered != nullptr &&
             IsStored(stores_, uri, static_cast<int64_t>(registered->size_bytes()), reading.stop)) {
    digests = KeepEncoded(stream, *registered, uri, reading);
  } else {
    MUSTER_ASSIGN_OR_RETURN(const ShardStream encoded, EncodeShard(content, encode_, reading));
    const ByteProgress none;
    digests = StoreBytes(encoded, registered, uri,
                         {reading.piece_size_bytes, reading.hashes, reading.stop, none, ""});
  }
  MUSTER_RETURN_IF_ERROR(digests.status());
  shard.set_size_bytes(static_cast<uint64_t>(digests->size_bytes));
  shard.set_md5(Md5ToHex(digests->md5));
  shard.set_root(Md5ToHex(digests->root));
  shard.set_piece_size_bytes(static_cast<uint64_t>(options_.source.piece_size_bytes));
  shard.set_piece_md5s(PackPieces(digests->pieces));
  if (content.encoding.IsPlain()) return absl::OkStatus();
  shard.set_encoding(EncodingName(content.encoding));
  shard.set_content_size_bytes(static_cast<uint64_t>(stream.size_bytes()));
  if (content.encoding.encrypted) shard.set_key_id(encode_.key_id);
  return absl::OkStatus();
}

// An object that an earlier publication stored and registered: its digests, if it is our content's.
absl::StatusOr<ShardDigests> Publication::KeepEncoded(const ShardStream& stream,
                                                      const v1::Shard& registered,
                                                      const std::string& uri,
                                                      const ShardReading& reading) {
  MUSTER_RETURN_IF_ERROR(CheckEncodedObject(stores_, uri, registered, stream, encode_, reading));
  CallOptions call = Call(options_.call_timeout);
  call.stop = reading.stop;
  ShardDigests digests;
  digests.size_bytes = static_cast<int64_t>(registered.size_bytes());
  MUSTER_ASSIGN_OR_RETURN(digests.pieces, FetchPieces(client_, registered, call));
  MUSTER_ASSIGN_OR_RETURN(digests.root, Md5FromHex(registered.root()));
  MUSTER_ASSIGN_OR_RETURN(digests.md5, Md5FromHex(registered.md5()));
  ++shards_kept_;
  return digests;
}

absl::StatusOr<ShardDigests> Publication::StoreBytes(const ShardStream& stream,
                                                     const v1::Shard* registered,
                                                     const std::string& uri,
                                                     const ShardReading& reading) {
  const bool is_there =
      registered != nullptr && IsStored(stores_, uri, stream.size_bytes(), reading.stop);
  absl::StatusOr<ShardDigests> digests;
  if (in_place() || is_there) {
    digests = DigestShard(stream, reading);
  } else {
    written_.Add(uri);
    digests = UploadShard(stores_, uri, stream, reading, /*replace=*/resumed_);
    NoteStoring(digests.status());
  }
  if (!digests.ok() || registered == nullptr) return digests;
  if (registered->size_bytes() != static_cast<uint64_t>(digests->size_bytes) ||
      registered->root() != Md5ToHex(digests->root)) {
    return MakeError(
        absl::StatusCode::kAborted, reasons::kShardDiffers,
        "the draft has it with other bytes: the source was changed since, or its object was "
        "encrypted and is gone; publish with --restart to start over",
        {{"uri", uri}});
  }
  if (is_there) ++shards_kept_;
  return digests;
}

void Publication::FillTensors(uint32_t index, std::vector<v1::Tensor>& tensors) const {
  const Checkpoint& checkpoint = plan_.checkpoint;
  const ShardCut& cut = plan_.cuts.shards[index];
  const std::vector<int64_t> offsets = TensorOffsetsInShard(cut, checkpoint.tensors);
  tensors.reserve(cut.tensors.size());
  for (size_t i = 0; i < cut.tensors.size(); ++i) {
    const SourceTensor& source = checkpoint.tensors[cut.tensors[i]];
    v1::Tensor& tensor = tensors.emplace_back();
    tensor.set_name(checkpoint.NameInCatalogue(source));
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
  // What the publisher that died had half written. That some of it may be left is not an error.
  if (resumed_ && !in_place()) DeleteObjects(stores_, model_version_, {}).IgnoreError();
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
  if (!resumed_ && (id == annotations.end() || id->second != publish_id_)) {
    return std::optional<v1::ModelVersion>();
  }
  if (resumed_ && found->model_version().uid() != model_version_.uid()) {
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
    return Summary();
  }
  return TakeBack(status);
}

absl::Status Publication::DeleteDraft() {
  v1::DeleteModelVersionRequest request;
  request.set_name(options_.model_version);
  if (!model_version_.uid().empty()) request.set_uid(model_version_.uid());
  CallOptions call;
  call.timeout = kCleanUpTimeout;
  const absl::Status deleted = client_.DeleteModelVersion(request, call).status();
  // Somebody else's draft under the name: this one is gone.
  const bool gone = absl::IsNotFound(deleted) || ReasonOf(deleted) == reasons::kUidDiffers;
  return gone ? absl::OkStatus() : deleted;
}

bool Publication::WasRefusedToo(const absl::Status& status, const absl::Status& deleted) const {
  return stored_ == 0 && status.code() == deleted.code() &&
         (absl::IsUnauthenticated(deleted) || absl::IsPermissionDenied(deleted));
}

// What became of it, for the message.
std::string Publication::Discard() {
  CallOptions call;
  call.timeout = kCleanUpTimeout;
  const auto discarded = DiscardDraft(client_, stores_, options_.model_version, call);
  if (!discarded.ok()) return absl::StrCat("; left behind: ", discarded.status().message());
  return absl::StrCat("; its draft and ", discarded->objects, " stored objects were deleted");
}

absl::Status Publication::TakeBack(const absl::Status& error) {
  const bool stopped = absl::IsCancelled(error) && options_.stop.stop_requested();
  // In whose middle it was is nobody's concern.
  const absl::Status status = stopped ? absl::CancelledError("interrupted") : error;
  const auto with = [&status](absl::string_view what) {
    return WithDetail(absl::Status(status.code(), absl::StrCat(status.message(), what)),
                      DetailOf(status));
  };
  if (stopped && options_.discard.stop_requested()) return with(Discard());
  const bool worth_keeping = stopped && !in_place() && shards_stored_ > 0;
  if (resumed_ || worth_keeping || (storage_is_away_ && stored_ > 0)) {
    const size_t shards = std::max<size_t>(registered_.size(), shards_stored_);
    return with(absl::StrCat("; the draft ", ShortModelVersionName(options_.model_version),
                             " stays as it is, with ", shards, " of ", plan_.cuts.shards.size(),
                             " shards: the same command resumes it, with --restart it starts over, "
                             "and with --clean it only deletes what there is"));
  }
  const auto own = FindOwn();
  if (own.ok() && own->has_value() && (*own)->state() == v1::ModelVersion::COMMITTED) {
    return with("; another publication has committed the draft meanwhile, so nothing is deleted");
  }
  absl::Status dropped = own.status();
  if (own.ok() && own->has_value()) dropped = DeleteDraft();
  const absl::Status deleted = DeleteObjects(stores_, model_version_, written_.uris());
  std::string left;
  if (!deleted.ok() && !WasRefusedToo(status, deleted)) {
    left = absl::StrCat("; left behind: ", deleted.message());
  }
  // A draft that was never created is not worth a word.
  if (!dropped.ok() && !model_version_.uid().empty()) {
    absl::StrAppend(&left, "; the draft ", ShortModelVersionName(options_.model_version),
                    " could not be deleted and expires by itself (", dropped.message(), ")");
  }
  return left.empty() ? status : with(left);
}

}  // namespace

absl::StatusOr<DiscardedDraft> DiscardDraft(Client& client, const ObjectStoreRegistry& stores,
                                            const std::string& model_version,
                                            const CallOptions& call) {
  v1::GetModelVersionRequest get;
  get.set_name(model_version);
  const auto found = client.GetModelVersion(get, call);
  if (absl::IsNotFound(found.status())) return DiscardedDraft{};
  MUSTER_RETURN_IF_ERROR(found.status());
  const v1::ModelVersion& version = found->model_version();
  if (version.state() != v1::ModelVersion::DRAFT) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, reasons::kVersionNotDraft,
        absl::StrCat(model_version, " is ", v1::ModelVersion::State_Name(version.state()),
                     " and stays; `muster models delete` deletes it"),
        {{"model_version", model_version}});
  }
  v1::DeleteModelVersionRequest request;
  request.set_name(model_version);
  // Of the draft that was found, whose objects go next; not of one that somebody has begun since.
  request.set_uid(version.uid());
  MUSTER_RETURN_IF_ERROR(client.DeleteModelVersion(request, call).status());
  // A killed publisher may have written objects that it never registered, so the folder is listed.
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> uris,
                          ListPublishedObjects(stores, version));
  MUSTER_RETURN_IF_ERROR(DeleteObjects(stores, version, uris));
  return DiscardedDraft{.found = true, .objects = uris.size()};
}

absl::StatusOr<PublishSummary> Publish(Client& client, const ObjectStoreRegistry& stores,
                                       Random& random, const PublishOptions& options) {
  return Publication(client, stores, random, options).Run();
}

}  // namespace muster
