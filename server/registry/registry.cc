#include "server/registry/registry.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/row_keys.h"
#include "server/registry/timestamps.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

// The response message of each request; void for commands that have none.
template <typename Request>
struct ReplyOf {
  using Type = void;
};
template <>
struct ReplyOf<v1::CreateModelVersionRequest> {
  using Type = v1::CreateModelVersionResponse;
};
template <>
struct ReplyOf<v1::AddTensorsRequest> {
  using Type = v1::AddTensorsResponse;
};
template <>
struct ReplyOf<v1::CommitModelVersionRequest> {
  using Type = v1::CommitModelVersionResponse;
};
template <>
struct ReplyOf<v1::DeleteModelVersionRequest> {
  using Type = v1::DeleteModelVersionResponse;
};
template <>
struct ReplyOf<v1::RegisterNodeRequest> {
  using Type = v1::RegisterNodeResponse;
};
template <>
struct ReplyOf<v1::DeregisterNodeRequest> {
  using Type = v1::DeregisterNodeResponse;
};
template <>
struct ReplyOf<v1::DrainNodeRequest> {
  using Type = v1::DrainNodeResponse;
};
template <>
struct ReplyOf<v1::ResumeMovesRequest> {
  using Type = v1::ResumeMovesResponse;
};
template <>
struct ReplyOf<v1::CreateAssemblyRequest> {
  using Type = v1::CreateAssemblyResponse;
};
template <>
struct ReplyOf<v1::JoinAssemblyRequest> {
  using Type = v1::JoinAssemblyResponse;
};
template <>
struct ReplyOf<v1::LeaveAssemblyRequest> {
  using Type = v1::LeaveAssemblyResponse;
};
template <>
struct ReplyOf<v1::DeleteAssemblyRequest> {
  using Type = v1::DeleteAssemblyResponse;
};
template <>
struct ReplyOf<v1::ReportShardsRequest> {
  using Type = v1::ReportShardsResponse;
};

template <typename Request>
concept HasRequestId = requires(const Request& request) {
  request.request_id();
};
template <typename Request>
concept HasValidateOnly = requires(const Request& request) {
  request.validate_only();
};

}  // namespace

Registry::Registry(const Options& options)
    : options_(options),
      uid_prefix_(options.cluster_id.substr(0, 12)),
      catalogue_(uid_prefix_),
      nodes_(uid_prefix_, options.default_lease_ttl_us),
      assemblies_(uid_prefix_, options.leases.move_grace, catalogue_, nodes_),
      event_log_(options.event_log),
      leases_(options.leases),
      read_places_(options.read_places) {}

void Registry::Committed(const Change& change) const {
  if (const auto* node = std::get_if<NodeChange>(&change.what)) {
    leases_.Apply(*node);
    read_places_.Apply(*node);
  } else if (const auto* assignment = std::get_if<AssignmentChange>(&change.what)) {
    read_places_.Apply(*assignment);
  }
}

MetadataBatch::Put Registry::RevisionRow(Revision revision) const {
  store::RevisionRow row;
  row.set_revision(revision.value);
  row.set_time_us(now_us_);
  return MetadataBatch::Put{RevisionKey(), row.SerializeAsString()};
}

absl::Status Registry::CheckSpace() const {
  if (!free_bytes_.has_value() || *free_bytes_ >= options_.min_free_bytes) return absl::OkStatus();
  return WithDetail(absl::ResourceExhaustedError(absl::StrCat(
                        "the server's store has ", *free_bytes_, " bytes left, below its floor of ",
                        options_.min_free_bytes, ": free space on the device of its --data-dir")),
                    ErrorDetail{reasons::kStoreFull,
                                {{"free_bytes", absl::StrCat(*free_bytes_)},
                                 {"floor_bytes", absl::StrCat(options_.min_free_bytes)}},
                                absl::Seconds(5)});
}

