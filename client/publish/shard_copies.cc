// How a shard is mended, so that nothing is lost whenever it ends:
//
// 1. Every copy is read. Wrong bytes and absent objects are bad; a store that doesn't answer says nothing.
// 2. The new copy is written where nothing can be yet, below the version's own folder with a random name in it, so that
//    deleting the version finds it. What is written is compared with the catalogue before anybody hears of it.
// 3. It is registered, and only then the bad locations are removed: a shard never is without one.
#include "client/publish/shard_copies.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/checkpoint/object_files.h"
#include "client/checkpoint/shard_stream.h"
#include "client/hash/hash_queue.h"
#include "client/publish/source_plan.h"
#include "client/publish/written_objects.h"
#include "client/sdk/pages.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

// Of shards that were registered without pieces.
constexpr int64_t kDefaultPieceBytes = int64_t{8} << 20;

int64_t PieceBytesOf(const v1::Shard& shard) {
  return shard.piece_size_bytes() > 0 ? static_cast<int64_t>(shard.piece_size_bytes())
                                      : kDefaultPieceBytes;
}

// Whether `digests` are those that were registered.
bool Matches(const v1::Shard& shard, const ShardDigests& digests) {
  if (static_cast<uint64_t>(digests.size_bytes) != shard.size_bytes()) return false;
  if (!shard.root().empty()) return shard.root() == Md5ToHex(digests.root);
  return shard.md5() == Md5ToHex(digests.md5);
}

absl::Status Corrupt(const v1::Shard& shard, const std::string& where, const std::string& what) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kShardCorrupt,
                   absl::StrCat(where, ": ", what), {{"shard", shard.name()}, {"uri", where}});
}

// Wrong bytes, or none, for good.
bool IsBad(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsNotFound(status);
}

class Repair {
 public:
  Repair(Client& client, const ObjectStoreRegistry& stores, Random& random,
         const RepairOptions& options)
      : client_(client), stores_(stores), random_(random), options_(options) {}

  absl::StatusOr<std::vector<RepairedShard>> Run() {
    MUSTER_RETURN_IF_ERROR(Describe());
    int64_t total = 0;
    for (const v1::Shard& shard : shards_) {
      total += static_cast<int64_t>(shard.size_bytes()) * shard.locations_size();
    }
    if (options_.on_plan) options_.on_plan(total);
    std::vector<RepairedShard> repaired;
    for (const v1::Shard& shard : shards_) {
      absl::StatusOr<RepairedShard> one = Mend(shard);
      if (!one.ok()) return Annotate(one.status(), absl::StrCat("shard ", shard.index()));
      if (!one->bad.empty()) repaired.push_back(*std::move(one));
    }
    return repaired;
  }

 private:
  // Right bytes, and what they are to people.
  struct Bytes {
    ShardStream stream;
    std::string name;
  };

  CallOptions Call() const { return {.timeout = std::nullopt, .stop = options_.stop}; }

