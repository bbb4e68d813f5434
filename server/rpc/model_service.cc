#include "server/rpc/model_service.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "muster/v1/model.grpc.pb.h"
#include "server/registry/limits.h"
#include "server/registry/validation.h"
#include "server/rpc/list_page.h"
#include "server/rpc/stored_lists.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {

absl::Status VersionDeleted() {
  return MakeError(absl::StatusCode::kNotFound, reasons::kVersionUnknown,
                   "the model version was deleted while it was read");
}

namespace {

namespace v1 = muster::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

// The error of one item of a batch says which one it was, and how many were stored before it.
absl::Status AtItem(const absl::Status& status, size_t item, size_t stored) {
  if (status.ok()) return status;
  ErrorDetail detail = DetailOf(status);
  detail.metadata["item"] = absl::StrCat(item);
  detail.metadata["stored"] = absl::StrCat(stored);
  return WithDetail(
      Annotate(status, absl::StrCat("item ", item, " (", stored, " stored before it)")), detail);
}

// The items of a batch that the commands belong to; a shard may be more than one.
std::vector<uint32_t> ItemsOf(const std::vector<Command>& commands) {
  std::vector<uint32_t> items;
  items.reserve(commands.size());
  uint32_t item = 0;
  for (const Command& command : commands) {
    items.push_back(item);
    if (!std::holds_alternative<StagePieces>(command)) ++item;
  }
  return items;
}

// Commands for one shard: its digests, staged where they need more than one row, then the shard
// itself.
void AppendShard(const std::string& version, v1::Shard shard, std::vector<Command>& out) {
  AddShard add{version, std::move(shard), false};
  constexpr size_t kRowBytes = size_t{kPiecesPerRow} * 16;
  const std::string& md5s = add.shard.piece_md5s();
  if (md5s.size() > kRowBytes) {
    for (size_t at = 0; at < md5s.size(); at += kRowBytes) {
      out.push_back(StagePieces{version, ShardIndex(add.shard.index()),
                                static_cast<uint32_t>(at / kRowBytes), md5s.substr(at, kRowBytes)});
    }
    add.pieces_staged = true;
    add.shard.clear_piece_md5s();
  }
  out.push_back(std::move(add));
}

// Everything about the shards that needs no state, for all of them before any is stored. Indices
// are checked against the announced count when the shard is added.
absl::StatusOr<std::vector<Command>> AddShardsCommands(v1::AddShardsRequest request) {
  MUSTER_RETURN_IF_ERROR(ParseModelVersionName(request.name()).status());
  MUSTER_RETURN_IF_ERROR(CheckItemCount("shards", request.shards_size()));
  if (request.ByteSizeLong() > kMaxAddShardsBytes) {
    return MakeError(absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
                     absl::StrCat("AddShards has ", request.ByteSizeLong(), " bytes: send at most ",
                                  kMaxAddShardsBytes, " a call"),
                     {{"limit", absl::StrCat(kMaxAddShardsBytes)}});
  }
  std::vector<Command> commands;
  commands.reserve(request.shards_size());
  size_t item = 0;
  for (v1::Shard& shard : *request.mutable_shards()) {
    MUSTER_RETURN_IF_ERROR(AtItem(CheckShard(shard, kMaxShardsPerVersion), item++, 0));
    AppendShard(request.name(), std::move(shard), commands);
  }
  return commands;
}

class ModelServiceRpc final : public v1::ModelService::CallbackService {
 public:
  explicit ModelServiceRpc(ServiceContext& services) : services_(services) {}

  ServerUnaryReactor* CreateModelVersion(CallbackServerContext* context,
                                         const v1::CreateModelVersionRequest* request,
                                         v1::CreateModelVersionResponse* response) override {
    return Mutate(services_, context, "CreateModelVersion", request, response);
  }

  ServerUnaryReactor* AddShards(CallbackServerContext* context, const v1::AddShardsRequest* request,
                                v1::AddShardsResponse* response) override {
    return MutateItems(
        context, "AddShards", request, response,
        [request] { return AddShardsCommands(TakeRequest(request)); },
        [](const JobResult& result, v1::AddShardsResponse& out) {
          out.set_added(static_cast<uint32_t>(result.changed));
        });
  }

