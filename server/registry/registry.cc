#include "server/registry/registry.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/limits.h"
#include "server/registry/node_errors.h"
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

template <typename Request>
concept HasRequestId = requires(const Request& request) {
  request.request_id();
};

// A line of the switchboard: where a command of one type goes.
template <typename What, typename Call>
struct Line {
  template <typename Reply>
  absl::Status operator()(const What& what, Transaction& tx, Reply& reply) const {
    return call(what, tx, reply);
  }
  Call call;
};

// All lines; the compiler refuses a command that has none.
template <typename... Lines>
struct Switchboard : Lines... {
  using Lines::operator()...;
};
template <typename... Lines>
Switchboard(Lines...) -> Switchboard<Lines...>;

template <typename What, typename Call>
Line<What, Call> MakeLine(Call call) {
  return {std::move(call)};
}

// Calls a method that may leave out the reply, or have no error.
template <typename Table, typename Method, typename What, typename Reply>
absl::Status Invoke(Table& table, Method method, const What& what, Transaction& tx, Reply& reply) {
  if constexpr (std::is_invocable_v<Method, Table&, const What&, Transaction&, Reply&>) {
    return (table.*method)(what, tx, reply);
  } else if constexpr (std::is_void_v<
                           std::invoke_result_t<Method, Table&, const What&, Transaction&>>) {
    (table.*method)(what, tx);
    return absl::OkStatus();
  } else {
    return (table.*method)(what, tx);
  }
}

// Commands of type What go to `method` of `table`. What has to be named, as it says which of the
// overloads is meant.
template <typename What, typename Table, typename Result, typename... Reply>
auto To(Table& table, Result (Table::*method)(const What&, Transaction&, Reply&...)) {
  return MakeLine<What>(
      [&table, method](const What& what, Transaction& tx, auto& reply) -> absl::Status {
        return Invoke(table, method, what, tx, reply);
      });
}
template <typename What, typename Table, typename Result, typename... Reply>
auto To(Table& table, Result (Table::*method)(const What&, Transaction&, Reply&...) const) {
  return MakeLine<What>(
      [&table, method](const What& what, Transaction& tx, auto& reply) -> absl::Status {
        return Invoke(table, method, what, tx, reply);
      });
}

// The same for a command that adds data, which a store without room refuses, unless it is `known`:
// then it takes the place of what is there.
template <typename What, typename Call, typename Known>
auto IfRoom(const absl::Status& room, Line<What, Call> line, Known known) {
  return MakeLine<What>(
      [&room, line, known](const What& what, Transaction& tx, auto& reply) -> absl::Status {
        if (!room.ok() && !known(what)) return room;
        return line(what, tx, reply);
      });
}
template <typename What, typename Call>
auto IfRoom(const absl::Status& room, Line<What, Call> line) {
  return IfRoom(room, line, [](const What&) { return false; });
}

// What commands without a reply fill.
struct NoReply {};

}  // namespace

Registry::Registry(const Options& options, LiveTables& live)
    : options_(options),
      live_(live),
      uid_prefix_(options.cluster_id.substr(0, 12)),
      catalogue_(uid_prefix_),
      nodes_(uid_prefix_, options.default_lease_ttl_us, options.forget_nodes_us),
      assemblies_(uid_prefix_, live.leases.move_grace(), catalogue_, nodes_),
      event_log_(options.event_log) {}

MetadataBatch::Put Registry::RevisionRow(Revision revision) const {
  store::RevisionRow row;
  row.set_revision(revision.value);
  row.set_time_us(now_us_);
  row.set_time_of_day_ahead_us(wall_us_ - now_us_);
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

template <typename Lines, typename Request>
absl::Status Registry::Answer(const Lines& lines, const Request& request, absl::string_view caller,
                              Transaction& tx, std::unique_ptr<google::protobuf::Message>& reply) {
  [[maybe_unused]] constexpr auto kind = std::is_same_v<Request, v1::RegisterNodeRequest>
                                             ? RequestLog::Kind::kRegistration
                                             : RequestLog::Kind::kCall;
  auto answer = std::make_unique<ReplyOf<Request>>();
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
      if (kind == RequestLog::Kind::kCall) MUSTER_RETURN_IF_ERROR(requests_.CheckRoom(caller));
    }
  }
  MUSTER_RETURN_IF_ERROR(lines(request, tx, *answer));
  answer->set_revision(tx.revision().value);
  if constexpr (HasRequestId<Request>) {
    if (remember) {
      requests_.Add(request.request_id(), std::move(digest), *answer, caller, kind, tx);
    }
  }
  reply = std::move(answer);
  return absl::OkStatus();
}

