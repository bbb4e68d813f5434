#include "server/registry/catalogue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/registry/index_runs.h"
#include "server/registry/limits.h"
#include "server/registry/row_keys.h"
#include "server/registry/timestamps.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

// Lists in error metadata are cut here; counts are always whole.
constexpr size_t kMaxListBytes = 1'000;

std::string HexToBytes(absl::string_view hex) { return absl::HexStringToBytes(hex); }

store::ShardRow ToRow(const v1::Shard& shard) {
  store::ShardRow row;
  row.set_size_bytes(shard.size_bytes());
  row.set_md5(HexToBytes(shard.md5()));
  row.set_root(HexToBytes(shard.root()));
  row.set_piece_size_bytes(shard.piece_size_bytes());
  if (shard.piece_size_bytes() != 0) {
    row.set_piece_count(
        static_cast<uint32_t>((shard.size_bytes() - 1) / shard.piece_size_bytes() + 1));
  }
  row.set_sha256(HexToBytes(shard.sha256()));
  if (shard.has_rank()) row.set_rank(shard.rank());
  row.set_tensor_count(shard.tensor_count());
  *row.mutable_locations() = shard.locations();
  for (v1::Location& location : *row.mutable_locations()) location.clear_suspect();
  row.set_encoding(shard.encoding());
  row.set_source_path(shard.source_path());
  row.set_source_offset_bytes(shard.source_offset_bytes());
  row.set_content_size_bytes(shard.content_size_bytes());
  row.set_key_id(shard.key_id());
  return row;
}

// What a node that has the shard needs room for.
uint64_t PlacedBytes(const store::ShardRow& row) {
  return std::max(row.size_bytes(), row.content_size_bytes());
}

// Everything but the locations, which are not content.
bool SameContent(store::ShardRow a, store::ShardRow b) {
  a.clear_locations();
  b.clear_locations();
  a.clear_revision();
  b.clear_revision();
  return a.SerializeAsString() == b.SerializeAsString();
}

store::ShardRow UnpackShard(const Version& version, uint32_t index) {
  store::ShardRow row;
  const absl::string_view packed = version.shards[index].row.view();
  row.ParseFromArray(packed.data(), static_cast<int>(packed.size()));
  return row;
}

bool SameLocation(const v1::Location& a, const v1::Location& b) {
  return a.uri() == b.uri() && a.zone() == b.zone() && a.priority() == b.priority() &&
         a.max_readers() == b.max_readers() && a.version() == b.version();
}

// Adds `location`, or replaces the one with its URI; false when it is already present.
absl::StatusOr<bool> MergeLocation(absl::string_view shard_name, const v1::Location& location,
                                   store::ShardRow& row) {
  for (v1::Location& present : *row.mutable_locations()) {
    if (present.uri() != location.uri()) continue;
    if (SameLocation(present, location)) return false;
    present = location;
    present.clear_suspect();
    return true;
  }
  if (row.locations_size() >= kMaxLocationsPerShard) {
    return MakeError(absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
                     absl::StrCat(shard_name, " has ", row.locations_size(),
                                  " locations already: remove one first"),
                     {{"field", "locations"}, {"limit", absl::StrCat(kMaxLocationsPerShard)}});
  }
  *row.add_locations() = location;
  row.mutable_locations()->rbegin()->clear_suspect();
  return true;
}

absl::Status NotDraft(const Version& version) {
  const std::string state = v1::ModelVersion::State_Name(version.row.state());
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kVersionNotDraft,
                   absl::StrCat(version.row.name(), " is ", state,
                                " and its content never changes: publish under another version"),
                   {{"name", version.row.name()}, {"state", state}});
}

absl::Status CheckZones(absl::string_view shard_name, const store::ShardRow& row,
                        const Version& version) {
  if (version.location_zones.HasRoomFor(ZoneSets::Of(row.locations()))) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
      absl::StrCat(shard_name, " would have locations in another set of zones than any shard, and ",
                   "the shards of a model version may be in ", kMaxZoneSets,
                   ": give shards that are stored alike the same zones"),
      {{"field", "zone"}, {"limit", absl::StrCat(kMaxZoneSets)}});
}

Draft::Fingerprint CompanionFingerprint(const v1::Companion& companion) {
  return Draft::FingerprintOf(absl::StrCat(companion.size_bytes(), ":", companion.md5()));
}

