#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/registry/limits.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "tests/simulation/steps.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

constexpr uint64_t kShardBytes = 1'000;
constexpr int kTensorsPerBatch = 2;

std::string Hex(absl::string_view text) { return Md5ToHex(Md5Of(text)); }

v1::Location LocationOf(absl::string_view name) {
  v1::Location location;
  location.set_uri(absl::StrCat("file:///weights/", name));
  return location;
}

// A shard with pieces; `pieces` above kPiecesPerRow makes its digests be staged.
void GivePieces(uint32_t pieces, v1::Shard& shard) {
  std::string md5s;
  for (uint32_t i = 0; i < pieces; ++i) {
    const Md5Digest digest = Md5Of(absl::StrCat(shard.index(), ":", i));
    md5s.append(digest.begin(), digest.end());
  }
  shard.set_size_bytes(uint64_t{pieces} * kMinPieceSizeBytes - 1);
  shard.set_piece_size_bytes(kMinPieceSizeBytes);
  shard.set_root(Md5ToHex(Md5Of(md5s)));
  shard.set_piece_md5s(std::move(md5s));
}

void IntendTensors(World& world, const v1::Shard& shard, std::vector<v1::Tensor>& tensors) {
  const uint64_t count = shard.tensor_count();
  for (uint64_t i = 0; i < count; ++i) {
    v1::Tensor tensor;
    tensor.set_name(absl::StrCat("layer.", shard.index(), ".", i));
    tensor.set_dtype("BF16");
    tensor.add_shape(2);
    tensor.set_begin_bytes(i * shard.size_bytes() / (count + 1));
    tensor.set_end_bytes((i + 1) * shard.size_bytes() / (count + 1));
    if (world.Chance(5)) tensor.set_end_bytes(tensor.begin_bytes());
    tensors.push_back(std::move(tensor));
  }
}