absl::Status Registry::Dispatch(const Command& command, absl::string_view caller, Transaction& tx,
                                std::unique_ptr<google::protobuf::Message>& reply) {
  const absl::Status room = CheckSpace();
  const Switchboard lines{
      IfRoom(room, To<v1::CreateModelVersionRequest>(catalogue_, &Catalogue::Create)),
      IfRoom(room, To<v1::AddTensorsRequest>(catalogue_, &Catalogue::Add)),
      To<v1::CommitModelVersionRequest>(catalogue_, &Catalogue::Commit),
      To<v1::DeleteModelVersionRequest>(catalogue_, &Catalogue::Delete),
      // An agent that restarts beside a full disk comes back to its node and its assemblies.
      IfRoom(room, To<v1::RegisterNodeRequest>(*this, &Registry::RegisterNode),
             [this](const v1::RegisterNodeRequest& request) {
               return nodes_.by_name().contains(request.node().name());
             }),
      To<v1::UpdateNodeRequest>(*this, &Registry::UpdateNode),
      To<v1::DeregisterNodeRequest>(*this, &Registry::DeregisterNode),
      To<v1::DrainNodeRequest>(*this, &Registry::DrainNode),
      To<v1::ResumeMovesRequest>(*this, &Registry::ResumeMoves),
      IfRoom(room, To<v1::CreateAssemblyRequest>(assemblies_, &AssemblyTable::Create)),
      To<v1::UpdateAssemblyRequest>(assemblies_, &AssemblyTable::Update),
      IfRoom(room, To<v1::JoinAssemblyRequest>(assemblies_, &AssemblyTable::Join),
             [this](const v1::JoinAssemblyRequest& request) {
               return assemblies_.HasMember(request.name(), request.node());
             }),
      To<v1::LeaveAssemblyRequest>(assemblies_, &AssemblyTable::Leave),
      To<v1::DeleteAssemblyRequest>(assemblies_, &AssemblyTable::Delete),
      To<v1::ReportShardsRequest>(assemblies_, &AssemblyTable::Report),
      To<v1::DeleteJoinTokenRequest>(enrolment_, &EnrolmentTable::Delete),
      To<v1::ReleaseNameRequest>(enrolment_, &EnrolmentTable::Release),
      IfRoom(room, To<StagePieces>(catalogue_, &Catalogue::Stage)),
      IfRoom(room, To<AddShard>(catalogue_, &Catalogue::Add)),
      IfRoom(room, To<AddCompanion>(catalogue_, &Catalogue::Add)),
      IfRoom(room, To<AddLocation>(catalogue_, &Catalogue::Add)),
      To<RemoveLocation>(catalogue_, &Catalogue::Remove),
      IfRoom(room, To<SetContentKey>(catalogue_, &Catalogue::Set)),
      To<RewrapContentKey>(catalogue_, &Catalogue::Rewrap),
      To<Tick>(*this, &Registry::TakeTime),
      To<ExpireLease>(*this, &Registry::LoseNode),
      To<ReleaseNode>(*this, &Registry::ReleaseShards),
      To<ForgetNode>(*this, &Registry::Forget),
      To<ReviveNode>(*this, &Registry::TakeNodeBack),
      To<NoteDrain>(nodes_, &NodeTable::Note),
      To<ResumePlans>(*this, &Registry::EndGuard),
      To<ExpireGivenUp>(assemblies_, &AssemblyTable::Expire),
      To<ApplyPlan>(assemblies_, &AssemblyTable::Apply),
      To<NotePlanFailure>(assemblies_, &AssemblyTable::Note),
      To<NoteLocations>(*this, &Registry::Note),
      To<ExpireDraft>(catalogue_, &Catalogue::Expire),
      To<RemoveMembers>(assemblies_, &AssemblyTable::Remove),
      To<ForgetMember>(assemblies_, &AssemblyTable::Forget),
      To<ForgetPlanDirectory>(assemblies_, &AssemblyTable::Forget),
      To<RememberReady>(assemblies_, &AssemblyTable::Remember),
      To<RememberMember>(assemblies_, &AssemblyTable::Remember),
      IfRoom(room, To<AddJoinToken>(enrolment_, &EnrolmentTable::Add)),
      IfRoom(room, To<EnrolNode>(enrolment_, &EnrolmentTable::Enrol)),
      // Takes the place of a row that is there.
      To<RenewNode>(enrolment_, &EnrolmentTable::Renew),
  };
  return std::visit(
      [&](const auto& what) -> absl::Status {
        if constexpr (std::is_void_v<ReplyOf<std::decay_t<decltype(what)>>>) {
          NoReply none;
          return lines(what, tx, none);
        } else {
          return Answer(lines, what, caller, tx, reply);
        }
      },
      command);
}

