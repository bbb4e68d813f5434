#include "client/agent/noted_assembly.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "client/cache/checked_shard.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Answers from a note. Every list is one page.
class NoteChannel final : public Channel {
 public:
  explicit NoteChannel(std::shared_ptr<const node::AssemblyNote> note) : note_(std::move(note)) {
    for (const node::HeldShard& held : note_->held()) held_[held.shard()] = &held;
    for (const v1::Shard& shard : note_->shards()) by_name_[shard.name()] = shard.index();
  }

  absl::Status Unary(absl::string_view method, const Message& request, Message& response,
                     const CallOptions& /*options*/) override {
    absl::Status status = Unknown(method);
    // One of them fits; each leaves the others' messages alone.
    Try<v1::GetModelVersionRequest, v1::GetModelVersionResponse>(request, response, status);
    Try<v1::ListShardsRequest, v1::ListShardsResponse>(request, response, status);
    Try<v1::ListPiecesRequest, v1::ListPiecesResponse>(request, response, status);
    Try<v1::ListTensorsRequest, v1::ListTensorsResponse>(request, response, status);
    Try<v1::ListCompanionsRequest, v1::ListCompanionsResponse>(request, response, status);
    return status;
  }

  absl::Status Stream(absl::string_view method, const Message&, Message&, absl::FunctionRef<bool()>,
                      const CallOptions&) override {
    return Unknown(method);
  }

 private:
  static absl::Status Unknown(absl::string_view method) {
    return MakeError(
        absl::StatusCode::kUnavailable, reasons::kServerUnreachable,
        absl::StrCat("no server answers ", method, ", and what this node noted of it doesn't say"));
  }

  template <typename Request, typename Response>
  void Try(const Message& request, Message& response, absl::Status& status) const {
    const auto* const asked = dynamic_cast<const Request*>(&request);
    auto* const answer = dynamic_cast<Response*>(&response);
    if (asked == nullptr || answer == nullptr) return;
    status = Answer(*asked, *answer);
  }

  absl::Status CheckVersion(const std::string& name) const {
    if (name == note_->model_version().name()) return absl::OkStatus();
    return MakeError(absl::StatusCode::kNotFound, reasons::kVersionUnknown,
                     absl::StrCat(name, " is not what this node noted"));
  }

  absl::StatusOr<const node::HeldShard*> FindHeld(uint32_t index) const {
    const auto found = held_.find(index);
    if (found != held_.end()) return found->second;
    return MakeError(absl::StatusCode::kNotFound, reasons::kShardUnknown,
                     absl::StrCat("this node did not hold shard ", index, " of ",
                                  note_->model_version().name()));
  }

  absl::Status Answer(const v1::GetModelVersionRequest& request,
                      v1::GetModelVersionResponse& response) const {
    MUSTER_RETURN_IF_ERROR(CheckVersion(request.name()));
    *response.mutable_model_version() = note_->model_version();
    return absl::OkStatus();
  }

  absl::Status Answer(const v1::ListShardsRequest& request,
                      v1::ListShardsResponse& response) const {
    MUSTER_RETURN_IF_ERROR(CheckVersion(request.name()));
    *response.mutable_shards() = note_->shards();
    return absl::OkStatus();
  }

  absl::Status Answer(const v1::ListPiecesRequest& request,
                      v1::ListPiecesResponse& response) const {
    const auto shard = by_name_.find(request.name());
    if (shard == by_name_.end()) return CheckVersion(request.name());
    MUSTER_ASSIGN_OR_RETURN(const node::HeldShard* held, FindHeld(shard->second));
    const size_t begin = std::min(request.start() * sizeof(Md5Digest), held->piece_md5s().size());
    response.set_piece_md5s(held->piece_md5s().substr(begin));
    return absl::OkStatus();
  }

  absl::Status Answer(const v1::ListTensorsRequest& request,
                      v1::ListTensorsResponse& response) const {
    MUSTER_RETURN_IF_ERROR(CheckVersion(request.name()));
    MUSTER_ASSIGN_OR_RETURN(const node::HeldShard* held, FindHeld(request.shard()));
    *response.mutable_tensors() = held->tensors();
    return absl::OkStatus();
  }

  absl::Status Answer(const v1::ListCompanionsRequest& request,
                      v1::ListCompanionsResponse& response) const {
    MUSTER_RETURN_IF_ERROR(CheckVersion(request.name()));
    *response.mutable_companions() = note_->companions();
    return absl::OkStatus();
  }

  const std::shared_ptr<const node::AssemblyNote> note_;
  // By shard index.
  absl::flat_hash_map<uint32_t, const node::HeldShard*> held_;
  absl::flat_hash_map<std::string, uint32_t> by_name_;
};

absl::Status CheckNote(const node::AssemblyNote& note) {
  const std::string& version = note.model_version().name();
  MUSTER_RETURN_IF_ERROR(ParseAssemblyName(note.assembly().name()).status());
  MUSTER_RETURN_IF_ERROR(ParseModelVersionName(version).status());
  if (note.assembly().model_version() != version || note.held().empty()) {
    return absl::DataLossError(
        absl::StrCat("the note of ", note.assembly().name(), " contradicts itself"));
  }
  return absl::OkStatus();
}

}  // namespace

NotedAssembly::NotedAssembly(std::shared_ptr<const node::AssemblyNote> note, Random& random)
    : note_(std::move(note)),
      client_(std::make_unique<Client>(std::make_unique<NoteChannel>(note_), random)) {
  for (const node::HeldShard& held : note_->held()) held_.push_back(held.shard());
  std::sort(held_.begin(), held_.end());
}

absl::StatusOr<std::unique_ptr<NotedAssembly>> NotedAssembly::Make(node::AssemblyNote note,
                                                                   Random& random) {
  MUSTER_RETURN_IF_ERROR(CheckNote(note));
  return std::unique_ptr<NotedAssembly>(
      new NotedAssembly(std::make_shared<const node::AssemblyNote>(std::move(note)), random));
}

absl::Status NotedAssembly::Verify(ShardCache& cache, const std::stop_token& stop) const {
  absl::flat_hash_map<uint32_t, const v1::Shard*> shards;
  for (const v1::Shard& shard : note_->shards()) shards[shard.index()] = &shard;
  size_t missing = 0;
  for (const node::HeldShard& held : note_->held()) {
    const auto shard = shards.find(held.shard());
    if (shard == shards.end()) {
      return absl::DataLossError(absl::StrCat("the note of ", assembly().name(), " lacks shard ",
                                              held.shard(), ", which the node held"));
    }
    MUSTER_ASSIGN_OR_RETURN(std::vector<Md5Digest> pieces, UnpackPieces(held.piece_md5s()));
    MUSTER_ASSIGN_OR_RETURN(const CheckedShard checked,
                            CheckedShard::Make({*shard->second, std::move(pieces)}));
    const absl::Status found = cache.Lookup(checked, stop).status();
    if (found.ok()) continue;
    // One that rotted was removed just now.
    if (!absl::IsNotFound(found) && !absl::IsDataLoss(found)) return found;
    ++missing;
  }
  if (missing == 0) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kViewIncomplete,
                   absl::StrCat("the cache lacks ", missing, " of the ", held_.size(),
                                " shards of ", ShortModelVersionName(model_version().name()),
                                " that this node held; they are fetched once a server answers"),
                   {{"missing", absl::StrCat(missing)}});
}

}  // namespace muster