IntendedVersion Intend(World& world, const std::string& name, uint32_t shards) {
  IntendedVersion version;
  const bool raw = world.Chance(30);
  // Two versions in three share the bytes of shards with others.
  const std::string content = world.Chance(60) ? "shared" : absl::StrCat(name, world.Below(1'000));
  uint64_t tensors = 0;
  for (uint32_t index = 0; index < shards; ++index) {
    v1::Shard shard;
    shard.set_index(index);
    shard.set_size_bytes(1 + world.Below(kShardBytes));
    shard.set_md5(Hex(absl::StrCat(content, index, shard.size_bytes())));
    if (!raw) shard.set_tensor_count(static_cast<uint32_t>(world.Below(5)));
    if (world.Chance(20)) shard.set_rank(index % 2);
    *shard.add_locations() = LocationOf(absl::StrCat(name, "/", index));
    if (world.Chance(world.big ? 0 : 5))
      GivePieces(1 + static_cast<uint32_t>(world.Below(4)), shard);
    if (world.Chance(world.big ? 0 : 1)) GivePieces(kPiecesPerRow + 1, shard);
    version.tensors.emplace_back();
    IntendTensors(world, shard, version.tensors.back());
    tensors += version.tensors.back().size();
    version.shards.push_back(std::move(shard));
  }
  const uint64_t companions = world.Below(3);
  for (uint64_t i = 0; i < companions; ++i) {
    v1::Companion companion;
    companion.set_path(absl::StrCat("files/", i, ".json"));
    companion.set_size_bytes(10 * i);
    companion.set_md5(Hex(absl::StrCat(name, "companion", i)));
    *companion.add_locations() = LocationOf(companion.path());
    version.companions.push_back(std::move(companion));
  }
  version.announced.set_name(name);
  version.announced.set_shard_count(shards);
  version.announced.set_tensor_count(tensors);
  version.announced.set_companion_count(static_cast<uint32_t>(companions));
  version.announced.set_strategy(raw ? "raw" : "layer");
  return version;
}

// As server/rpc makes them of an AddShards call.
void AppendShardCommands(const std::string& version, const v1::Shard& shard,
                         std::vector<Command>& out) {
  AddShard add{version, shard, false};
  constexpr size_t kRowBytes = size_t{kPiecesPerRow} * 16;
  const std::string md5s = shard.piece_md5s();
  if (md5s.size() > kRowBytes) {
    for (size_t at = 0; at < md5s.size(); at += kRowBytes) {
      out.push_back(StagePieces{version, ShardIndex(shard.index()),
                                static_cast<uint32_t>(at / kRowBytes), md5s.substr(at, kRowBytes)});
    }
    add.pieces_staged = true;
    add.shard.clear_piece_md5s();
  }
  out.push_back(std::move(add));
}

v1::CreateModelVersionRequest CreateRequest(const IntendedVersion& intended) {
  v1::CreateModelVersionRequest request;
  *request.mutable_model_version() = intended.announced;
  return request;
}

Attempt CreateAttempt(World& world, const std::string& name) {
  const bool there = world.registry().catalogue().Find(name).ok();
  if (!there) {
    world.intended[name] = Intend(world, name, 1 + static_cast<uint32_t>(world.Below(6)));
  }
  Attempt attempt{.what = absl::StrCat("create ", name), .expect = there ? "VERSION_EXISTS" : "OK"};
  v1::CreateModelVersionRequest request = CreateRequest(world.intended[name]);
  if (world.Chance(20)) {
    request.set_validate_only(true);
    attempt.what += " (check)";
    attempt.changes_nothing = true;
  } else if (world.Chance(40)) {
    request.set_request_id(attempt.request_id = world.NextRequestId());
  }
  attempt.commands.push_back(std::move(request));
  return attempt;
}

Attempt ShardsAttempt(World& world, const std::string& name) {
  const IntendedVersion& intended = world.intended[name];
  Attempt attempt{.what = absl::StrCat("shards of ", name)};
  attempt.idempotent = true;
  const uint64_t begin = world.Below(intended.shards.size());
  const uint64_t end = begin + 1 + world.Below(intended.shards.size() - begin);
  for (uint64_t i = begin; i < end; ++i) {
    v1::Shard shard = intended.shards[i];
    if (world.Chance(10)) *shard.add_locations() = LocationOf(absl::StrCat("other/", i));
    absl::StrAppend(&attempt.what, " ", i);
    if (world.Chance(5)) {
      attempt.what += " (other content)";
      shard.set_sha256(std::string(64, 'a'));
    }
    if (world.Chance(3)) shard.set_index(static_cast<uint32_t>(intended.shards.size()));
    AppendShardCommands(name, shard, attempt.commands);
  }
  return attempt;
}

Attempt TensorsAttempt(World& world, const std::string& name) {
  const IntendedVersion& intended = world.intended[name];
  const uint64_t shard = world.Below(intended.shards.size());
  const auto& tensors = intended.tensors[shard];
  Attempt attempt{.what = absl::StrCat("tensors of ", name, "/shards/", shard)};
  attempt.idempotent = true;
  const auto found = world.registry().catalogue().Find(name);
  uint64_t start = 0;
  if (found.ok() && (*found)->draft != nullptr) {
    start = (*found)->draft->TensorsOf(static_cast<uint32_t>(shard));
  }
  // Also batches that came before, or whose turn it is not yet.
  if (world.Chance(20) && !tensors.empty()) start = world.Below(tensors.size());
  start -= start % kTensorsPerBatch;
  v1::AddTensorsRequest request;
  request.set_name(absl::StrCat(name, "/shards/", shard));
  request.set_start(static_cast<uint32_t>(start));
  for (uint64_t i = start; i < std::min<uint64_t>(start + kTensorsPerBatch, tensors.size()); ++i) {
    *request.add_tensors() = tensors[i];
    if (world.Chance(3)) request.mutable_tensors()->rbegin()->set_name("layer.0.0");
    if (world.Chance(3)) request.mutable_tensors()->rbegin()->set_begin_bytes(0);
  }
  absl::StrAppend(&attempt.what, " at ", start);
  attempt.commands.push_back(std::move(request));
  return attempt;
}

Attempt CompanionAttempt(World& world, const std::string& name) {
  const IntendedVersion& intended = world.intended[name];
  Attempt attempt{.what = absl::StrCat("companions of ", name)};
  attempt.idempotent = true;
  for (const v1::Companion& companion : intended.companions) {
    attempt.commands.push_back(AddCompanion{name, companion});
    if (world.Chance(5)) {
      std::get<AddCompanion>(attempt.commands.back()).companion.set_size_bytes(77);
    }
  }
  if (attempt.commands.empty()) {
    v1::Companion companion;
    companion.set_path("not/announced");
    companion.set_md5(Hex("x"));
    attempt.commands.push_back(AddCompanion{name, companion});
  }
  return attempt;
}

Attempt CommitAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("commit ", name)};
  v1::CommitModelVersionRequest request;
  request.set_name(name);
  attempt.idempotent = true;
  if (world.Chance(20)) {
    request.set_validate_only(true);
    attempt.changes_nothing = true;
  }
  attempt.commands.push_back(std::move(request));
  return attempt;
}

Attempt DeleteAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("delete ", name)};
  v1::DeleteModelVersionRequest request;
  request.set_name(name);
  if (world.Chance(20)) {
    request.set_validate_only(true);
    attempt.changes_nothing = true;
  } else if (world.Chance(40)) {
    request.set_request_id(attempt.request_id = world.NextRequestId());
  }
  const auto found = world.registry().catalogue().Find(name);
  attempt.expect = !found.ok()                     ? "VERSION_UNKNOWN"
                   : !(*found)->assemblies.empty() ? "VERSION_IN_USE"
                                                   : "OK";
  attempt.commands.push_back(std::move(request));
  return attempt;
}

store::WrappedKeyRow WrappedKey(World& world, const std::string& key_id) {
  store::WrappedKeyRow key;
  key.set_key_id(key_id);
  key.set_master_key_id(absl::StrCat("mk-", world.Below(3)));
  key.set_wrapped(std::string(60, static_cast<char>('a' + world.Below(26))));
  return key;
}