void TellOfVersion(const Version& version, v1::Event::Kind kind, absl::string_view old_state,
                   absl::string_view new_state, Transaction& tx) {
  v1::Event event;
  event.set_kind(kind);
  event.set_model_version(version.row.name());
  event.set_old_state(std::string(old_state));
  event.set_new_state(std::string(new_state));
  event.set_shard_count(version.row.shard_count());
  tx.Tell(std::move(event));
}

}  // namespace

absl::StatusOr<const Version*> Catalogue::Find(absl::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  if (found == by_name_.end()) {
    // A name that was found is well-formed.
    MUSTER_RETURN_IF_ERROR(ParseModelVersionName(name).status());
    return MakeError(absl::StatusCode::kNotFound, reasons::kVersionUnknown,
                     absl::StrCat("unknown model version ", name), {{"name", std::string(name)}});
  }
  return found->second.get();
}

absl::StatusOr<Version*> Catalogue::FindMutable(absl::string_view name) {
  MUSTER_ASSIGN_OR_RETURN(const Version* version, Find(name));
  return const_cast<Version*>(version);
}

absl::StatusOr<Version*> Catalogue::FindDraft(absl::string_view name) {
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindMutable(name));
  if (version->draft == nullptr) return NotDraft(*version);
  return version;
}

absl::Status Catalogue::CheckShardExists(const Version& version, uint32_t index) const {
  if (index < version.shards.size() && !version.shards[index].row.empty()) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kNotFound, reasons::kShardUnknown,
      absl::StrCat(version.row.name(), " has no shard ", index, " (", version.shards_added, " of ",
                   version.row.shard_count(), " were added)"),
      {{"name", version.row.name()},
       {"shard", absl::StrCat(index)},
       {"shard_count", absl::StrCat(version.row.shard_count())}});
}

const Version* Catalogue::FindByUid(VersionUid uid) const {
  const auto found = by_uid_.find(uid);
  return found == by_uid_.end() ? nullptr : found->second;
}

Version* Catalogue::FindByUid(VersionUid uid) {
  const auto found = by_uid_.find(uid);
  return found == by_uid_.end() ? nullptr : found->second;
}

absl::Status Catalogue::CheckRoomForDraft(uint32_t shards) const {
  const auto full = [](absl::string_view what, absl::string_view field, uint64_t count,
                       uint64_t limit) {
    return MakeError(absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
                     absl::StrCat("all drafts together would have ", count, " ", what,
                                  ", and may have ", limit, ": commit or delete some first"),
                     {{"field", std::string(field)},
                      {"count", absl::StrCat(count)},
                      {"limit", absl::StrCat(limit)}});
  };
  if (drafts_ >= kMaxDrafts) return full("model versions", "name", drafts_ + 1, kMaxDrafts);
  if (draft_shards_ + shards > kMaxDraftShards) {
    return full("announced shards", "shard_count", draft_shards_ + shards, kMaxDraftShards);
  }
  return absl::OkStatus();
}

void Catalogue::CountDraft(const Version& version, int sign) {
  drafts_ += sign;
  draft_shards_ += sign * static_cast<int64_t>(version.row.shard_count());
}

absl::Status Catalogue::Create(const v1::CreateModelVersionRequest& request, Transaction& tx,
                               v1::CreateModelVersionResponse& response) {
  const v1::ModelVersion& wanted = request.model_version();
  MUSTER_RETURN_IF_ERROR(CheckModelVersion(wanted));
  const auto present = by_name_.find(wanted.name());
  if (present != by_name_.end()) {
    const std::string state = v1::ModelVersion::State_Name(present->second->row.state());
    return MakeError(absl::StatusCode::kAlreadyExists, reasons::kVersionExists,
                     absl::StrCat(wanted.name(), " exists and is ", state,
                                  ": publish under another version, or delete it first"),
                     {{"name", wanted.name()}, {"state", state}});
  }
  auto version = std::make_unique<Version>();
  store::VersionRow& row = version->row;
  row.set_name(wanted.name());
  row.set_state(v1::ModelVersion::DRAFT);
  row.set_shard_count(wanted.shard_count());
  row.set_tensor_count(wanted.tensor_count());
  row.set_companion_count(wanted.companion_count());
  row.set_strategy(wanted.strategy());
  *row.mutable_annotations() = wanted.annotations();
  row.set_create_time_us(tx.wall_us());
  version->draft = std::make_unique<Draft>();
  version->draft->Touch(tx.now_us());
  MUSTER_RETURN_IF_ERROR(CheckRoomForDraft(row.shard_count()));
  if (request.validate_only()) {
    *response.mutable_model_version() = Describe(*version);
    return absl::OkStatus();
  }
  row.set_revision(tx.MarkChanged().value);
  version->uid = VersionUid(row.revision());
  row.set_uid(row.revision());
  CountDraft(*version, 1);
  tx.Put(VersionKey(version->uid), row);
  TellOfVersion(*version, v1::Event::VERSION_CREATED, "", "DRAFT", tx);
  *response.mutable_model_version() = Describe(*version);
  by_uid_[version->uid] = version.get();
  by_name_[row.name()] = std::move(version);
  return absl::OkStatus();
}