  absl::Status Describe() {
    v1::GetModelVersionRequest request;
    request.set_name(options_.model_version);
    MUSTER_ASSIGN_OR_RETURN(const auto response, client_.GetModelVersion(request, Call()));
    version_ = response.model_version();
    if (version_.state() != v1::ModelVersion::COMMITTED) {
      return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kVersionNotCommitted,
                       absl::StrCat(options_.model_version,
                                    " is a draft: publishing again writes what is missing"),
                       {{"model_version", options_.model_version}});
    }
    if (!options_.shards.has_value()) {
      MUSTER_ASSIGN_OR_RETURN(shards_, ListAllShards(client_, options_.model_version, Call()));
      return absl::OkStatus();
    }
    for (const uint32_t index : *options_.shards) {
      v1::GetShardRequest get;
      get.set_name(absl::StrCat(options_.model_version, "/shards/", index));
      MUSTER_ASSIGN_OR_RETURN(auto found, client_.GetShard(get, Call()));
      shards_.push_back(std::move(*found.mutable_shard()));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<RepairedShard> Mend(const v1::Shard& shard) {
    RepairedShard repaired;
    repaired.index = shard.index();
    std::string good;
    absl::Status unread;
    const v1::Location* first_bad = nullptr;
    for (const v1::Location& location : shard.locations()) {
      const absl::Status status =
          CheckCopy(stores_, location.uri(), shard, options_.stop, options_.on_bytes);
      if (absl::IsCancelled(status)) return status;
      if (IsBad(status)) {
        if (first_bad == nullptr) first_bad = &location;
        repaired.bad.push_back({location.uri(), std::string(status.message())});
      } else if (!status.ok()) {
        unread = status;
      } else if (good.empty()) {
        good = location.uri();
      }
    }
    if (repaired.bad.empty()) return repaired;
    const bool may_write = !options_.destination.empty() || !DestinationOf(version_).empty();
    if (good.empty() || may_write) {
      MUSTER_ASSIGN_OR_RETURN(const Bytes bytes, RightBytes(shard, good, unread));
      repaired.source = bytes.name;
      MUSTER_ASSIGN_OR_RETURN(repaired.written, Write(shard, bytes));
      MUSTER_RETURN_IF_ERROR(Register(shard, *first_bad, repaired.written));
    }
    MUSTER_RETURN_IF_ERROR(RemoveBad(shard, repaired.bad));
    return repaired;
  }

  absl::StatusOr<Bytes> RightBytes(const v1::Shard& shard, const std::string& good,
                                   const absl::Status& unread) {
    if (!good.empty()) {
      MUSTER_ASSIGN_OR_RETURN(auto source, NewObjectFiles(stores_)->Open(good));
      return Bytes{ShardStream::Of(std::move(source)), good};
    }
    if (!options_.source.empty()) return FromSource(shard);
    MUSTER_RETURN_IF_ERROR(unread);
    return Corrupt(shard, shard.name(),
                   "no copy is good; say with --from which checkpoint it was published from");
  }

  absl::StatusOr<Bytes> FromSource(const v1::Shard& shard) {
    if (!shard.encoding().empty()) {
      return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kEncodingDiffers,
                       absl::StrCat("it is stored encoded (", shard.encoding(),
                                    "), and encoding its content again gives other bytes; publish "
                                    "the checkpoint as another version"),
                       {{"shard", shard.name()}});
    }
    if (!plan_.has_value()) {
      SourceOptions source;
      source.path = options_.source;
      source.shard_count = version_.shard_count();
      source.piece_size_bytes = PieceBytesOf(shard);
      MUSTER_ASSIGN_OR_RETURN(source.strategy, ParseCutStrategy(version_.strategy()));
      MUSTER_ASSIGN_OR_RETURN(plan_, PlanSource(source, *FilesOf(options_.source, stores_)));
    }
    if (shard.index() >= plan_->cuts.shards.size()) return Differs(shard);
    MUSTER_ASSIGN_OR_RETURN(
        ShardStream stream,
        ShardStream::Open(plan_->checkpoint, plan_->cuts.shards[shard.index()]));
    // Read twice: nothing is written before it is known to be right.
    HashQueue hashes;
    const ByteProgress none;
    MUSTER_ASSIGN_OR_RETURN(
        const ShardDigests digests,
        DigestShard(stream, {PieceBytesOf(shard), hashes, options_.stop, none, ""}));
    if (!Matches(shard, digests)) return Differs(shard);
    return Bytes{std::move(stream), options_.source};
  }

  absl::Status Differs(const v1::Shard& shard) const {
    return MakeError(
        absl::StatusCode::kAborted, reasons::kShardDiffers,
        absl::StrCat(QuoteForMessage(options_.source), ": gives other bytes than ", shard.name(),
                     " was published with; is it that checkpoint, as it was?"),
        {{"shard", shard.name()}, {"source", options_.source}});
  }