Applied Registry::Apply(const Command& command, absl::string_view caller, absl::string_view actor) {
  Transaction tx(revision_, now_us_, wall_us_, CauseOf(command), actor);
  Applied applied;
  applied.status = Dispatch(command, caller, tx, applied.reply);
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
  out.set_applied_revision(live_.leases.AppliedBy(node.uid).value);
  out.set_moves_braked(live_.leases.IsBraked(node.uid));
  return out;
}

v1::Assembly Registry::DescribeAssembly(const Assembly& assembly) const {
  v1::Assembly out = assemblies_.Describe(assembly);
  std::vector<std::string> braked;
  for (v1::AssemblyReason& reason : *out.mutable_reasons()) {
    if (reason.code() != v1::AssemblyReason::NODE_LOST) continue;
    const Assembly::Member& member = *assembly.FindMember(reason.node());
    if (!live_.leases.WillBeBraked(member.node)) continue;
    reason.set_message(
        absl::StrCat(reason.node(), " is lost: its lease ran out; it holds ", member.required(),
                     " shards of this assembly, which stay with it: moves are braked"));
    braked.push_back(reason.node());
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
  // First, as it explains more than any of the nodes does. Of too many, the one before that which counts the rest goes.
  for (int i = out.reasons_size() - 1; i > 0; --i) out.mutable_reasons()->SwapElements(i, i - 1);
  if (out.reasons_size() > kMaxReasons) {
    out.mutable_reasons()->SwapElements(kMaxReasons - 1, kMaxReasons);
    out.mutable_reasons()->RemoveLast();
  }
  return out;
}

absl::Status Registry::RegisterNode(const v1::RegisterNodeRequest& request, Transaction& tx,
                                    v1::RegisterNodeResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckRegistration(request));
  if (const Node* holder = nodes_.HolderAgainst(request)) {
    const LeaseTable::Term term = live_.leases.TermOf(holder->uid);
    return NodeNameTaken(holder->row, term.left, term.renewals);
  }
  MUSTER_ASSIGN_OR_RETURN(const Node* node, nodes_.Register(request, tx));
  if (node == nullptr) {
    *reply.mutable_node() = nodes_.Preview(request);
    return absl::OkStatus();
  }
  assemblies_.NodeRegistered(*node, tx);
  *reply.mutable_node() = nodes_.Describe(*node);
  reply.set_epoch(node->epoch().value);
  reply.set_history_id(options_.history_id);
  *reply.mutable_heartbeat_interval() = ToDuration(node->row.lease_ttl_us() / kHeartbeatsPerTtl);
  return absl::OkStatus();
}

absl::Status Registry::UpdateNode(const v1::UpdateNodeRequest& request, Transaction& tx,
                                  v1::UpdateNodeResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckUpdate(request));
  MUSTER_ASSIGN_OR_RETURN(Node * node, nodes_.Find(request.node().name(), std::nullopt));
  MUSTER_RETURN_IF_ERROR(CheckUidOf(request, node->row.name(), nodes_.UidText(*node)));
  if (request.validate_only()) {
    *reply.mutable_node() = DescribeNode(*node);
    return absl::OkStatus();
  }
  if (nodes_.Update(*node, request, tx)) assemblies_.NodeUpdated(*node, tx);
  *reply.mutable_node() = DescribeNode(*node);
  return absl::OkStatus();
}

absl::Status Registry::DeregisterNode(const v1::DeregisterNodeRequest& request, Transaction& tx) {
  const auto epoch = request.has_epoch() ? std::optional<uint64_t>(request.epoch()) : std::nullopt;
  MUSTER_ASSIGN_OR_RETURN(Node * node, nodes_.Find(request.name(), epoch));
  MUSTER_RETURN_IF_ERROR(CheckUidOf(request, node->row.name(), nodes_.UidText(*node)));
  if (request.validate_only()) return absl::OkStatus();
  assemblies_.NodeRemoved(*node, tx);
  nodes_.Erase(*node, tx);
  return absl::OkStatus();
}