absl::Status Catalogue::Stage(const StagePieces& command, Transaction& tx) {
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindMutable(command.version));
  const uint32_t index = command.shard.value;
  // An existing shard keeps its digests; AddShard, which follows, compares the content.
  if (index < version->shards.size() && !version->shards[index].row.empty()) {
    return absl::OkStatus();
  }
  if (version->draft == nullptr) return NotDraft(*version);
  if (index >= version->row.shard_count()) {
    return InvalidField("index", absl::StrCat(index),
                        absl::StrCat("0 to ", version->row.shard_count() - 1));
  }
  store::PiecesRow row;
  row.set_md5s(command.md5s);
  tx.Put(PiecesKey(version->uid, command.shard, command.chunk), row);
  return absl::OkStatus();
}

void Catalogue::SetShard(Version& version, uint32_t index, const store::ShardRow& row,
                         absl::string_view packed) {
  if (version.shards.empty()) version.shards.resize(version.row.shard_count());
  Version::Shard& shard = version.shards[index];
  version.placed_bytes -= shard.size_bytes;
  shard.size_bytes = PlacedBytes(row);
  version.placed_bytes += shard.size_bytes;
  shard.content = ContentIdOf(row.root().empty() ? row.md5() : row.root());
  shard.rank = row.has_rank() ? std::optional<uint32_t>(row.rank()) : std::nullopt;
  if (!shard.row.empty()) version.location_zones.Remove(shard.location_zones);
  shard.location_zones = version.location_zones.Add(ZoneSets::Of(row.locations()));
  shard.row = PackedBytes(packed);
  version.plan_shards.reset();
}

ContentId ContentIdOf(absl::string_view digest) {
  ContentId id;
  for (size_t i = 0; i < 8; ++i) {
    id.high = id.high << 8 | static_cast<uint8_t>(digest[i]);
    id.low = id.low << 8 | static_cast<uint8_t>(digest[i + 8]);
  }
  return id;
}

std::shared_ptr<const std::vector<PlanShard>> Version::PlanShards() const {
  if (plan_shards != nullptr) return plan_shards;
  return std::make_shared<const std::vector<PlanShard>>(shards.begin(), shards.end());
}

void Version::IndexContent() {
  if (!shards_by_content.empty()) return;
  shards_by_content.reserve(shards.size());
  for (uint32_t shard = 0; shard < shards.size(); ++shard) {
    shards_by_content.emplace_back(shards[shard].content.high, shard);
  }
  std::sort(shards_by_content.begin(), shards_by_content.end());
}

std::vector<uint32_t> Version::CachedShards(const std::vector<uint64_t>& inventory) const {
  std::vector<uint32_t> cached;
  // Both are in the order of contents, so that each search begins where the last one ended.
  auto at = shards_by_content.begin();
  for (const uint64_t content : inventory) {
    at = std::lower_bound(at, shards_by_content.end(), std::pair(content, uint32_t{0}));
    for (; at != shards_by_content.end() && at->first == content; ++at) {
      cached.push_back(at->second);
    }
  }
  std::sort(cached.begin(), cached.end());
  return cached;
}