template <typename Reply, typename Request>
absl::Status Registry::Answer(const Request& request, Transaction& tx,
                              std::unique_ptr<google::protobuf::Message>& reply) {
  auto answer = std::make_unique<Reply>();
  std::string digest;
  bool remember = false;
  if constexpr (HasRequestId<Request>) {
    MUSTER_RETURN_IF_ERROR(CheckRequestId(request.request_id()));
    remember = !request.request_id().empty() && !request.validate_only();
    if (remember) {
      digest = RequestLog::DigestOf(request);
      MUSTER_ASSIGN_OR_RETURN(const bool answered,
                              requests_.Find(request.request_id(), digest, *answer));
      if (answered) {
        reply = std::move(answer);
        return absl::OkStatus();
      }
    }
  }
  MUSTER_RETURN_IF_ERROR(Do(request, tx, *answer));
  answer->set_revision(tx.revision().value);
  if constexpr (HasRequestId<Request>) {
    if (remember) requests_.Add(request.request_id(), std::move(digest), *answer, tx);
  }
  reply = std::move(answer);
  return absl::OkStatus();
}

Applied Registry::Apply(const Command& command) {
  Transaction tx(revision_, now_us_, CauseOf(command));
  Applied applied;
  applied.status = std::visit(
      [&](const auto& what) -> absl::Status {
        using Reply = typename ReplyOf<std::decay_t<decltype(what)>>::Type;
        if constexpr (std::is_void_v<Reply>) {
          return Do(what, tx);
        } else {
          return Answer<Reply>(what, tx, applied.reply);
        }
      },
      command);
  event_log_.Append(tx);
  revision_ = tx.revision();
  applied.changed = tx.changed();
  applied.revision = revision_;
  applied.operations = tx.TakeOperations();
  applied.changes = tx.TakeChanges();
  applied.follow_ups = tx.TakeFollowUps();
  applied.plans_wanted = tx.TakePlansWanted();
  return applied;
}

v1::Node Registry::DescribeNode(const Node& node) const {
  v1::Node out = nodes_.Describe(node);
  if (out.has_drain()) assemblies_.AddBlockers(node, *out.mutable_drain());
  out.set_applied_revision(leases_.AppliedBy(node.uid).value);
  out.set_moves_braked(leases_.IsBraked(node.uid));
  return out;
}

v1::Assembly Registry::DescribeAssembly(const Assembly& assembly) const {
  v1::Assembly out = assemblies_.Describe(assembly);
  std::vector<std::string> braked;
  for (const v1::AssemblyReason& reason : out.reasons()) {
    if (reason.code() != v1::AssemblyReason::NODE_LOST) continue;
    if (leases_.IsBraked(assembly.FindMember(reason.node())->node)) braked.push_back(reason.node());
  }
  if (braked.empty()) return out;
  v1::AssemblyReason* reason = out.add_reasons();
  reason->set_code(v1::AssemblyReason::MOVES_BRAKED);
  reason->set_node(braked.front());
  reason->set_message(absl::StrCat(
      "the shards of ", braked.front(),
      braked.size() > 1 ? absl::StrCat(" and ", braked.size() - 1, " more lost nodes") : "",
      " do not move, as so much of a zone is lost at once that it looks cut off: wait for its "
      "return, or resume moves"));
  // The brake explains more than whatever was last.
  if (out.reasons_size() > kMaxReasons) {
    out.mutable_reasons()->SwapElements(kMaxReasons - 2, kMaxReasons);
    out.mutable_reasons()->RemoveLast();
  }
  return out;
}

absl::Status Registry::Do(const v1::CreateModelVersionRequest& request, Transaction& tx,
                          v1::CreateModelVersionResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckSpace());
  return catalogue_.Create(request, tx, reply);
}

absl::Status Registry::Do(const v1::AddTensorsRequest& request, Transaction& tx,
                          v1::AddTensorsResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckSpace());
  return catalogue_.Add(request, tx, reply);
}

absl::Status Registry::Do(const v1::CommitModelVersionRequest& request, Transaction& tx,
                          v1::CommitModelVersionResponse& reply) {
  return catalogue_.Commit(request, tx, reply);
}

