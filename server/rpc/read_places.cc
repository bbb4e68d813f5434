#include "server/rpc/read_places.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/registry/index_runs.h"
#include "server/registry/node_errors.h"
#include "server/registry/timestamps.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/mutex.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status LocationUnknown(absl::string_view shard, const std::string& uri) {
  return MakeError(absl::StatusCode::kNotFound, reasons::kLocationUnknown,
                   absl::StrCat(shard, " has no location ", uri),
                   {{"shard", std::string(shard)}, {"uri", uri}});
}

absl::Status NotAssigned(const std::string& node, absl::string_view shard) {
  return MakeError(absl::StatusCode::kAborted, reasons::kAssignmentGone,
                   absl::StrCat(node, " does not hold ", shard, " in any assembly"),
                   {{"node", node}, {"shard", std::string(shard)}});
}

bool HoldsPlace(const Assembly::Member& member, uint32_t shard) {
  return member.PositionOf(shard) < member.assignments.size();
}

std::set<AssemblyUid> AssembliesOf(const Registry& registry, const Node& node, VersionUid version,
                                   uint32_t shard) {
  std::set<AssemblyUid> assemblies;
  for (const AssemblyUid uid : node.memberships) {
    const Assembly* assembly = registry.assemblies().FindByUid(uid);
    if (assembly == nullptr || assembly->version().uid != version) continue;
    const Assembly::Member* member = assembly->FindMember(node.row.name());
    if (member != nullptr && HoldsPlace(*member, shard)) assemblies.insert(uid);
  }
  return assemblies;
}

absl::Status CheckWait(const v1::AcquireReadRequest& request) {
  if (!request.has_epoch()) return InvalidField("epoch", "", "required");
  // Before the sum, which could overflow.
  const int64_t seconds = request.max_wait().seconds();
  const int64_t limit = kMaxReadWaitUs / 1'000'000;
  if (seconds >= 0 && seconds <= limit && request.max_wait().nanos() >= 0 &&
      FromDuration(request.max_wait()) <= kMaxReadWaitUs) {
    return absl::OkStatus();
  }
  return InvalidField("max_wait", absl::StrCat(seconds, " s"), absl::StrCat("0 to ", limit, " s"));
}

// What to ask the table for; a bound of 0 needs no place.
absl::StatusOr<ReadPlaceTable::Request> Resolve(const Registry& registry,
                                                const v1::AcquireReadRequest& request) {
  MUSTER_RETURN_IF_ERROR(CheckWait(request));
  MUSTER_ASSIGN_OR_RETURN(const Node* node, registry.nodes().Find(request.name()));
  if (node->epoch() != Epoch(request.epoch())) {
    return WrongEpoch(request.name(), Epoch(request.epoch()), node->epoch());
  }
  MUSTER_ASSIGN_OR_RETURN(const ShardName name, ParseShardName(request.shard()));
  MUSTER_ASSIGN_OR_RETURN(const Version* version,
                          registry.catalogue().Find(name.version.ToString()));
  const uint32_t shard = name.index.value;
  MUSTER_RETURN_IF_ERROR(registry.catalogue().CheckShardExists(*version, shard));
  const v1::Shard described = registry.catalogue().DescribeShard(*version, shard);
  const auto location =
      std::find_if(described.locations().begin(), described.locations().end(),
                   [&](const v1::Location& other) { return other.uri() == request.uri(); });
  if (location == described.locations().end()) {
    return LocationUnknown(request.shard(), request.uri());
  }
  ReadPlaceTable::Request place;
  place.node = request.name();
  place.epoch = node->epoch();
  place.location = {version->uid, shard, request.uri()};
  place.assemblies = AssembliesOf(registry, *node, version->uid, shard);
  place.seen = registry.revision();
  place.max_readers = location->max_readers();
  place.max_wait = absl::Microseconds(FromDuration(request.max_wait()));
  place.held = request.held();
  if (place.max_readers > 0 && place.assemblies.empty()) {
    return NotAssigned(request.name(), request.shard());
  }
  return place;
}

// An AcquireRead on its way: it ends once there is an answer and the state that it was asked under
// is durable, whichever comes last.
class ReadPlaceCall {
 public:
  ReadPlaceCall(const UnaryCall& call, Committer& committer, v1::AcquireReadResponse* response)
      : call_(call), committer_(committer), response_(response) {}

  void Answered(absl::StatusOr<ReadPlaceTable::Answer> answer) {
    {
      MutexLock lock(mutex_);
      answer_ = std::move(answer);
      if (!durable_) return;
    }
    Finish();
  }

  void Durable() {
    {
      MutexLock lock(mutex_);
      durable_ = true;
      if (!answer_.has_value()) return;
    }
    Finish();
  }

 private:
  // By whoever came last, so nobody else touches the call any more.
  void Finish() {
    absl::StatusOr<ReadPlaceTable::Answer> answer;
    {
      MutexLock lock(mutex_);
      answer = *std::move(answer_);
    }
    if (answer.ok()) {
      response_->set_granted(answer->granted);
      response_->set_readers(answer->readers);
      response_->set_max_readers(answer->max_readers);
      response_->set_ahead(answer->ahead);
      response_->set_revision(committer_.durable().value);
    }
    call_.Finish(answer.status());
  }

  const UnaryCall call_;
  Committer& committer_;
  v1::AcquireReadResponse* const response_;
  Mutex mutex_;
  bool durable_ MUSTER_GUARDED_BY(mutex_) = false;
  std::optional<absl::StatusOr<ReadPlaceTable::Answer>> answer_ MUSTER_GUARDED_BY(mutex_);
};