absl::Status Catalogue::Add(const AddShard& command, Transaction& tx) {
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindMutable(command.version));
  const uint32_t index = command.shard.index();
  store::ShardRow row = ToRow(command.shard);
  if (index < version->shards.size() && !version->shards[index].row.empty()) {
    store::ShardRow present = UnpackShard(*version, index);
    if (!SameContent(present, row)) {
      if (version->draft == nullptr) return NotDraft(*version);
      return MakeError(absl::StatusCode::kAlreadyExists, reasons::kShardExists,
                       absl::StrCat(version->row.name(), " already has a shard ", index,
                                    " with different content: delete the draft to start over"),
                       {{"name", version->row.name()}, {"shard", absl::StrCat(index)}});
    }
    bool merged = false;
    const std::string name = absl::StrCat(version->row.name(), "/shards/", index);
    for (const v1::Location& location : command.shard.locations()) {
      MUSTER_ASSIGN_OR_RETURN(const bool added, MergeLocation(name, location, present));
      merged = merged || added;
    }
    if (!merged) return absl::OkStatus();
    MUSTER_RETURN_IF_ERROR(CheckZones(name, present, *version));
    ReplaceLocations(*version, index, std::move(present), tx);
    return absl::OkStatus();
  }
  if (version->draft == nullptr) return NotDraft(*version);
  MUSTER_RETURN_IF_ERROR(CheckKeyOfShard(version->row, row.key_id()));
  const uint32_t announced = version->row.shard_count();
  if (index >= announced) {
    return InvalidField("index", absl::StrCat(index),
                        absl::StrCat("0 to ", announced - 1, ", as the model version announced ",
                                     announced, " shards"));
  }
  // A version of 0.1.0 may have more already.
  const uint64_t taken = std::min<uint64_t>(version->placed_bytes, kMaxVersionBytes);
  if (PlacedBytes(row) > kMaxVersionBytes - taken) {
    return InvalidField(
        row.size_bytes() < row.content_size_bytes() ? "content_size_bytes" : "size_bytes",
        absl::StrCat(PlacedBytes(row)),
        absl::StrCat("at most ", kMaxVersionBytes, " bytes over all shards, of which ", taken,
                     " are taken"));
  }
  MUSTER_RETURN_IF_ERROR(
      CheckZones(absl::StrCat(version->row.name(), "/shards/", index), row, *version));
  row.set_revision(tx.MarkChanged().value);
  std::string packed = row.SerializeAsString();
  SetShard(*version, index, row, packed);
  tx.Put(ShardKey(version->uid, ShardIndex(index)), std::move(packed));
  if (!command.pieces_staged && row.piece_count() > 0) {
    store::PiecesRow pieces;
    pieces.set_md5s(command.shard.piece_md5s());
    tx.Put(PiecesKey(version->uid, ShardIndex(index), 0), pieces);
  }
  ++version->shards_added;
  version->size_bytes += row.size_bytes();
  version->draft->AddShard(index, row.tensor_count());
  version->draft->Touch(tx.now_us());
  return absl::OkStatus();
}

void Catalogue::ReplaceLocations(Version& version, uint32_t index, store::ShardRow row,
                                 Transaction& tx) {
  row.set_revision(tx.MarkChanged().value);
  std::string packed = row.SerializeAsString();
  SetShard(version, index, row, packed);
  tx.Put(ShardKey(version.uid, ShardIndex(index)), std::move(packed));
  if (version.draft != nullptr) version.draft->Touch(tx.now_us());
}

absl::Status Catalogue::Add(const v1::AddTensorsRequest& request, Transaction& tx,
                            v1::AddTensorsResponse& response) {
  MUSTER_ASSIGN_OR_RETURN(const ShardName name, ParseShardName(request.name()));
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindDraft(name.version.ToString()));
  const uint32_t index = name.index.value;
  MUSTER_RETURN_IF_ERROR(CheckShardExists(*version, index));
  const store::ShardRow shard = UnpackShard(*version, index);
  const uint64_t content_bytes =
      shard.encoding().empty() ? shard.size_bytes() : shard.content_size_bytes();
  MUSTER_RETURN_IF_ERROR(CheckTensorBatch(request, content_bytes));
  const auto rank = shard.has_rank() ? std::optional<uint32_t>(shard.rank()) : std::nullopt;
  bool repeat = false;
  MUSTER_RETURN_IF_ERROR(
      version->draft->CheckTensors(index, rank, shard.tensor_count(), request, &repeat));
  if (!repeat) {
    store::TensorsRow row;
    *row.mutable_tensors() = request.tensors();
    for (v1::Tensor& tensor : *row.mutable_tensors()) tensor.clear_shard();
    tx.MarkChanged();
    tx.Put(TensorsKey(version->uid, name.index, request.start()), row);
    version->draft->AddTensors(index, rank, request.start(), request.tensors());
    version->draft->Touch(tx.now_us());
  }
  response.set_tensors_added(version->draft->TensorsOf(index));
  return absl::OkStatus();
}