absl::Status Registry::Do(const v1::DeleteModelVersionRequest& request, Transaction& tx,
                          v1::DeleteModelVersionResponse&) {
  return catalogue_.Delete(request, tx);
}

absl::Status Registry::Do(const v1::RegisterNodeRequest& request, Transaction& tx,
                          v1::RegisterNodeResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckSpace());
  MUSTER_ASSIGN_OR_RETURN(const Node* node, nodes_.Register(request, tx));
  if (node == nullptr) {
    *reply.mutable_node() = request.node();
    return absl::OkStatus();
  }
  assemblies_.NodeRegistered(*node, tx);
  *reply.mutable_node() = nodes_.Describe(*node);
  reply.set_epoch(node->epoch().value);
  *reply.mutable_heartbeat_interval() = ToDuration(node->row.lease_ttl_us() / kHeartbeatsPerTtl);
  return absl::OkStatus();
}

absl::Status Registry::Do(const v1::DeregisterNodeRequest& request, Transaction& tx,
                          v1::DeregisterNodeResponse&) {
  const auto epoch = request.has_epoch() ? std::optional<uint64_t>(request.epoch()) : std::nullopt;
  MUSTER_ASSIGN_OR_RETURN(Node * node, nodes_.Find(request.name(), epoch));
  if (request.validate_only()) return absl::OkStatus();
  assemblies_.NodeRemoved(*node, tx);
  nodes_.Erase(*node, tx);
  return absl::OkStatus();
}

absl::Status Registry::Do(const v1::DrainNodeRequest& request, Transaction& tx,
                          v1::DrainNodeResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckDrain(request));
  const auto epoch = request.has_epoch() ? std::optional<uint64_t>(request.epoch()) : std::nullopt;
  MUSTER_ASSIGN_OR_RETURN(Node * node, nodes_.Find(request.name(), epoch));
  if (request.validate_only()) {
    *reply.mutable_node() = DescribeNode(*node);
    return absl::OkStatus();
  }
  if (nodes_.Drain(*node, request, tx)) assemblies_.NodeDrained(*node, tx);
  *reply.mutable_node() = DescribeNode(*node);
  return absl::OkStatus();
}

absl::Status Registry::Do(const v1::ResumeMovesRequest& request, Transaction& tx,
                          v1::ResumeMovesResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckText("zone", request.zone(), kMaxShortTextBytes));
  const auto zone = request.has_zone() ? std::optional<std::string>(request.zone()) : std::nullopt;
  for (const LeaseTable::Lease& lease : leases_.Braked(zone)) {
    const Node* node = nodes_.FindByUid(lease.node);
    if (node == nullptr) continue;
    if (reply.nodes_size() < kMaxItemsPerCall) reply.add_nodes(node->row.name());
    if (!request.validate_only()) tx.Then(ReleaseNode{lease.node, lease.epoch});
  }
  return absl::OkStatus();
}

absl::Status Registry::Do(const v1::CreateAssemblyRequest& request, Transaction& tx,
                          v1::CreateAssemblyResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckSpace());
  return assemblies_.Create(request, tx, reply);
}

absl::Status Registry::Do(const v1::JoinAssemblyRequest& request, Transaction& tx,
                          v1::JoinAssemblyResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckSpace());
  return assemblies_.Join(request, tx, reply);
}

absl::Status Registry::Do(const v1::LeaveAssemblyRequest& request, Transaction& tx,
                          v1::LeaveAssemblyResponse&) {
  return assemblies_.Leave(request, tx);
}

absl::Status Registry::Do(const v1::DeleteAssemblyRequest& request, Transaction& tx,
                          v1::DeleteAssemblyResponse&) {
  return assemblies_.Delete(request, tx);
}

absl::Status Registry::Do(const v1::ReportShardsRequest& request, Transaction& tx,
                          v1::ReportShardsResponse& reply) {
  return assemblies_.Report(request, tx, reply);
}

absl::Status Registry::Do(const StagePieces& command, Transaction& tx) {
  MUSTER_RETURN_IF_ERROR(CheckSpace());
  return catalogue_.Stage(command, tx);
}