  ServerUnaryReactor* AddTensors(CallbackServerContext* context,
                                 const v1::AddTensorsRequest* request,
                                 v1::AddTensorsResponse* response) override {
    return Mutate(services_, context, "AddTensors", request, response);
  }

  ServerUnaryReactor* AddCompanions(CallbackServerContext* context,
                                    const v1::AddCompanionsRequest* request,
                                    v1::AddCompanionsResponse* response) override {
    const auto commands = [request]() -> absl::StatusOr<std::vector<Command>> {
      MUSTER_RETURN_IF_ERROR(ParseModelVersionName(request->name()).status());
      MUSTER_RETURN_IF_ERROR(CheckItemCount("companions", request->companions_size()));
      std::vector<Command> out;
      for (const v1::Companion& companion : request->companions()) {
        MUSTER_RETURN_IF_ERROR(AtItem(CheckCompanion(companion), out.size(), 0));
        out.push_back(AddCompanion{request->name(), companion});
      }
      return out;
    };
    return MutateItems(context, "AddCompanions", request, response, commands,
                       [](const JobResult& result, v1::AddCompanionsResponse& out) {
                         out.set_added(static_cast<uint32_t>(result.changed));
                       });
  }

  ServerUnaryReactor* CommitModelVersion(CallbackServerContext* context,
                                         const v1::CommitModelVersionRequest* request,
                                         v1::CommitModelVersionResponse* response) override {
    return Mutate(services_, context, "CommitModelVersion", request, response);
  }

  ServerUnaryReactor* DeleteModelVersion(CallbackServerContext* context,
                                         const v1::DeleteModelVersionRequest* request,
                                         v1::DeleteModelVersionResponse* response) override {
    return Mutate(services_, context, "DeleteModelVersion", request, response);
  }

  ServerUnaryReactor* AddLocations(CallbackServerContext* context,
                                   const v1::AddLocationsRequest* request,
                                   v1::AddLocationsResponse* response) override {
    return MutateEntries<AddLocation>(context, "AddLocations", request, response);
  }

  ServerUnaryReactor* RemoveLocations(CallbackServerContext* context,
                                      const v1::RemoveLocationsRequest* request,
                                      v1::RemoveLocationsResponse* response) override {
    return MutateEntries<RemoveLocation>(context, "RemoveLocations", request, response);
  }