absl::Status Catalogue::Add(const AddCompanion& command, Transaction& tx) {
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindMutable(command.version));
  const v1::Companion& companion = command.companion;
  const Draft::Fingerprint content = CompanionFingerprint(companion);
  const auto present = version->companions.find(companion.path());
  if (present != version->companions.end() && present->second == content) return absl::OkStatus();
  if (version->draft == nullptr) return NotDraft(*version);
  if (present != version->companions.end()) {
    return MakeError(
        absl::StatusCode::kAlreadyExists, reasons::kCompanionExists,
        absl::StrCat(version->row.name(), " already has a companion '", companion.path(),
                     "' with different content: delete the draft to start over"),
        {{"name", version->row.name()}, {"path", companion.path()}});
  }
  if (version->companions.size() >= version->row.companion_count()) {
    return InvalidField("companions", absl::StrCat(version->companions.size() + 1),
                        absl::StrCat("at most the ", version->row.companion_count(),
                                     " that the model version announced"));
  }
  tx.MarkChanged();
  store::CompanionRow row;
  *row.mutable_companion() = companion;
  for (v1::Location& location : *row.mutable_companion()->mutable_locations()) {
    location.clear_suspect();
  }
  tx.Put(CompanionKey(version->uid, companion.path()), row);
  version->companions[companion.path()] = content;
  version->draft->Touch(tx.now_us());
  return absl::OkStatus();
}

absl::Status Catalogue::Add(const AddLocation& command, Transaction& tx) {
  if (!command.entry.has_shard()) return InvalidField("shard", "", "required (0 is valid)");
  MUSTER_RETURN_IF_ERROR(CheckLocation(command.entry.location()));
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindMutable(command.version));
  const uint32_t index = command.entry.shard();
  MUSTER_RETURN_IF_ERROR(CheckShardExists(*version, index));
  store::ShardRow row = UnpackShard(*version, index);
  const std::string name = absl::StrCat(version->row.name(), "/shards/", index);
  MUSTER_ASSIGN_OR_RETURN(const bool changed, MergeLocation(name, command.entry.location(), row));
  if (!changed) return absl::OkStatus();
  MUSTER_RETURN_IF_ERROR(CheckZones(name, row, *version));
  ReplaceLocations(*version, index, std::move(row), tx);
  return absl::OkStatus();
}