absl::Status Registry::Do(const AddShard& command, Transaction& tx) {
  MUSTER_RETURN_IF_ERROR(CheckSpace());
  return catalogue_.Add(command, tx);
}

absl::Status Registry::Do(const AddCompanion& command, Transaction& tx) {
  MUSTER_RETURN_IF_ERROR(CheckSpace());
  return catalogue_.Add(command, tx);
}

absl::Status Registry::Do(const AddLocation& command, Transaction& tx) {
  MUSTER_RETURN_IF_ERROR(CheckSpace());
  return catalogue_.Add(command, tx);
}

absl::Status Registry::Do(const RemoveLocation& command, Transaction& tx) {
  return catalogue_.Remove(command, tx);
}

absl::Status Registry::Do(const Tick& command, Transaction& tx) {
  // Records show the time of day as it is told, but it never goes back, so that what follows is not
  // older.
  now_us_ = std::max(now_us_, command.time_us);
  free_bytes_ = command.free_bytes;
  Transaction at_now(tx.revision(), now_us_, tx.cause());
  requests_.Tick(at_now);
  catalogue_.Tick(at_now);
  event_log_.Tick(at_now);
  nodes_.Tick(at_now);
  assemblies_.Tick(at_now);
  tx = std::move(at_now);
  return absl::OkStatus();
}

absl::Status Registry::Do(const ExpireLease& command, Transaction& tx) {
  if (!leases_.HasExpired(command.node, command.epoch)) return absl::OkStatus();
  if (nodes_.SetLost(command.node, command.epoch, true, tx)) {
    assemblies_.NodeLostOrRevived(*nodes_.FindByUid(command.node), tx);
  }
  return absl::OkStatus();
}

absl::Status Registry::Do(const ReleaseNode& command, Transaction& tx) {
  if (!leases_.HasExpired(command.node, command.epoch)) return absl::OkStatus();
  if (nodes_.Release(command.node, command.epoch, tx)) {
    assemblies_.NodeReleased(*nodes_.FindByUid(command.node), tx);
  }
  return absl::OkStatus();
}

absl::Status Registry::Do(const ReviveNode& command, Transaction& tx) {
  if (nodes_.SetLost(command.node, command.epoch, false, tx)) {
    assemblies_.NodeLostOrRevived(*nodes_.FindByUid(command.node), tx);
  }
  return absl::OkStatus();
}

absl::Status Registry::Do(const NoteDrain& command, Transaction& tx) {
  nodes_.NoteDrain(command.node, tx);
  return absl::OkStatus();
}

absl::Status Registry::Do(const ResumePlans&, Transaction& tx) {
  leases_.NoteGuardEnd();
  assemblies_.WantPlans(tx);
  return absl::OkStatus();
}

absl::Status Registry::Do(const ExpireGivenUp& command, Transaction& tx) {
  assemblies_.Expire(command, tx);
  return absl::OkStatus();
}

absl::Status Registry::Do(const StagePlan& command, Transaction& tx) {
  return assemblies_.Stage(command, tx);
}

absl::Status Registry::Do(const ApplyPlan& command, Transaction& tx) {
  return assemblies_.Apply(command, tx);
}

absl::Status Registry::Do(const NoteLocations& command, Transaction& tx) {
  const Node* node = nodes_.FindByUid(command.node);
  return node == nullptr ? absl::OkStatus() : catalogue_.Note(command, node->row.name(), tx);
}

absl::Status Registry::Do(const ExpireDraft& command, Transaction& tx) {
  return catalogue_.Expire(command, tx);
}

absl::Status Registry::Do(const ForgetMember& command, Transaction& tx) {
  assemblies_.Forget(command, tx);
  return absl::OkStatus();
}

absl::Status Registry::Do(const ForgetPlanDirectory& command, Transaction& tx) {
  assemblies_.Forget(command, tx);
  return absl::OkStatus();
}

absl::Status Registry::Do(const RememberReady& command, Transaction& tx) {
  assemblies_.Remember(command, tx);
  return absl::OkStatus();
}

}  // namespace muster
