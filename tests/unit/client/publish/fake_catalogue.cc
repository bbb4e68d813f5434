#include "tests/unit/client/publish/fake_catalogue.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace {

absl::Status CheckDraft(const FakeCatalogue::Version& version) {
  if (version.version.state() == v1::ModelVersion::DRAFT) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "VERSION_NOT_DRAFT", "is committed");
}

}  // namespace

FakeCatalogue::FakeCatalogue()
    : random_(NewSeededRandom(1)),
      client_(std::make_unique<Client>(std::make_unique<ForwardingChannel>(channel_), *random_)) {
  ServeWrites();
  ServeReads();
}

void FakeCatalogue::Before(Hook hook) {
  MutexLock lock(mutex_);
  before_ = std::move(hook);
}

void FakeCatalogue::After(Hook hook) {
  MutexLock lock(mutex_);
  after_ = std::move(hook);
}

template <typename Request, typename Response>
void FakeCatalogue::Serve(const std::string& method,
                          std::function<absl::Status(const Request&, Response&)> body) {
  channel_.OnUnary<Request, Response>(
      absl::StrCat("/muster.v1.ModelService/", method),
      [this, method, body = std::move(body)](const Request& request, Response& response,
                                             const CallOptions&) -> absl::Status {
        Hook before;
        Hook after;
        {
          MutexLock lock(mutex_);
          before = before_;
          after = after_;
        }
        if (before) MUSTER_RETURN_IF_ERROR(before(method));
        {
          MutexLock lock(mutex_);
          MUSTER_RETURN_IF_ERROR(body(request, response));
        }
        return after ? after(method) : absl::OkStatus();
      });
}

absl::StatusOr<FakeCatalogue::Version*> FakeCatalogue::Find(const std::string& name) {
  const auto it = versions_.find(name);
  if (it != versions_.end()) return &it->second;
  return MakeError(absl::StatusCode::kNotFound, "VERSION_UNKNOWN", absl::StrCat("no ", name));
}

void FakeCatalogue::ServeWrites() {
  Serve<v1::CreateModelVersionRequest, v1::CreateModelVersionResponse>(
      "CreateModelVersion", [this](const auto& request, auto& response) -> absl::Status {
        const std::string& name = request.model_version().name();
        if (const auto it = versions_.find(name); it != versions_.end()) {
          return MakeError(absl::StatusCode::kAlreadyExists, "VERSION_EXISTS", "the name is taken",
                           {{"state", v1::ModelVersion::State_Name(it->second.version.state())}});
        }
        v1::ModelVersion& version = versions_[name].version;
        version = request.model_version();
        version.set_uid(absl::StrCat("u", ++uids_));
        version.set_state(v1::ModelVersion::DRAFT);
        *response.mutable_model_version() = version;
        return absl::OkStatus();
      });
  Serve<v1::AddShardsRequest, v1::AddShardsResponse>(
      "AddShards", [this](const auto& request, auto&) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(request.name()));
        MUSTER_RETURN_IF_ERROR(CheckDraft(*version));
        for (const v1::Shard& shard : request.shards()) {
          const auto there = version->shards.find(shard.index());
          if (there != version->shards.end() && there->second.root() != shard.root()) {
            return MakeError(absl::StatusCode::kAlreadyExists, "SHARD_EXISTS", "other content");
          }
          v1::Shard& stored = version->shards[shard.index()];
          stored = shard;
          stored.set_name(absl::StrCat(request.name(), "/shards/", shard.index()));
          stored.set_piece_count(static_cast<uint32_t>(shard.piece_md5s().size() / 16));
        }
        return absl::OkStatus();
      });
  Serve<v1::AddTensorsRequest, v1::AddTensorsResponse>(
      "AddTensors", [this](const auto& request, auto&) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(const ShardName name, ParseShardName(request.name()));
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(name.version.ToString()));
        std::vector<v1::Tensor>& tensors = version->tensors[name.index.value];
        if (tensors.size() < request.start()) return absl::FailedPreconditionError("out of order");
        // A repeat.
        tensors.resize(request.start());
        tensors.insert(tensors.end(), request.tensors().begin(), request.tensors().end());
        return absl::OkStatus();
      });
  Serve<v1::AddCompanionsRequest, v1::AddCompanionsResponse>(
      "AddCompanions", [this](const auto& request, auto&) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(request.name()));
        MUSTER_RETURN_IF_ERROR(CheckDraft(*version));
        for (const v1::Companion& companion : request.companions()) {
          std::erase_if(version->companions, [&](const v1::Companion& there) {
            return there.path() == companion.path();
          });
          version->companions.push_back(companion);
        }
        return absl::OkStatus();
      });
  Serve<v1::CommitModelVersionRequest, v1::CommitModelVersionResponse>(
      "CommitModelVersion", [this](const auto& request, auto& response) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(request.name()));
        version->version.set_state(v1::ModelVersion::COMMITTED);
        *response.mutable_model_version() = version->version;
        return absl::OkStatus();
      });
  Serve<v1::DeleteModelVersionRequest, v1::DeleteModelVersionResponse>(
      "DeleteModelVersion", [this](const auto& request, auto&) -> absl::Status {
        MUSTER_RETURN_IF_ERROR(Find(request.name()).status());
        versions_.erase(request.name());
        return absl::OkStatus();
      });
}