absl::Status Catalogue::Remove(const RemoveLocation& command, Transaction& tx) {
  if (!command.entry.has_shard()) return InvalidField("shard", "", "required (0 is valid)");
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindMutable(command.version));
  const uint32_t index = command.entry.shard();
  MUSTER_RETURN_IF_ERROR(CheckShardExists(*version, index));
  store::ShardRow row = UnpackShard(*version, index);
  auto& locations = *row.mutable_locations();
  for (int i = 0; i < locations.size(); ++i) {
    if (locations[i].uri() != command.entry.uri()) continue;
    if (locations.size() == 1) {
      return MakeError(
          absl::StatusCode::kFailedPrecondition, reasons::kLastLocation,
          absl::StrCat(version->row.name(), "/shards/", index, " has only the location ",
                       command.entry.uri(), ": add another one first"),
          {{"name", version->row.name()},
           {"shard", absl::StrCat(index)},
           {"uri", command.entry.uri()}});
    }
    locations.DeleteSubrange(i, 1);
    health_.Forget(version->uid, index, command.entry.uri(), tx);
    ReplaceLocations(*version, index, std::move(row), tx);
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status Catalogue::CheckComplete(const Version& version) const {
  // Nothing is looked at one by one unless something is missing.
  std::vector<uint32_t> missing_shards;
  const bool whole = version.shards_added == version.row.shard_count();
  for (uint32_t index = 0; !whole && index < version.row.shard_count(); ++index) {
    if (index >= version.shards.size() || version.shards[index].row.empty()) {
      missing_shards.push_back(index);
    }
  }
  const std::vector<uint32_t> short_of_tensors = version.draft->ShardsShortOfTensors();
  const uint64_t announced = version.draft->tensors_announced();
  const uint64_t tensors = version.draft->tensors_added();
  const size_t companions = version.companions.size();
  std::vector<std::string> problems;
  std::map<std::string, std::string> metadata = {{"name", version.row.name()}};
  if (!missing_shards.empty()) {
    metadata["missing_shards"] = RunsToText(missing_shards, kMaxListBytes);
    problems.push_back(absl::StrCat(missing_shards.size(), " of ", version.row.shard_count(),
                                    " shards are missing (", RunsToText(missing_shards, 200), ")"));
  }
  if (!short_of_tensors.empty()) {
    metadata["shards_short_of_tensors"] = RunsToText(short_of_tensors, kMaxListBytes);
    problems.push_back(
        absl::StrCat("tensors are missing in shards ", RunsToText(short_of_tensors, 200)));
  }
  if (tensors != version.row.tensor_count() ||
      (missing_shards.empty() && announced != version.row.tensor_count())) {
    metadata["missing_tensors"] =
        absl::StrCat(version.row.tensor_count() - std::min(tensors, version.row.tensor_count()));
    problems.push_back(absl::StrCat(tensors, " tensors were added and ", version.row.tensor_count(),
                                    " were announced"));
  }
  if (companions != version.row.companion_count()) {
    metadata["missing_companions"] = absl::StrCat(version.row.companion_count() - companions);
    problems.push_back(absl::StrCat(companions, " companions were added and ",
                                    version.row.companion_count(), " were announced"));
  }
  if (problems.empty()) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kVersionIncomplete,
      absl::StrCat(version.row.name(), " is incomplete: ", absl::StrJoin(problems, "; ")),
      metadata);
}

absl::Status Catalogue::Commit(const v1::CommitModelVersionRequest& request, Transaction& tx,
                               v1::CommitModelVersionResponse& response) {
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindMutable(request.name()));
  if (version->draft != nullptr) {
    MUSTER_RETURN_IF_ERROR(CheckComplete(*version));
    if (!request.validate_only()) {
      store::VersionRow& row = version->row;
      row.set_state(v1::ModelVersion::COMMITTED);
      row.set_commit_time_us(tx.wall_us());
      row.set_revision(tx.MarkChanged().value);
      row.set_size_bytes(version->size_bytes);
      row.set_tensors_added(version->draft->tensors_added());
      tx.Put(VersionKey(version->uid), row);
      TellOfVersion(*version, v1::Event::VERSION_COMMITTED, "DRAFT", "COMMITTED", tx);
      CountDraft(*version, -1);
      version->draft.reset();
    }
  }
  *response.mutable_model_version() = Describe(*version);
  return absl::OkStatus();
}

absl::Status Catalogue::Delete(const v1::DeleteModelVersionRequest& request, Transaction& tx) {
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindMutable(request.name()));
  MUSTER_RETURN_IF_ERROR(CheckUidOf(request, version->row.name(), UidText(*version)));
  if (!version->assemblies.empty()) {
    const std::string list = absl::StrJoin(version->assemblies, ",");
    return MakeError(
        absl::StatusCode::kFailedPrecondition, reasons::kVersionInUse,
        absl::StrCat(version->row.name(), " is used by ", list.substr(0, 500),
                     ": delete these assemblies first"),
        {{"name", version->row.name()}, {"assemblies", list.substr(0, kMaxListBytes)}});
  }
  if (!request.validate_only()) Erase(*version, tx);
  return absl::OkStatus();
}