  // Returns where it is.
  absl::StatusOr<std::string> Write(const v1::Shard& shard, const Bytes& bytes) {
    const std::string& to =
        options_.destination.empty() ? DestinationOf(version_) : options_.destination;
    if (to.empty()) {
      return absl::FailedPreconditionError(
          "it was registered in place; say with --to where a new copy goes");
    }
    MUSTER_ASSIGN_OR_RETURN(
        std::string uri,
        JoinUri(PublishPrefix(to, version_.name(), version_.uid()),
                absl::StrFormat("repaired-%s/shard-%05d.%s", random_.NextId(), shard.index(),
                                shard.tensor_count() == 0 ? "bin" : "safetensors")));
    HashQueue hashes;
    MUSTER_ASSIGN_OR_RETURN(
        const ShardDigests digests,
        UploadShard(stores_, uri, bytes.stream,
                    {PieceBytesOf(shard), hashes, options_.stop, options_.on_bytes, ""},
                    /*replace=*/false));
    if (Matches(shard, digests)) return uri;
    // Changed since it was checked.
    DeleteObjects(stores_, version_, {uri}).IgnoreError();
    return Corrupt(shard, bytes.name, "changed while it was copied");
  }

  absl::Status Register(const v1::Shard& shard, const v1::Location& bad, const std::string& uri) {
    v1::AddLocationsRequest request;
    request.set_name(options_.model_version);
    v1::AddLocationsRequest::Entry& entry = *request.add_entries();
    entry.set_shard(shard.index());
    entry.mutable_location()->set_uri(uri);
    entry.mutable_location()->set_zone(bad.zone());
    entry.mutable_location()->set_priority(bad.priority());
    entry.mutable_location()->set_max_readers(bad.max_readers());
    const absl::Status added = client_.AddLocations(request, Call()).status();
    // After an answer that never came it may be registered, so it stays.
    if (!added.ok() && !absl::IsUnavailable(added) && !absl::IsDeadlineExceeded(added)) {
      DeleteObjects(stores_, version_, {uri}).IgnoreError();
    }
    return added;
  }

  absl::Status RemoveBad(const v1::Shard& shard, const std::vector<RepairedShard::BadCopy>& bad) {
    v1::RemoveLocationsRequest request;
    request.set_name(options_.model_version);
    for (const RepairedShard::BadCopy& copy : bad) {
      v1::RemoveLocationsRequest::Entry& entry = *request.add_entries();
      entry.set_shard(shard.index());
      entry.set_uri(copy.uri);
    }
    return client_.RemoveLocations(request, Call()).status();
  }

  Client& client_;
  const ObjectStoreRegistry& stores_;
  Random& random_;
  const RepairOptions& options_;
  v1::ModelVersion version_;
  std::vector<v1::Shard> shards_;
  // Of options_.source, once it is needed.
  std::optional<SourcePlan> plan_;
};

}  // namespace

absl::Status CheckCopy(const ObjectStoreRegistry& stores, const std::string& uri,
                       const v1::Shard& shard, const std::stop_token& stop,
                       const ByteProgress& progress) {
  MUSTER_ASSIGN_OR_RETURN(auto source, NewObjectFiles(stores)->Open(uri));
  if (source->size_bytes() != static_cast<int64_t>(shard.size_bytes())) {
    return Corrupt(
        shard, uri,
        absl::StrCat("has ", source->size_bytes(), " bytes instead of ", shard.size_bytes()));
  }
  HashQueue hashes;
  MUSTER_ASSIGN_OR_RETURN(const ShardDigests digests,
                          DigestShard(ShardStream::Of(std::move(source)),
                                      {PieceBytesOf(shard), hashes, stop, progress, ""}));
  if (Matches(shard, digests)) return absl::OkStatus();
  return Corrupt(shard, uri, "has other bytes than were published");
}

absl::StatusOr<std::vector<RepairedShard>> RepairShards(Client& client,
                                                        const ObjectStoreRegistry& stores,
                                                        Random& random,
                                                        const RepairOptions& options) {
  return Repair(client, stores, random, options).Run();
}

}  // namespace muster