absl::Status Registry::DrainNode(const v1::DrainNodeRequest& request, Transaction& tx,
                                 v1::DrainNodeResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckDrain(request));
  const auto epoch = request.has_epoch() ? std::optional<uint64_t>(request.epoch()) : std::nullopt;
  MUSTER_ASSIGN_OR_RETURN(Node * node, nodes_.Find(request.name(), epoch));
  MUSTER_RETURN_IF_ERROR(CheckUidOf(request, node->row.name(), nodes_.UidText(*node)));
  if (request.validate_only()) {
    *reply.mutable_node() = DescribeNode(*node);
    return absl::OkStatus();
  }
  if (nodes_.Drain(*node, request, tx)) assemblies_.NodeDrained(*node, tx);
  *reply.mutable_node() = DescribeNode(*node);
  return absl::OkStatus();
}

absl::Status Registry::ResumeMoves(const v1::ResumeMovesRequest& request, Transaction& tx,
                                   v1::ResumeMovesResponse& reply) {
  MUSTER_RETURN_IF_ERROR(CheckText("zone", request.zone(), kMaxShortTextBytes));
  const auto zone = request.has_zone() ? std::optional<std::string>(request.zone()) : std::nullopt;
  // A reply may become a row.
  size_t name_bytes = 0;
  for (const LeaseTable::Lease& lease : live_.leases.Braked(zone)) {
    const Node* node = nodes_.FindByUid(lease.node);
    if (node == nullptr) continue;
    name_bytes += node->row.name().size();
    if (reply.nodes_size() < kMaxItemsPerCall && name_bytes <= kMaxReplyNamesBytes) {
      reply.add_nodes(node->row.name());
    }
    if (!request.validate_only()) tx.Then(ReleaseNode{lease.node, lease.epoch});
  }
  return absl::OkStatus();
}

void Registry::TakeTime(const Tick& command, Transaction& tx) {
  // The time of day says only where the server's time begins, in an empty store. From there on the
  // monotonic clock moves it; while no server runs it stands still.
  if (now_us_ == 0) {
    now_us_ = std::max<int64_t>(command.wall_us, 1);
  } else if (last_tick_us_.has_value()) {
    now_us_ += std::max<int64_t>(command.monotonic_us - *last_tick_us_, 0);
  }
  last_tick_us_ = command.monotonic_us;
  wall_us_ = command.wall_us;
  free_bytes_ = command.free_bytes;
  Transaction at_now(tx.revision(), now_us_, wall_us_, tx.cause());
  requests_.Tick(at_now);
  catalogue_.Tick(at_now);
  event_log_.Tick(at_now);
  nodes_.Tick(at_now);
  assemblies_.Tick(at_now);
  enrolment_.Tick(at_now);
  tx = std::move(at_now);
}

void Registry::LoseNode(const ExpireLease& command, Transaction& tx) {
  if (!live_.leases.HasExpired(command.node, command.epoch)) return;
  if (nodes_.SetLost(command.node, command.epoch, true, tx)) {
    assemblies_.NodeLostOrRevived(*nodes_.FindByUid(command.node), tx);
  }
}

void Registry::ReleaseShards(const ReleaseNode& command, Transaction& tx) {
  if (!live_.leases.HasExpired(command.node, command.epoch)) return;
  if (nodes_.Release(command.node, command.epoch, tx)) {
    assemblies_.NodeReleased(*nodes_.FindByUid(command.node), tx);
  }
}

void Registry::Forget(const ForgetNode& command, Transaction& tx) {
  Node* node = nodes_.FindReleased(command.node, command.epoch);
  if (node == nullptr) return;
  assemblies_.NodeRemoved(*node, tx);
  nodes_.Erase(*node, tx);
}

void Registry::TakeNodeBack(const ReviveNode& command, Transaction& tx) {
  if (nodes_.SetLost(command.node, command.epoch, false, tx)) {
    assemblies_.NodeLostOrRevived(*nodes_.FindByUid(command.node), tx);
  }
}

void Registry::EndGuard(const ResumePlans&, Transaction& tx) {
  live_.leases.NoteGuardEnd();
  assemblies_.WantPlans(tx);
}

absl::Status Registry::Note(const NoteLocations& command, Transaction& tx) {
  const Node* node = nodes_.FindByUid(command.node);
  return node == nullptr ? absl::OkStatus() : catalogue_.Note(command, node->row.name(), tx);
}

}  // namespace muster