void Catalogue::Erase(Version& version, Transaction& tx) {
  TellOfVersion(version, v1::Event::VERSION_DELETED,
                v1::ModelVersion::State_Name(version.row.state()), "GONE", tx);
  tx.Delete(VersionKey(version.uid));
  tx.DeletePrefix(AllShardsPrefix(version.uid));
  tx.DeletePrefix(AllPiecesPrefix(version.uid));
  tx.DeletePrefix(AllTensorsPrefix(version.uid));
  tx.DeletePrefix(AllCompanionsPrefix(version.uid));
  health_.Forget(version.uid, tx);
  if (version.draft != nullptr) CountDraft(version, -1);
  content_keys_.Remove(version.row.content_key());
  by_uid_.erase(version.uid);
  by_name_.erase(std::string(version.row.name()));
}

void Catalogue::Tick(Transaction& tx) {
  for (const auto& [name, version] : by_name_) {
    if (!version->assemblies.empty() && version->plan_shards == nullptr) {
      version->plan_shards = version->PlanShards();
    }
    // Loaded: when it was last added to is not stored, so its day begins with the first tick.
    if (version->draft != nullptr && version->draft->last_addition_us() == 0) {
      version->draft->Touch(tx.now_us());
    }
    if (version->draft != nullptr &&
        tx.now_us() - version->draft->last_addition_us() > kDraftTtlUs) {
      tx.Then(ExpireDraft{version->uid});
    }
  }
}

absl::Status Catalogue::Expire(const ExpireDraft& command, Transaction& tx) {
  Version* version = FindByUid(command.version);
  if (version != nullptr && version->draft != nullptr &&
      tx.now_us() - version->draft->last_addition_us() > kDraftTtlUs) {
    Erase(*version, tx);
  }
  return absl::OkStatus();
}

void Catalogue::CollectFindings(const Version& version, NodeUid node, const v1::ShardReport& report,
                                int64_t now_us,
                                std::vector<NoteLocations::Finding>& findings) const {
  const auto collect = [&](const std::string& uri, v1::ShardFailure::Code found) {
    if (!health_.IsNews(version.uid, report.shard(), uri, node, found, now_us)) return;
    const store::ShardRow row = UnpackShard(version, report.shard());
    for (const v1::Location& location : row.locations()) {
      if (location.uri() == uri) findings.push_back({report.shard(), uri, found});
    }
  };
  if (report.state() != v1::ShardReport::READY && report.state() != v1::ShardReport::FAILED) return;
  for (const v1::LocationReport& location : report.locations()) {
    collect(location.uri(), location.code());
  }
  // An agent that says nothing of locations still names the one that it blames.
  const v1::ShardFailure& failure = report.failure();
  if (report.locations().empty() && report.state() == v1::ShardReport::FAILED &&
      failure.code() != v1::ShardFailure::CODE_UNSPECIFIED) {
    collect(failure.location(), failure.code());
  }
}

absl::Status Catalogue::Note(const NoteLocations& command, const std::string& node_name,
                             Transaction& tx) {
  if (const Version* version = FindByUid(command.version); version != nullptr) {
    health_.Note(command, version->row.name(), node_name, tx);
  }
  return absl::OkStatus();
}

std::string Catalogue::UidText(const Version& version) const {
  return absl::StrCat(uid_prefix_, "-", version.row.uid());
}

v1::ModelVersion Catalogue::Describe(const Version& version) const {
  const store::VersionRow& row = version.row;
  v1::ModelVersion out;
  out.set_name(row.name());
  if (row.uid() != 0) out.set_uid(UidText(version));
  out.set_state(row.state());
  out.set_shard_count(row.shard_count());
  out.set_tensor_count(row.tensor_count());
  out.set_companion_count(row.companion_count());
  out.set_strategy(row.strategy());
  *out.mutable_annotations() = row.annotations();
  *out.mutable_create_time() = ToTimestamp(row.create_time_us());
  if (row.commit_time_us() != 0) *out.mutable_commit_time() = ToTimestamp(row.commit_time_us());
  out.set_size_bytes(version.size_bytes);
  out.set_shards_added(version.shards_added);
  const bool draft = version.draft != nullptr;
  out.set_tensors_added(draft ? version.draft->tensors_added() : row.tensors_added());
  out.set_companions_added(
      static_cast<uint32_t>(draft ? version.companions.size() : row.companion_count()));
  out.set_revision(row.revision());
  out.set_content_key_id(row.content_key().key_id());
  return out;
}