void FakeCatalogue::ServeReads() {
  Serve<v1::ListModelVersionsRequest, v1::ListModelVersionsResponse>(
      "ListModelVersions", [this](const auto&, auto& response) -> absl::Status {
        for (const auto& [name, version] : versions_) {
          *response.add_model_versions() = version.version;
        }
        return absl::OkStatus();
      });
  Serve<v1::GetModelVersionRequest, v1::GetModelVersionResponse>(
      "GetModelVersion", [this](const auto& request, auto& response) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(request.name()));
        *response.mutable_model_version() = version->version;
        return absl::OkStatus();
      });
  Serve<v1::GetShardRequest, v1::GetShardResponse>(
      "GetShard", [this](const auto& request, auto& response) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(const ShardName name, ParseShardName(request.name()));
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(name.version.ToString()));
        *response.mutable_shard() = version->shards[name.index.value];
        response.mutable_shard()->clear_piece_md5s();
        return absl::OkStatus();
      });
  Serve<v1::ListShardsRequest, v1::ListShardsResponse>(
      "ListShards", [this](const auto& request, auto& response) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(request.name()));
        for (const auto& [index, shard] : version->shards) {
          v1::Shard& copy = *response.add_shards();
          copy = shard;
          copy.clear_piece_md5s();
        }
        return absl::OkStatus();
      });
  Serve<v1::ListPiecesRequest, v1::ListPiecesResponse>(
      "ListPieces", [this](const auto& request, auto& response) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(const ShardName name, ParseShardName(request.name()));
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(name.version.ToString()));
        const v1::Shard& shard = version->shards[name.index.value];
        response.set_piece_md5s(shard.piece_md5s().substr(size_t{16} * request.start()));
        response.set_piece_size_bytes(shard.piece_size_bytes());
        response.set_piece_count(shard.piece_count());
        return absl::OkStatus();
      });
  Serve<v1::ListTensorsRequest, v1::ListTensorsResponse>(
      "ListTensors", [this](const auto& request, auto& response) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(request.name()));
        for (const v1::Tensor& tensor : version->tensors[request.shard()]) {
          *response.add_tensors() = tensor;
          response.mutable_tensors()->rbegin()->set_shard(request.shard());
        }
        return absl::OkStatus();
      });
  Serve<v1::ListCompanionsRequest, v1::ListCompanionsResponse>(
      "ListCompanions", [this](const auto& request, auto& response) -> absl::Status {
        MUSTER_ASSIGN_OR_RETURN(Version* const version, Find(request.name()));
        response.mutable_companions()->Add(version->companions.begin(), version->companions.end());
        return absl::OkStatus();
      });
}

}  // namespace muster