  ServerUnaryReactor* GetModelVersion(CallbackServerContext* context,
                                      const v1::GetModelVersionRequest* request,
                                      v1::GetModelVersionResponse* response) override {
    return Read(
        services_, context, "GetModelVersion", request, response,
        [request](const Registry& registry, v1::GetModelVersionResponse& out) -> absl::Status {
          MUSTER_ASSIGN_OR_RETURN(const Version* version,
                                  registry.catalogue().Find(request->name()));
          *out.mutable_model_version() = registry.catalogue().Describe(*version);
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* ListModelVersions(CallbackServerContext* context,
                                        const v1::ListModelVersionsRequest* request,
                                        v1::ListModelVersionsResponse* response) override {
    return Read(
        services_, context, "ListModelVersions", request, response,
        [request](const UnaryCall& call, const Registry& registry,
                  v1::ListModelVersionsResponse& out) {
          const std::string prefix = absl::StrCat("models/", request->model(), "/");
          const PageTokens tokens(absl::StrCat("ListModelVersions ", request->model()), call);
          return FillPage(registry.catalogue().by_name(), tokens, registry.revision(), *request,
                          out, [&](const Version& version) -> size_t {
                            if (!request->model().empty() &&
                                version.row.name().compare(0, prefix.size(), prefix) != 0) {
                              return 0;
                            }
                            return AddShown(call, registry, registry.catalogue().Describe(version),
                                            out.mutable_model_versions());
                          });
        });
  }

  ServerUnaryReactor* GetShard(CallbackServerContext* context, const v1::GetShardRequest* request,
                               v1::GetShardResponse* response) override {
    return Read(
        services_, context, "GetShard", request, response,
        [request](const Registry& registry, v1::GetShardResponse& out) -> absl::Status {
          MUSTER_ASSIGN_OR_RETURN(const FoundShard found, FindShard(registry, request->name()));
          *out.mutable_shard() = registry.catalogue().DescribeShard(*found.version, found.index);
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* ListShards(CallbackServerContext* context,
                                 const v1::ListShardsRequest* request,
                                 v1::ListShardsResponse* response) override {
    return Read(services_, context, "ListShards", request, response,
                [request](const Registry& registry, v1::ListShardsResponse& out) {
                  return FillShards(registry, *request, out);
                });
  }

  ServerUnaryReactor* ListPieces(CallbackServerContext* context,
                                 const v1::ListPiecesRequest* request,
                                 v1::ListPiecesResponse* response) override {
    return ReadStore<v1::ListPiecesRequest, v1::ListPiecesResponse>(
        services_, context, "ListPieces", request, response,
        [request](const Registry& registry,
                  v1::ListPiecesResponse& out) -> absl::StatusOr<VersionUid> {
          MUSTER_ASSIGN_OR_RETURN(const FoundShard found, FindShard(registry, request->name()));
          const v1::Shard shard = registry.catalogue().DescribeShard(*found.version, found.index);
          out.set_piece_count(shard.piece_count());
          out.set_piece_size_bytes(shard.piece_size_bytes());
          return found.version->uid;
        },
        [request](MetadataStore& store, VersionUid version, v1::ListPiecesResponse& out) {
          return FetchPieces(store, version, ParseShardName(request->name())->index,
                             request->start(), request->hex(), out);
        });
  }

  ServerUnaryReactor* ListTensors(CallbackServerContext* context,
                                  const v1::ListTensorsRequest* request,
                                  v1::ListTensorsResponse* response) override {
    const std::string list =
        absl::StrCat("ListTensors ", request->name(), " ",
                     request->has_shard() ? absl::StrCat(request->shard()) : "all");
    auto start = std::make_shared<PageStart>();
    return ReadStore<v1::ListTensorsRequest, v1::ListTensorsResponse>(
        services_, context, "ListTensors", request, response,
        [request, list, start](const Registry& registry,
                               v1::ListTensorsResponse&) -> absl::StatusOr<VersionUid> {
          MUSTER_ASSIGN_OR_RETURN(const Version* version,
                                  registry.catalogue().Find(request->name()));
          MUSTER_ASSIGN_OR_RETURN(*start,
                                  ParsePageToken(list, request->page_token(), registry.revision()));
          if (request->has_shard()) {
            MUSTER_RETURN_IF_ERROR(
                registry.catalogue().CheckShardExists(*version, request->shard()));
          }
          return version->uid;
        },
        [request, list, start](MetadataStore& store, VersionUid version,
                               v1::ListTensorsResponse& out) {
          const auto shard =
              request->has_shard() ? std::optional<uint32_t>(request->shard()) : std::nullopt;
          return FetchTensors(store, version, list, *start, PageSize(request->page_size()), shard,
                              out);
        });
  }

  ServerUnaryReactor* ListCompanions(CallbackServerContext* context,
                                     const v1::ListCompanionsRequest* request,
                                     v1::ListCompanionsResponse* response) override {
    const std::string list = absl::StrCat("ListCompanions ", request->name());
    auto start = std::make_shared<PageStart>();
    return ReadStore<v1::ListCompanionsRequest, v1::ListCompanionsResponse>(
        services_, context, "ListCompanions", request, response,
        [request, list, start](const Registry& registry,
                               v1::ListCompanionsResponse&) -> absl::StatusOr<VersionUid> {
          MUSTER_ASSIGN_OR_RETURN(const Version* version,
                                  registry.catalogue().Find(request->name()));
          MUSTER_ASSIGN_OR_RETURN(*start,
                                  ParsePageToken(list, request->page_token(), registry.revision()));
          return version->uid;
        },
        [request, list, start](MetadataStore& store, VersionUid version,
                               v1::ListCompanionsResponse& out) {
          return FetchCompanions(store, version, list, *start, PageSize(request->page_size()), out);
        });
  }

 private:
  struct FoundShard {
    const Version* version;
    uint32_t index;
  };

  static absl::StatusOr<FoundShard> FindShard(const Registry& registry, const std::string& name) {
    MUSTER_ASSIGN_OR_RETURN(const ShardName parsed, ParseShardName(name));
    MUSTER_ASSIGN_OR_RETURN(const Version* version,
                            registry.catalogue().Find(parsed.version.ToString()));
    MUSTER_RETURN_IF_ERROR(registry.catalogue().CheckShardExists(*version, parsed.index.value));
    return FoundShard{version, parsed.index.value};
  }

  static absl::Status FillShards(const Registry& registry, const v1::ListShardsRequest& request,
                                 v1::ListShardsResponse& out) {
    MUSTER_ASSIGN_OR_RETURN(const Version* version, registry.catalogue().Find(request.name()));
    const std::string list = absl::StrCat("ListShards ", request.name());
    MUSTER_ASSIGN_OR_RETURN(const PageStart start,
                            ParsePageToken(list, request.page_token(), registry.revision()));
    // The key of a shard is the index that follows it, so that "" is 0.
    uint32_t index = 0;
    if (!start.after.empty()) (void)absl::SimpleAtoi(start.after, &index);
    const size_t page_size = PageSize(request.page_size());
    size_t bytes = 0;
    for (; index < version->shards.size(); ++index) {
      if (static_cast<size_t>(out.shards_size()) == page_size ||
          bytes >= kMaxPageBytes - kMaxPageBytes / 8) {
        const PageStart next{absl::StrCat(index), start.first_revision};
        out.set_next_page_token(MakePageToken(list, next));
        break;
      }
      // A draft has gaps.
      if (version->shards[index].row.empty()) continue;
      *out.add_shards() = registry.catalogue().DescribeShard(*version, index);
      bytes += out.shards().rbegin()->ByteSizeLong();
    }
    return absl::OkStatus();
  }

  // A mutation of many items: one command an item, up to the first that fails.
  template <typename Request, typename Response, typename Make, typename Fill>
  ServerUnaryReactor* MutateItems(CallbackServerContext* context, const char* method,
                                  const Request* request, Response* response, Make make,
                                  Fill fill) {
    const UnaryCall call(services_, context, method, *request);
    if (call.refused()) return call.reactor();
    absl::StatusOr<std::vector<Command>> commands = make();
    if (!commands.ok()) {
      call.Finish(commands.status());
      return call.reactor();
    }
    std::vector<uint32_t> items = ItemsOf(*commands);
    Job job;
    job.commands = *std::move(commands);
    job.actor = call.actor();
    job.done = [call, response, fill, items = std::move(items)](JobResult result) {
      if (result.status.ok()) {
        response->set_revision(result.revision.value);
        fill(result, *response);
      } else if (result.failed.has_value()) {
        result.status = AtItem(result.status, items[*result.failed], result.changed);
      }
      call.NoteRevision(result.revision);
      call.Finish(result.status);
    };
    services_.committer.Submit(std::move(job));
    return call.reactor();
  }

  template <typename Entry, typename Request, typename Response>
  ServerUnaryReactor* MutateEntries(CallbackServerContext* context, const char* method,
                                    const Request* request, Response* response) {
    const auto make = [request]() -> absl::StatusOr<std::vector<Command>> {
      MUSTER_RETURN_IF_ERROR(ParseModelVersionName(request->name()).status());
      MUSTER_RETURN_IF_ERROR(CheckItemCount("entries", request->entries_size()));
      std::vector<Command> commands;
      for (const auto& entry : request->entries()) {
        commands.push_back(Entry{request->name(), entry});
      }
      return commands;
    };
    return MutateItems(context, method, request, response, make,
                       [](const JobResult&, Response&) {});
  }

  ServiceContext& services_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewModelService(ServiceContext& services) {
  return std::make_unique<ModelServiceRpc>(services);
}

}  // namespace muster