v1::Shard Catalogue::DescribeShard(const Version& version, uint32_t index) const {
  const store::ShardRow row = UnpackShard(version, index);
  v1::Shard out;
  out.set_name(absl::StrCat(version.row.name(), "/shards/", index));
  out.set_index(index);
  out.set_size_bytes(row.size_bytes());
  out.set_md5(absl::BytesToHexString(row.md5()));
  out.set_root(absl::BytesToHexString(row.root()));
  out.set_piece_size_bytes(row.piece_size_bytes());
  out.set_piece_count(row.piece_count());
  out.set_sha256(absl::BytesToHexString(row.sha256()));
  if (row.has_rank()) out.set_rank(row.rank());
  out.set_tensor_count(row.tensor_count());
  *out.mutable_locations() = row.locations();
  for (v1::Location& location : *out.mutable_locations()) {
    location.set_suspect(health_.IsSuspect(version.uid, index, location.uri()));
  }
  out.set_encoding(row.encoding());
  out.set_source_path(row.source_path());
  out.set_source_offset_bytes(row.source_offset_bytes());
  out.set_content_size_bytes(row.content_size_bytes());
  out.set_key_id(row.key_id());
  out.set_revision(row.revision());
  return out;
}

absl::Status Catalogue::Load(store::VersionRow row) {
  if (row.shard_count() > kMaxShardsPerVersion) {
    return absl::DataLossError(absl::StrCat("the row of ", row.name(), " is damaged: it has ",
                                            row.shard_count(), " shards"));
  }
  MUSTER_RETURN_IF_ERROR(CheckWrappedKey(row));
  content_keys_.Add(row.content_key());
  auto version = std::make_unique<Version>();
  version->uid = VersionUid(row.uid());
  const bool draft = row.state() == v1::ModelVersion::DRAFT;
  if (!draft) version->shards.resize(row.shard_count());
  if (draft) {
    // The time of the last addition is not stored: after a restart a draft has its whole day again.
    version->draft = std::make_unique<Draft>();
  }
  version->row = std::move(row);
  if (draft) CountDraft(*version, 1);
  by_uid_[version->uid] = version.get();
  const std::string name = version->row.name();
  if (!by_name_.emplace(name, std::move(version)).second) {
    return absl::DataLossError(absl::StrCat("two rows are named ", name));
  }
  return absl::OkStatus();
}

absl::Status Catalogue::LoadShard(VersionUid uid, uint32_t index, const std::string& packed) {
  Version* version = FindByUid(uid);
  store::ShardRow row;
  if (version == nullptr || index >= version->row.shard_count() || !row.ParseFromString(packed) ||
      (row.root().empty() ? row.md5() : row.root()).size() != sizeof(Md5Digest)) {
    return absl::DataLossError(absl::StrCat("the row of shard ", index, " of version uid ",
                                            uid.value, " is damaged or has no model version"));
  }
  SetShard(*version, index, row, packed);
  ++version->shards_added;
  version->size_bytes += row.size_bytes();
  if (version->draft != nullptr) version->draft->AddShard(index, row.tensor_count());
  return absl::OkStatus();
}

absl::Status Catalogue::LoadCompanion(VersionUid uid, const store::CompanionRow& row) {
  Version* version = FindByUid(uid);
  if (version == nullptr) return absl::DataLossError("a companion has no model version");
  version->companions[row.companion().path()] = CompanionFingerprint(row.companion());
  return absl::OkStatus();
}

absl::Status Catalogue::LoadTensors(VersionUid uid, uint32_t shard, uint32_t start,
                                    const store::TensorsRow& row) {
  Version* version = FindByUid(uid);
  if (version == nullptr || version->draft == nullptr || shard >= version->shards.size() ||
      version->shards[shard].row.empty()) {
    return absl::DataLossError(absl::StrCat("tensors of shard ", shard, " have no draft"));
  }
  const store::ShardRow shard_row = UnpackShard(*version, shard);
  const auto rank = shard_row.has_rank() ? std::optional<uint32_t>(shard_row.rank()) : std::nullopt;
  version->draft->AddTensors(shard, rank, start, row.tensors());
  return absl::OkStatus();
}

std::vector<VersionUid> Catalogue::Drafts() const {
  std::vector<VersionUid> drafts;
  for (const auto& [name, version] : by_name_) {
    if (version->draft != nullptr) drafts.push_back(version->uid);
  }
  return drafts;
}

}  // namespace muster
