#include "tests/unit/client/agent/fake_muster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "tests/support/await.h"

namespace muster {
namespace {

constexpr char kNodes[] = "/muster.v1.NodeService/";
constexpr char kAssemblies[] = "/muster.v1.AssemblyService/";
constexpr char kModels[] = "/muster.v1.ModelService/";

}  // namespace

FakeMuster::FakeMuster() {
  v1::Assembly assembly;
  assembly.set_name(kAssembly);
  assembly.set_model_version("models/m/versions/v");
  assembly.set_policy(v1::Assembly::BALANCED);
  assembly.set_min_nodes(1);
  assembly.set_replicas(1);
  assembly_ = assembly;
  ServeNodes();
  ServeAssemblies();
  ServeReports();
  ServePlaces();
}

absl::Status FakeMuster::Enter(const std::string& method) {
  if (down_) return MakeError(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE", "no server");
  const auto refused = refused_.find(method);
  return refused == refused_.end() ? absl::OkStatus() : refused->second;
}

absl::Status FakeMuster::Leave(const std::string& method) {
  if (lost_replies_[method] == 0) return absl::OkStatus();
  --lost_replies_[method];
  return absl::UnavailableError("the reply got lost");
}

absl::Status FakeMuster::CheckEpoch(uint64_t epoch) {
  if (!registered_)
    return MakeError(absl::StatusCode::kNotFound, "NODE_UNKNOWN", "nodes/n1 is unknown");
  if (epoch != epoch_) return MakeError(absl::StatusCode::kAborted, "NODE_FENCED", "stale epoch");
  return absl::OkStatus();
}

void FakeMuster::ServeNodes() {
  channel_.OnUnary<v1::RegisterNodeRequest, v1::RegisterNodeResponse>(
      absl::StrCat(kNodes, "RegisterNode"),
      [this](const auto& request, auto& response, const CallOptions&) {
        MutexLock lock(mutex_);
        MUSTER_RETURN_IF_ERROR(Enter("RegisterNode"));
        registrations_.push_back(request);
        auto& reply = replies_by_request_id_[request.request_id()];
        if (reply.epoch() == 0) {
          epoch_ = ++revision_;
          registered_ = true;
          reports_.clear();
          reply.set_epoch(epoch_);
          reply.set_history_id(history_id_);
          reply.mutable_heartbeat_interval()->set_seconds(3);
          *reply.mutable_node() = request.node();
        }
        response = reply;
        return Leave("RegisterNode");
      });
  channel_.OnUnary<v1::HeartbeatRequest, v1::HeartbeatResponse>(
      absl::StrCat(kNodes, "Heartbeat"),
      [this](const auto& request, auto& response, const CallOptions&) {
        MutexLock lock(mutex_);
        MUSTER_RETURN_IF_ERROR(Enter("Heartbeat"));
        MUSTER_RETURN_IF_ERROR(CheckEpoch(request.epoch()));
        heartbeats_.push_back(request);
        response.mutable_heartbeat_interval()->set_seconds(3);
        return absl::OkStatus();
      });
  channel_.OnUnary<v1::DeregisterNodeRequest, v1::DeregisterNodeResponse>(
      absl::StrCat(kNodes, "DeregisterNode"),
      [](const auto&, auto&, const CallOptions&) { return absl::OkStatus(); });
}

void FakeMuster::ServeAssemblies() {
  channel_.OnUnary<v1::GetAssemblyRequest, v1::GetAssemblyResponse>(
      absl::StrCat(kAssemblies, "GetAssembly"),
      [this](const auto& request, auto& response, const CallOptions&) {
        MutexLock lock(mutex_);
        MUSTER_RETURN_IF_ERROR(Enter("GetAssembly"));
        if (!assembly_.has_value() || request.name() != assembly_->name()) {
          return MakeError(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN",
                           absl::StrCat(request.name(), " is unknown"));
        }
        *response.mutable_assembly() = *assembly_;
        for (const v1::AssemblyMember& member : members_) *response.add_members() = member;
        return absl::OkStatus();
      });
  channel_.OnUnary<v1::CreateAssemblyRequest, v1::CreateAssemblyResponse>(
      absl::StrCat(kAssemblies, "CreateAssembly"),
      [this](const auto& request, auto& response, const CallOptions&) {
        MutexLock lock(mutex_);
        MUSTER_RETURN_IF_ERROR(Enter("CreateAssembly"));
        if (assembly_.has_value())
          return MakeError(absl::StatusCode::kAlreadyExists, "ASSEMBLY_EXISTS", "taken");
        assembly_ = request.assembly();
        *response.mutable_assembly() = *assembly_;
        return Leave("CreateAssembly");
      });
  channel_.OnUnary<v1::JoinAssemblyRequest, v1::JoinAssemblyResponse>(
      absl::StrCat(kAssemblies, "JoinAssembly"),
      [this](const auto& request, auto& response, const CallOptions&) {
        MutexLock lock(mutex_);
        MUSTER_RETURN_IF_ERROR(Enter("JoinAssembly"));
        MUSTER_RETURN_IF_ERROR(CheckEpoch(request.epoch()));
        joins_.push_back(request);
        *response.mutable_assembly() = assembly_.value_or(v1::Assembly());
        return Leave("JoinAssembly");
      });
  channel_.OnUnary<v1::LeaveAssemblyRequest, v1::LeaveAssemblyResponse>(
      absl::StrCat(kAssemblies, "LeaveAssembly"),
      [](const auto&, auto&, const CallOptions&) { return absl::OkStatus(); });
  channel_.OnStream<v1::WatchAssignmentsRequest, v1::WatchAssignmentsResponse>(
      absl::StrCat(kAssemblies, "WatchAssignments"),
      [this](const auto& request, const SendAssignments& send, const CallOptions& options) {
        return Watch(request, send, options);
      });
}

void FakeMuster::ServeReports() {
  channel_.OnUnary<v1::ReportShardsRequest, v1::ReportShardsResponse>(
      absl::StrCat(kAssemblies, "ReportShards"),
      [this](const auto& request, auto& response, const CallOptions&) {
        MutexLock lock(mutex_);
        MUSTER_RETURN_IF_ERROR(Enter("ReportShards"));
        MUSTER_RETURN_IF_ERROR(CheckEpoch(request.epoch()));
        batch_sizes_.push_back(request.reports_size());
        for (const v1::ShardReport& report : request.reports()) {
          report_log_.push_back(
              absl::StrCat(report.shard(), " ", v1::ShardReport::State_Name(report.state())));
          const auto assigned = assigned_.find(report.shard());
          if (assigned != assigned_.end() && assigned->second == report.generation()) {
            reports_[report.shard()] = report;
          } else {
            response.add_rejected(report.shard());
          }
        }
        return Leave("ReportShards");
      });
  channel_.OnUnary<v1::GetShardRequest, v1::GetShardResponse>(
      absl::StrCat(kModels, "GetShard"),
      [this](const auto& request, auto& response, const CallOptions&) {
        MutexLock lock(mutex_);
        MUSTER_RETURN_IF_ERROR(Enter("GetShard"));
        const std::string& name = request.name();
        const auto shard = static_cast<uint32_t>(std::stoul(name.substr(name.rfind('/') + 1)));
        *response.mutable_shard() = AssignedShardOf(shard).shard();
        return absl::OkStatus();
      });
}

void FakeMuster::ServePlaces() {
  channel_.OnUnary<v1::AcquireReadRequest, v1::AcquireReadResponse>(
      absl::StrCat(kNodes, "AcquireRead"),
      [this](const auto& request, auto& response, const CallOptions& options) {
        return AcquireRead(request, response, options);
      });
  channel_.OnUnary<v1::ReleaseReadRequest, v1::ReleaseReadResponse>(
      absl::StrCat(kNodes, "ReleaseRead"), [this](const auto& request, auto&, const CallOptions&) {
        MutexLock lock(mutex_);
        MUSTER_RETURN_IF_ERROR(Enter("ReleaseRead"));
        places_returned_.push_back(request.shard());
        return Leave("ReleaseRead");
      });
}

absl::Status FakeMuster::AcquireRead(const v1::AcquireReadRequest& request,
                                     v1::AcquireReadResponse& response,
                                     const CallOptions& options) {
  const std::stop_callback wake(options.stop, [this] {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  });
  MutexLock lock(mutex_);
  std::optional<absl::Status> answer;
  const auto answered = [&] {
    answer = TryAcquireRead(request, response, options);
    return answer.has_value();
  };
  AwaitOrFail(mutex_, changed_, "a place at shard 0, or the call's end", answered,
              kPatienceOfFakes);
  return answer.value_or(absl::CancelledError("waited in vain"));
}

std::optional<absl::Status> FakeMuster::TryAcquireRead(const v1::AcquireReadRequest& request,
                                                       v1::AcquireReadResponse& response,
                                                       const CallOptions& options) {
  if (options.stop.stop_requested()) return absl::CancelledError("stopped");
  MUSTER_RETURN_IF_ERROR(Enter("AcquireRead"));
  MUSTER_RETURN_IF_ERROR(CheckEpoch(request.epoch()));
  response.set_granted(!place_taken_);
  if (response.granted()) places_given_.push_back(request.held() ? "held" : "new");
  if (response.granted() || request.max_wait().seconds() == 0) return Leave("AcquireRead");
  return std::nullopt;
}

v1::AssignedShard FakeMuster::AssignedShardOf(uint32_t shard) {
  v1::AssignedShard assigned;
  assigned.set_assembly(kAssembly);
  assigned.set_generation(assigned_[shard]);
  assigned.mutable_shard()->set_name(absl::StrCat("models/m/versions/v/shards/", shard));
  assigned.mutable_shard()->set_index(shard);
  assigned.mutable_shard()->set_size_bytes(1'000);
  assigned.mutable_shard()->set_md5(absl::StrCat("md5 of ", shard));
  v1::Location& location = *assigned.mutable_shard()->add_locations();
  location.set_uri(location_);
  if (bounded_ && shard == 0) location.set_max_readers(1);
  return assigned;
}

absl::Status FakeMuster::Watch(const v1::WatchAssignmentsRequest& request,
                               const SendAssignments& send, const CallOptions& options) {
  const std::stop_callback wake(options.stop, [this] {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  });
  uint64_t cursor = request.start_revision();
  bool first = true;
  while (true) {
    absl::StatusOr<std::optional<v1::WatchAssignmentsResponse>> next;
    {
      MutexLock lock(mutex_);
      if (std::exchange(first, false)) watches_.push_back(request);
      const auto there = [&] {
        next = NextMessage(request, options, cursor);
        return !next.ok() || next->has_value();
      };
      if (!AwaitOrFail(mutex_, changed_, "a message of the watch, or its end", there,
                       kPatienceOfFakes)) {
        return absl::CancelledError("waited in vain");
      }
    }
    MUSTER_RETURN_IF_ERROR(next.status());
    if (!send(**next)) return absl::OkStatus();
  }
}

absl::StatusOr<std::optional<v1::WatchAssignmentsResponse>> FakeMuster::NextMessage(
    const v1::WatchAssignmentsRequest& request, const CallOptions& options, uint64_t& cursor) {
  if (options.stop.stop_requested()) return absl::CancelledError("stopped");
  MUSTER_RETURN_IF_ERROR(Enter("WatchAssignments"));
  if (request.history_id() != history_id_) {
    return MakeError(absl::StatusCode::kOutOfRange, "HISTORY_CHANGED", "another history");
  }
  MUSTER_RETURN_IF_ERROR(CheckEpoch(request.epoch()));
  if (cursor != 0 && cursor < compact_revision_) {
    return MakeError(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED", "too old");
  }
  v1::WatchAssignmentsResponse message;
  if (cursor == 0) {
    message.set_snapshot(true);
    for (const auto& [shard, generation] : assigned_)
      *message.add_assigned() = AssignedShardOf(shard);
    cursor = revision_;
  } else {
    const auto next = deltas_.upper_bound(cursor);
    if (next == deltas_.end()) return std::nullopt;
    message = next->second;
    cursor = next->first;
  }
  message.set_revision(cursor);
  message.set_complete(true);
  return message;
}

void FakeMuster::SetDown(bool down) {
  MutexLock lock(mutex_);
  down_ = down;
  changed_.NotifyAll();
}

void FakeMuster::ForgetNode() {
  MutexLock lock(mutex_);
  registered_ = false;
  ++revision_;
  changed_.NotifyAll();
}

void FakeMuster::Fence() {
  MutexLock lock(mutex_);
  epoch_ = ++revision_;
  changed_.NotifyAll();
}

void FakeMuster::Compact() {
  MutexLock lock(mutex_);
  compact_revision_ = ++revision_;
}

void FakeMuster::BeginHistory(const std::string& history_id) {
  MutexLock lock(mutex_);
  history_id_ = history_id;
  changed_.NotifyAll();
}

std::optional<v1::Assembly> FakeMuster::SetAssembly(std::optional<v1::Assembly> assembly) {
  MutexLock lock(mutex_);
  return std::exchange(assembly_, std::move(assembly));
}

void FakeMuster::SetMembers(std::vector<v1::AssemblyMember> members) {
  MutexLock lock(mutex_);
  members_ = std::move(members);
}

void FakeMuster::LoseReplies(const std::string& method, int times) {
  MutexLock lock(mutex_);
  lost_replies_[method] = times;
}

void FakeMuster::Refuse(const std::string& method, absl::Status status) {
  MutexLock lock(mutex_);
  refused_[method] = std::move(status);
}

void FakeMuster::Assign(uint32_t shard) {
  MutexLock lock(mutex_);
  assigned_[shard] = ++revision_;
  *deltas_[revision_].add_assigned() = AssignedShardOf(shard);
  changed_.NotifyAll();
}

void FakeMuster::Unassign(uint32_t shard) {
  MutexLock lock(mutex_);
  assigned_.erase(shard);
  v1::UnassignedShard& unassigned = *deltas_[++revision_].add_unassigned();
  unassigned.set_assembly(kAssembly);
  unassigned.set_shard(shard);
  changed_.NotifyAll();
}

void FakeMuster::SetLocation(const std::string& uri) {
  MutexLock lock(mutex_);
  location_ = uri;
}

void FakeMuster::BoundShard0(bool taken) {
  MutexLock lock(mutex_);
  bounded_ = true;
  place_taken_ = taken;
  changed_.NotifyAll();
}

std::vector<std::string> FakeMuster::places_given() {
  MutexLock lock(mutex_);
  return places_given_;
}
std::vector<std::string> FakeMuster::places_returned() {
  MutexLock lock(mutex_);
  return places_returned_;
}
std::map<uint32_t, v1::ShardReport> FakeMuster::reports() {
  MutexLock lock(mutex_);
  return reports_;
}
std::vector<std::string> FakeMuster::report_log() {
  MutexLock lock(mutex_);
  return report_log_;
}
std::vector<v1::HeartbeatRequest> FakeMuster::heartbeats() {
  MutexLock lock(mutex_);
  return heartbeats_;
}
std::vector<v1::WatchAssignmentsRequest> FakeMuster::watches() {
  MutexLock lock(mutex_);
  return watches_;
}
std::vector<v1::RegisterNodeRequest> FakeMuster::registrations() {
  MutexLock lock(mutex_);
  return registrations_;
}
std::vector<v1::JoinAssemblyRequest> FakeMuster::joins() {
  MutexLock lock(mutex_);
  return joins_;
}
std::vector<size_t> FakeMuster::batch_sizes() {
  MutexLock lock(mutex_);
  return batch_sizes_;
}

int FakeMuster::calls(const std::string& method) {
  return channel_.calls(absl::StrCat(kNodes, method)) +
         channel_.calls(absl::StrCat(kAssemblies, method)) +
         channel_.calls(absl::StrCat(kModels, method));
}

bool FakeFetcher::Holds(const v1::Shard& shard, const std::stop_token&) {
  MutexLock lock(mutex_);
  const bool needed = std::any_of(assigned_.begin(), assigned_.end(), [&](const auto& assembly) {
    return assembly.second.contains(shard.index());
  });
  if (!needed) ++unassigned_lookups_;
  return cached_.contains(shard.index());
}

absl::Status FakeFetcher::Assign(const AssemblyId& assembly, const std::vector<v1::Shard>& shards) {
  MutexLock lock(mutex_);
  if (!assign_status_.ok()) return assign_status_;
  assigned_.erase(assembly.name);
  for (const v1::Shard& shard : shards) assigned_[assembly.name].insert(shard.index());
  uids_[assembly.name] = assembly.uid;
  return absl::OkStatus();
}

absl::StatusOr<std::set<ShardFetcher::AssemblyId>> FakeFetcher::NeededByOthers() {
  MutexLock lock(mutex_);
  return needed_by_others_;
}

absl::Status FakeFetcher::LetGoForOthers(const AssemblyId& assembly) {
  MutexLock lock(mutex_);
  needed_by_others_.erase(assembly);
  return absl::OkStatus();
}

void FakeFetcher::PutNeededByOthers(const std::set<AssemblyId>& assemblies) {
  MutexLock lock(mutex_);
  needed_by_others_ = assemblies;
}

std::map<std::string, std::string> FakeFetcher::uids() {
  MutexLock lock(mutex_);
  return uids_;
}

absl::Status FakeFetcher::AssignNoOthers(const std::set<std::string>& assemblies) {
  MutexLock lock(mutex_);
  std::erase_if(assigned_, [&](const auto& one) { return !assemblies.contains(one.first); });
  return absl::OkStatus();
}

std::map<std::string, std::set<uint32_t>> FakeFetcher::assigned() {
  MutexLock lock(mutex_);
  return assigned_;
}

void FakeFetcher::PutAssigned(const std::string& assembly, const std::set<uint32_t>& shards) {
  MutexLock lock(mutex_);
  assigned_[assembly] = shards;
}

void FakeFetcher::FailAssign(const absl::Status& status) {
  MutexLock lock(mutex_);
  assign_status_ = status;
}

int FakeFetcher::unassigned_lookups() {
  MutexLock lock(mutex_);
  return unassigned_lookups_;
}

std::string FakeFetcher::Inventory() {
  MutexLock lock(mutex_);
  // Another one each time.
  return std::string(16, static_cast<char>('a' + inventories_++));
}

ShardFetcher::Outcome FakeFetcher::Fetch(const v1::Shard& shard, ReadGate& gate,
                                         const std::stop_token& stop,
                                         const OnProgress& on_progress) {
  on_progress(shard.size_bytes() / 2);
  const bool bounded = !shard.locations().empty() && shard.locations(0).max_readers() > 0;
  if (bounded) {
    const auto granted = gate.Acquire(shard.locations(0).uri(), /*wait=*/true, stop);
    if (!granted.ok()) return {granted.status(), {}, {}};
  }
  Outcome outcome = FetchWithPlace(shard, stop);
  if (bounded) gate.Release(shard.locations(0).uri());
  return outcome;
}

ShardFetcher::Outcome FakeFetcher::FetchWithPlace(const v1::Shard& shard,
                                                  const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  });
  MutexLock lock(mutex_);
  const uint32_t index = shard.index();
  ++fetches_[index];
  last_location_ = shard.locations().empty() ? "" : shard.locations(0).uri();
  const auto ends = [&] { return !held_.contains(index) || stop.stop_requested(); };
  AwaitOrFail(mutex_, changed_, absl::StrCat("Release of shard ", index), ends, kPatienceOfFakes);
  if (stop.stop_requested()) {
    ++stopped_[index];
    return {absl::CancelledError("stopped"), {}, {}};
  }
  v1::LocationReport report;
  report.set_uri(last_location_);

  if (failures_[index] > 0) {
    --failures_[index];
    v1::ShardFailure failure;
    failure.set_code(v1::ShardFailure::MISSING);
    failure.set_location(last_location_);
    report.set_code(v1::ShardFailure::MISSING);
    return {absl::NotFoundError("no such object"), failure, {report}};
  }
  cached_.insert(index);
  return {absl::OkStatus(), {}, {report}};
}

void FakeFetcher::PutIntoCache(uint32_t shard) {
  MutexLock lock(mutex_);
  cached_.insert(shard);
}
void FakeFetcher::Fail(uint32_t shard, int times) {
  MutexLock lock(mutex_);
  failures_[shard] = times;
}
void FakeFetcher::Hold(uint32_t shard) {
  MutexLock lock(mutex_);
  held_.insert(shard);
}
void FakeFetcher::Release(uint32_t shard) {
  MutexLock lock(mutex_);
  held_.erase(shard);
  changed_.NotifyAll();
}
int FakeFetcher::fetches(uint32_t shard) {
  MutexLock lock(mutex_);
  return fetches_[shard];
}
int FakeFetcher::stopped(uint32_t shard) {
  MutexLock lock(mutex_);
  return stopped_[shard];
}
std::string FakeFetcher::last_location() {
  MutexLock lock(mutex_);
  return last_location_;
}

}  // namespace muster