// As server/rpc does for CreateContentKey: looks, makes a key for what it saw, and hands it in.
Attempt KeyAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("content key of ", name)};
  const auto found = world.registry().catalogue().Find(name);
  SetContentKey set{name, VersionUid(0),
                    WrappedKey(world, absl::StrCat(kContentKeyIdPrefix, world.Below(1'000'000)))};
  const bool stale = world.Chance(10);
  set.uid = found.ok() && !stale ? (*found)->uid : VersionUid(1'000'000'000);
  attempt.expect = !found.ok()                  ? "VERSION_UNKNOWN"
                   : (*found)->draft == nullptr ? "VERSION_NOT_DRAFT"
                   : stale                      ? "VERSION_UNKNOWN"
                                                : "OK";
  attempt.changes_nothing = attempt.expect != "OK" || (*found)->row.has_content_key();
  attempt.idempotent = true;
  attempt.commands.push_back(std::move(set));
  return attempt;
}

// As the thread that wraps keys anew; one time in three after something else has done it.
Attempt RewrapAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("rewrap of ", name), .expect = "OK"};
  const auto found = world.registry().catalogue().Find(name);
  const store::WrappedKeyRow present = (*found)->row.content_key();
  RewrapContentKey rewrap{(*found)->uid, present.master_key_id(),
                          WrappedKey(world, present.key_id())};
  if (world.Chance(30)) rewrap.from = "mk-gone";
  attempt.changes_nothing = present.key_id().empty() || rewrap.from != present.master_key_id();
  attempt.commands.push_back(std::move(rewrap));
  return attempt;
}

Attempt LocationAttempt(World& world, const std::string& name) {
  Attempt attempt{.what = absl::StrCat("location of ", name)};
  attempt.idempotent = true;
  const auto shard = static_cast<uint32_t>(world.Below(7));
  const std::string place = absl::StrCat("place/", world.Below(3));
  if (world.Chance(60)) {
    AddLocation add{name, {}};
    add.entry.set_shard(shard);
    *add.entry.mutable_location() = LocationOf(place);
    add.entry.mutable_location()->set_priority(static_cast<uint32_t>(world.Below(2)));
    attempt.commands.push_back(std::move(add));
  } else {
    RemoveLocation remove{name, {}};
    remove.entry.set_shard(shard);
    remove.entry.set_uri(
        LocationOf(world.Chance(50) ? place : absl::StrCat(name, "/", shard)).uri());
    attempt.commands.push_back(std::move(remove));
    attempt.idempotent = true;
  }
  return attempt;
}

}  // namespace

std::optional<Attempt> CatalogueAttempt(World& world) {
  const std::string name = absl::StrCat("models/m/versions/v", world.Below(4));
  const auto found = world.registry().catalogue().Find(name);
  if (!found.ok() || world.intended.count(name) == 0) return CreateAttempt(world, name);
  switch (world.Below((*found)->draft != nullptr ? 20 : 40)) {
    case 0:
      return CreateAttempt(world, name);
    case 1:
      return DeleteAttempt(world, name);
    case 2:
      return LocationAttempt(world, name);
    case 18:
      return KeyAttempt(world, name);
    case 19:
      return RewrapAttempt(world, name);
    case 3:
    case 4:
    case 5:
    case 6:
      return CommitAttempt(world, name);
    case 7:
    case 8:
      return CompanionAttempt(world, name);
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
      return TensorsAttempt(world, name);
    case 14:
    case 15:
    case 16:
    case 17:
      return ShardsAttempt(world, name);
    default:
      if ((*found)->draft == nullptr) return std::nullopt;
      return TensorsAttempt(world, name);
  }
}

void PublishVersion(World& world, const std::string& name, uint32_t shards) {
  if (world.registry().catalogue().Find(name).ok()) return;
  world.intended[name] = Intend(world, name, shards);
  const IntendedVersion& intended = world.intended[name];
  Attempt attempt{.what = absl::StrCat("publish ", name)};
  attempt.commands.push_back(CreateRequest(intended));
  for (const v1::Shard& shard : intended.shards) {
    AppendShardCommands(name, shard, attempt.commands);
  }
  for (size_t shard = 0; shard < intended.tensors.size(); ++shard) {
    if (intended.tensors[shard].empty()) continue;
    v1::AddTensorsRequest request;
    request.set_name(absl::StrCat(name, "/shards/", shard));
    request.set_start(0);
    for (const v1::Tensor& tensor : intended.tensors[shard]) *request.add_tensors() = tensor;
    attempt.commands.push_back(std::move(request));
  }
  for (const v1::Companion& companion : intended.companions) {
    attempt.commands.push_back(AddCompanion{name, companion});
  }
  v1::CommitModelVersionRequest commit;
  commit.set_name(name);
  attempt.commands.push_back(std::move(commit));
  attempt.expect = "OK";
  world.Do(std::move(attempt));
}

}  // namespace muster