// Shards of which some member has no counted replica yet, of those in `shards`.
std::vector<uint32_t> Unready(const Assembly& assembly, const std::vector<uint32_t>& shards) {
  std::set<uint32_t> unready;
  int members = 0;
  for (const auto& [node, member] : assembly.members()) {
    if (member.ready == member.assignments.size() || ++members > kMaxMembersShown) continue;
    for (const uint32_t shard : shards) {
      const size_t position = member.PositionOf(shard);
      if (position == member.assignments.size()) continue;
      if (member.states[position] != v1::ShardReport::READY) unready.insert(shard);
    }
  }
  return {unready.begin(), unready.end()};
}

void AddReason(v1::AssemblyReason::Code code, std::string message, const std::string& node,
               const std::vector<uint32_t>& shards, v1::Assembly& out) {
  if (out.reasons_size() >= kMaxReasons) return;
  v1::AssemblyReason& reason = *out.add_reasons();
  reason.set_code(code);
  reason.set_message(std::move(message));
  reason.set_node(node);
  for (const uint32_t shard : shards) {
    if (reason.shards_size() < kMaxReasonShards) reason.add_shards(shard);
  }
}

}  // namespace

grpc::ServerUnaryReactor* AcquireReadPlace(ServiceContext& services,
                                           grpc::CallbackServerContext* context,
                                           const v1::AcquireReadRequest& request,
                                           v1::AcquireReadResponse* response) {
  const UnaryCall call(services, context, "AcquireRead", request);
  if (call.refused()) return call.reactor();
  auto place = std::make_shared<ReadPlaceCall>(call, services.committer, response);
  // Asked for under the registry's lock: whatever ends the node's right afterwards is committed
  // after that, and reaches the table after the request.
  services.committer.Read(
      [&](const Registry& registry) {
        absl::StatusOr<ReadPlaceTable::Request> wanted = Resolve(registry, request);
        if (!wanted.ok()) {
          place->Answered(wanted.status());
        } else if (wanted->max_readers == 0) {
          place->Answered(ReadPlaceTable::Answer{.granted = true});
        } else {
          services.live.read_places.Acquire(*std::move(wanted),
                                            [place](absl::StatusOr<ReadPlaceTable::Answer> answer) {
                                              place->Answered(std::move(answer));
                                            });
        }
      },
      [place](Revision) { place->Durable(); });
  return call.reactor();
}

absl::Status ReleaseReadPlace(const Registry& registry, ReadPlaceTable& read_places,
                              const v1::ReleaseReadRequest& request) {
  if (!request.has_epoch()) return InvalidField("epoch", "", "required");
  MUSTER_RETURN_IF_ERROR(ParseNodeName(request.name()).status());
  MUSTER_ASSIGN_OR_RETURN(const ShardName name, ParseShardName(request.shard()));
  const auto version = registry.catalogue().Find(name.version.ToString());
  // With the version all of its places went.
  const VersionUid uid = version.ok() ? (*version)->uid : VersionUid(0);
  return read_places.Release(request.name(), Epoch(request.epoch()),
                             {uid, name.index.value, request.uri()});
}

void ShowOrigins(const Registry& registry, const Assembly& assembly, v1::GetAssemblyResponse& out) {
  const VersionUid version = assembly.version().uid;
  std::map<std::string, std::set<uint32_t>> waiting;
  std::set<uint32_t> shards;
  for (const auto& wait : registry.read_places().WaitingFor(version, std::nullopt)) {
    const Assembly::Member* member = assembly.FindMember(wait.node);
    if (member == nullptr || !HoldsPlace(*member, wait.shard)) continue;
    waiting[wait.node].insert(wait.shard);
    shards.insert(wait.shard);
  }
  for (v1::AssemblyMember& member : *out.mutable_members()) {
    const auto found = waiting.find(member.node());
    if (found != waiting.end()) {
      member.set_shards_waiting(static_cast<uint32_t>(found->second.size()));
    }
  }
  v1::Assembly& shown = *out.mutable_assembly();
  if (shown.state() == v1::Assembly::READY) return;
  if (!waiting.empty()) {
    const std::vector<uint32_t> list(shards.begin(), shards.end());
    AddReason(v1::AssemblyReason::WAITING_FOR_ORIGIN,
              absl::StrCat(waiting.size(), waiting.size() == 1 ? " node waits" : " nodes wait",
                           " for a place at a bounded location of shard ", RunsToText(list, 200)),
              waiting.begin()->first, list, shown);
  }
  const std::vector<uint32_t> suspect =
      Unready(assembly, registry.catalogue().health().SuspectShards(version, kMaxReasonShards));
  if (!suspect.empty()) {
    AddReason(v1::AssemblyReason::LOCATION_SUSPECT,
              absl::StrCat("nodes found a location of shard ", RunsToText(suspect, 200),
                           " corrupt, missing or slow: it is tried last"),
              "", suspect, shown);
  }
}

void ShowWaiting(const Registry& registry, VersionUid version, v1::GetShardStatusResponse& out) {
  std::map<std::string, std::string> waiting;
  for (auto& wait : registry.read_places().WaitingFor(version, out.shard())) {
    waiting.emplace(std::move(wait.node), std::move(wait.uri));
  }
  for (v1::ShardReplica& replica : *out.mutable_replicas()) {
    const auto found = waiting.find(replica.node());
    if (found != waiting.end()) replica.set_waiting_for_location(found->second);
  }
}

}  // namespace muster
