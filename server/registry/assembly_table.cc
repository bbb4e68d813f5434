#include "server/registry/assembly_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/placement/shortage.h"
#include "server/registry/index_runs.h"
#include "server/registry/limits.h"
#include "server/registry/report_events.h"
#include "server/registry/row_keys.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/placement_policy.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using Outcome = Assembly::ReportResult::Outcome;

// Their assignments, as events, stay below what a transaction holds in all but the worst of orders.
constexpr size_t kMembersPerRemoval = 40;

// Shards in order and once each, so that equal claims are equal messages.
v1::Claim Normalised(v1::Claim claim) {
  auto& shards = *claim.mutable_shards();
  std::sort(shards.begin(), shards.end());
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
  auto& ranks = *claim.mutable_ranks();
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return claim;
}

bool SameClaim(const v1::Claim& a, const v1::Claim& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

v1::Event EventOf(const Assembly& assembly, v1::Event::Kind kind) {
  v1::Event event;
  event.set_kind(kind);
  event.set_assembly(assembly.name());
  event.set_model_version(assembly.version().row.name());
  return event;
}

v1::Event MemberEventOf(const Assembly& assembly, const std::string& node, v1::Event::Kind kind) {
  v1::Event event = EventOf(assembly, kind);
  event.set_node(node);
  return event;
}

// Why the assembly is not READY, in one sentence or a few.
std::string ReasonsOf(const v1::Assembly& shown) {
  std::string out;
  for (const v1::AssemblyReason& reason : shown.reasons()) {
    if (out.size() + reason.message().size() > kMaxEventMessageBytes) break;
    absl::StrAppend(&out, out.empty() ? "" : "; ", reason.message());
  }
  return out;
}

// What UpdateAssembly changes.
std::string SettingsText(const store::AssemblyRow& row) {
  return absl::StrCat("min_nodes ", row.min_nodes(), ", replicas ", row.replicas(),
                      ", move budget ",
                      row.has_move_budget_bytes() ? absl::StrCat(row.move_budget_bytes(), " bytes")
                                                  : "a tenth of the model");
}

// For a policy that goes by ranks.
absl::Status CheckRanks(const Version& version) {
  std::vector<uint32_t> missing;
  for (uint32_t shard = 0; shard < version.shards.size(); ++shard) {
    if (!version.shards[shard].rank.has_value()) missing.push_back(shard);
  }
  if (missing.empty()) return absl::OkStatus();
  const std::string list = RunsToText(missing, 1'000);
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kShardsWithoutRank,
                   absl::StrCat(missing.size(), " of ", version.shards.size(), " shards of ",
                                version.row.name(), " have no rank (", RunsToText(missing, 200),
                                "): use another policy, or publish with ranks"),
                   {{"model_version", version.row.name()}, {"shards", list}});
}

// What it is to have is more than the node can ever hold.
absl::Status NodeTooSmall(const Node& node, const std::string& assembly, uint64_t needed_bytes) {
  const uint64_t capacity_bytes = node.row.capacity_bytes();
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kNodeTooSmall,
                   absl::StrCat(node.row.name(), " can't join ", assembly, ": it ",
                                FormatTooSmall(needed_bytes, capacity_bytes),
                                "; give it more capacity, or claim less"),
                   {{"node", node.row.name()},
                    {"assembly", assembly},
                    {"needed_bytes", absl::StrCat(needed_bytes)},
                    {"capacity_bytes", absl::StrCat(capacity_bytes)}});
}

// One call counts as a whole: with READY reports last, a member is seen to hold what is its on the way only where it does in
// the end, and so it is not taken for established by a call that takes something back.
std::vector<const v1::ShardReport*> WhatIsTakenBackFirst(const v1::ReportShardsRequest& request) {
  std::vector<const v1::ShardReport*> reports;
  for (const v1::ShardReport& report : request.reports()) reports.push_back(&report);
  std::stable_partition(reports.begin(), reports.end(), [](const v1::ShardReport* report) {
    return report->state() != v1::ShardReport::READY;
  });
  return reports;
}

absl::Status ReportSuperseded(const v1::ReportShardsRequest& request) {
  return MakeError(absl::StatusCode::kAborted, reasons::kReportSuperseded,
                   absl::StrCat("report ", request.sequence(), " of ", request.node(), " on ",
                                request.assembly(), " arrived after a later one"),
                   {{"node", request.node()},
                    {"assembly", request.assembly()},
                    {"sequence", absl::StrCat(request.sequence())}});
}

}  // namespace

absl::StatusOr<const Assembly*> AssemblyTable::Find(absl::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  if (found == by_name_.end()) {
    // A name that was found is well-formed.
    MUSTER_RETURN_IF_ERROR(ParseAssemblyName(name).status());
    return MakeError(absl::StatusCode::kNotFound, reasons::kAssemblyUnknown,
                     absl::StrCat("there is no ", name), {{"assembly", std::string(name)}});
  }
  return found->second.get();
}

absl::StatusOr<Assembly*> AssemblyTable::FindMutable(absl::string_view name) {
  MUSTER_ASSIGN_OR_RETURN(const Assembly* assembly, Find(name));
  return const_cast<Assembly*>(assembly);
}

bool AssemblyTable::HasMember(const std::string& assembly, const std::string& node) const {
  const auto found = by_name_.find(assembly);
  return found != by_name_.end() && found->second->FindMember(node) != nullptr;
}

Assembly* AssemblyTable::FindByUid(AssemblyUid uid) const {
  const auto found = by_uid_.find(uid);
  return found == by_uid_.end() ? nullptr : found->second;
}

std::string AssemblyTable::UidText(const Assembly& assembly) const {
  return absl::StrCat(uid_prefix_, "-", assembly.row().uid());
}

v1::Assembly AssemblyTable::Describe(const Assembly& assembly) const {
  v1::Assembly out = assembly.Describe();
  if (assembly.row().uid() != 0) {
    out.set_uid(UidText(assembly));
  }
  out.set_revision(assembly.shown_revision.value);
  return out;
}

void AssemblyTable::Announce(Assembly& assembly, const std::vector<std::string>& members,
                             bool plan_wanted, Transaction& tx) {
  assembly.shown_revision = tx.MarkChanged();
  if (!assembly.row().was_ready() && assembly.state() == v1::Assembly::READY) {
    // Kept in a row, so that DEGRADED and LOADING can be distinguished after a restart.
    assembly.NoteReady();
    // Events need rows, too.
    if (tx.row_count() + 8 < kMaxRowsPerCommand) {
      tx.Put(AssemblyKey(assembly.uid()), assembly.row());
    } else {
      tx.Then(RememberReady{assembly.uid()});
    }
  }
  ThenRememberMembers(assembly, tx);
  AssemblyChange change;
  change.uid = assembly.uid();
  v1::WatchAssemblyResponse message;
  v1::Assembly& shown = *message.mutable_assembly();
  shown = Describe(assembly);
  message.set_revision(tx.revision().value);
  change.state = shown.state();
  change.message = std::make_shared<const std::string>(message.SerializeAsString());
  for (const std::string& node : members) {
    const Assembly::Member* member = assembly.FindMember(node);
    if (member != nullptr) {
      change.members.push_back(assembly.DescribeProgress(node, *member));
    } else {
      change.left.push_back(node);
    }
  }
  tx.Emit(std::move(change));
  TellState(assembly, shown, tx);
  if (plan_wanted && assembly.WantsPlan()) tx.WantPlan(assembly.uid());
}

void AssemblyTable::ThenRememberMembers(Assembly& assembly, Transaction& tx) {
  for (const std::string& node : assembly.TakeUnstored()) {
    tx.Then(RememberMember{assembly.uid(), assembly.FindMember(node)->node});
  }
}

void AssemblyTable::TellState(Assembly& assembly, const v1::Assembly& shown, Transaction& tx) {
  const v1::Assembly::State old_state = std::exchange(assembly.told_state, shown.state());
  if (old_state == shown.state()) return;
  const bool created = old_state == v1::Assembly::STATE_UNSPECIFIED;
  v1::Event event =
      EventOf(assembly, created ? v1::Event::ASSEMBLY_CREATED : v1::Event::ASSEMBLY_STATE);
  if (!created) event.set_old_state(v1::Assembly::State_Name(old_state));
  event.set_new_state(v1::Assembly::State_Name(shown.state()));
  event.set_message(ReasonsOf(shown));
  tx.Tell(std::move(event));
}

absl::Status AssemblyTable::Create(const v1::CreateAssemblyRequest& request, Transaction& tx,
                                   v1::CreateAssemblyResponse& response) {
  const v1::Assembly& wanted = request.assembly();
  MUSTER_RETURN_IF_ERROR(CheckAssembly(wanted));
  const auto present = by_name_.find(wanted.name());
  if (present != by_name_.end()) {
    const v1::Assembly there = Describe(*present->second);
    return MakeError(
        absl::StatusCode::kAlreadyExists, reasons::kAssemblyExists,
        absl::StrCat(wanted.name(), " already exists, with model version ", there.model_version(),
                     " and policy ", v1::Assembly::Policy_Name(there.policy())),
        {{"assembly", wanted.name()},
         {"model_version", there.model_version()},
         {"policy", v1::Assembly::Policy_Name(there.policy())},
         {"min_nodes", absl::StrCat(there.min_nodes())},
         {"replicas", absl::StrCat(there.replicas())},
         {"node_selector", SelectorText(there.node_selector())},
         {"move_budget_bytes",
          there.has_move_budget_bytes() ? absl::StrCat(there.move_budget_bytes()) : ""}});
  }
  MUSTER_ASSIGN_OR_RETURN(const Version* version, catalogue_.Find(wanted.model_version()));
  if (version->draft != nullptr) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kVersionNotCommitted,
                     absl::StrCat(version->row.name(), " is a DRAFT: commit it first"),
                     {{"name", version->row.name()}});
  }
  if (TraitsOf(PolicyOf(wanted.policy())).needs_rank) MUSTER_RETURN_IF_ERROR(CheckRanks(*version));
  if (shards_ + version->shards.size() > kMaxAssemblyShards) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
        absl::StrCat("all assemblies together would have ", shards_ + version->shards.size(),
                     " shards, and may have ", kMaxAssemblyShards, ": delete some first"),
        {{"field", "shards"}, {"limit", absl::StrCat(kMaxAssemblyShards)}});
  }
  store::AssemblyRow row;
  row.set_name(wanted.name());
  row.set_version_uid(version->uid.value);
  row.set_policy(wanted.policy());
  row.set_min_nodes(std::max(1u, wanted.min_nodes()));
  row.set_replicas(std::max(1u, wanted.replicas()));
  row.set_create_time_us(tx.wall_us());
  *row.mutable_node_selector() = wanted.node_selector();
  if (wanted.has_move_budget_bytes()) row.set_move_budget_bytes(wanted.move_budget_bytes());
  if (request.validate_only()) {
    *response.mutable_assembly() = Describe(Assembly(row, *version, move_grace_));
    return absl::OkStatus();
  }
  row.set_revision(tx.MarkChanged().value);
  row.set_uid(row.revision());
  tx.Put(AssemblyKey(AssemblyUid(row.uid())), row);
  auto assembly = std::make_unique<Assembly>(std::move(row), *version, move_grace_);
  Version& used = *catalogue_.FindByUid(version->uid);
  used.assemblies.insert(assembly->name());
  used.IndexContent();
  shards_ += version->shards.size();
  by_uid_[assembly->uid()] = assembly.get();
  Announce(*assembly, {}, false, tx);
  *response.mutable_assembly() = Describe(*assembly);
  by_name_[wanted.name()] = std::move(assembly);
  return absl::OkStatus();
}

absl::Status AssemblyTable::Update(const v1::UpdateAssemblyRequest& request, Transaction& tx,
                                   v1::UpdateAssemblyResponse& response) {
  MUSTER_RETURN_IF_ERROR(CheckUpdate(request));
  const v1::Assembly& wanted = request.assembly();
  MUSTER_ASSIGN_OR_RETURN(Assembly * assembly, FindMutable(wanted.name()));
  MUSTER_RETURN_IF_ERROR(CheckUidOf(request, assembly->name(), UidText(*assembly)));
  store::AssemblyRow row = assembly->row();
  if (Names(request.update_mask(), "min_nodes")) {
    row.set_min_nodes(std::max(1u, wanted.min_nodes()));
  }
  if (Names(request.update_mask(), "replicas")) row.set_replicas(std::max(1u, wanted.replicas()));
  if (Names(request.update_mask(), "move_budget_bytes")) {
    row.clear_move_budget_bytes();
    if (wanted.has_move_budget_bytes()) row.set_move_budget_bytes(wanted.move_budget_bytes());
  }
  const std::string before = SettingsText(assembly->row());
  const std::string after = SettingsText(row);
  if (before != after && !request.validate_only()) {
    row.set_revision(tx.MarkChanged().value);
    tx.Put(AssemblyKey(assembly->uid()), row);
    assembly->SetSettings(std::move(row));
    // A plan that is on its way was made for other settings.
    assembly->RefuseOlderPlans();
    arriving_.erase(assembly->uid());
    v1::Event event = EventOf(*assembly, v1::Event::ASSEMBLY_UPDATED);
    event.set_message(absl::StrCat(before, " to ", after));
    tx.Tell(std::move(event));
    Announce(*assembly, {}, true, tx);
  }
  *response.mutable_assembly() = Describe(*assembly);
  return absl::OkStatus();
}

absl::Status AssemblyTable::Join(const v1::JoinAssemblyRequest& request, Transaction& tx,
                                 v1::JoinAssemblyResponse& response) {
  if (!request.has_epoch()) return InvalidField("epoch", "", "required");
  MUSTER_ASSIGN_OR_RETURN(Assembly * assembly, FindMutable(request.name()));
  MUSTER_ASSIGN_OR_RETURN(Node * node, nodes_.Find(request.node(), request.epoch()));
  const auto shard_count = static_cast<uint32_t>(assembly->version().shards.size());
  MUSTER_RETURN_IF_ERROR(CheckClaim(request.claim(), shard_count));
  v1::Claim claim = Normalised(request.claim());
  if (const Assembly::Member* present = assembly->FindMember(request.node()); present != nullptr) {
    if (!SameClaim(present->claim, claim)) {
      return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kClaimDiffers,
                       absl::StrCat(request.node(), " is in ", request.name(),
                                    " with another claim: leave the assembly first"),
                       {{"node", request.node()}, {"assembly", request.name()}});
    }
  } else if (const absl::Status room = assembly->CheckRoomFor(claim); !room.ok()) {
    return room;
  } else if (const uint64_t needed = assembly->ClaimedBytes(claim);
             node->row.capacity_bytes() != 0 && needed > node->row.capacity_bytes()) {
    return NodeTooSmall(*node, assembly->name(), needed);
  } else if (!request.validate_only()) {
    tx.MarkChanged();
    store::MemberRow row;
    *row.mutable_claim() = claim;
    tx.Put(MemberKey(assembly->uid(), node->uid), row);
    Assembly::Member member;
    member.node = node->uid;
    member.claim = std::move(claim);
    SetStanding(*assembly, *node, member);
    assembly->AddMember(request.node(), std::move(member));
    node->memberships.insert(assembly->uid());
    tx.Tell(MemberEventOf(*assembly, request.node(), v1::Event::MEMBER_JOINED));
    Announce(*assembly, {request.node()}, true, tx);
  }
  *response.mutable_assembly() = Describe(*assembly);
  return absl::OkStatus();
}

void AssemblyTable::SetStanding(const Assembly& assembly, const Node& node,
                                Assembly::Member& member) {
  member.live = node.live();
  member.draining = node.draining();
  member.selected = assembly.Selects(node.row.labels());
  member.epoch = node.epoch();
  member.cached = assembly.version().CachedShards(node.inventory);
}

// All that depends on a member's assignments, besides the assembly's own counters: the node's sums,
// the room that its other assemblies count on, and its drain.
AssignmentChange AssemblyTable::SetAssignments(Assembly& assembly, const std::string& node,
                                               std::vector<Assignment> assignments,
                                               Replacements replaces, Transaction& tx) {
  const Assembly::Member& member = *assembly.FindMember(node);
  const uint64_t bytes_before = member.assigned_bytes;
  const size_t shards_before = member.assignments.size();
  AssignmentChange change =
      assembly.SetAssignments(node, std::move(assignments), std::move(replaces));
  if (Node* entry = nodes_.FindByUid(member.node); entry != nullptr) {
    entry->assigned_bytes += member.assigned_bytes - bytes_before;
    entry->assigned_shards += member.assignments.size() - shards_before;
    if (member.assigned_bytes != bytes_before) NoteRoom(*entry, assembly.uid(), tx);
    if (entry->row.drain_state() != entry->DrainState(tx.now_us())) {
      tx.Then(NoteDrain{entry->uid});
    }
  }
  return change;
}

void AssemblyTable::EmitChange(AssignmentChange change, Transaction& tx) {
  if (!change.assigned.empty() || !change.unassigned.empty()) tx.Emit(std::move(change));
}

// A plan of another assembly that is being made counted on the old room: it is late from now on.
// Only one that lacks something asks for a new plan.
void AssemblyTable::NoteRoom(const Node& node, AssemblyUid changed, Transaction& tx) const {
  if (node.row.capacity_bytes() == 0) return;
  for (const AssemblyUid uid : node.memberships) {
    if (uid == changed) continue;
    Assembly& other = *FindByUid(uid);
    other.TouchInputs();
    const bool short_of_room = other.FindMember(node.row.name())->shortage.has_value();
    if (short_of_room || !other.row().plan_reasons().empty() || !other.blocked.empty()) {
      tx.WantPlan(uid);
    }
  }
}

void AssemblyTable::RemoveMember(Assembly& assembly, const std::string& node, Transaction& tx) {
  const NodeUid uid = assembly.FindMember(node)->node;
  tx.Tell(MemberEventOf(assembly, node, v1::Event::MEMBER_LEFT));
  EmitChange(SetAssignments(assembly, node, {}, {}, tx), tx);
  assembly.RemoveMember(node);
  if (Node* entry = nodes_.FindByUid(uid); entry != nullptr) {
    entry->memberships.erase(assembly.uid());
  }
}

void AssemblyTable::DeleteMemberRows(const Assembly& assembly, NodeUid node,
                                     Transaction& tx) const {
  tx.Delete(MemberKey(assembly.uid(), node));
  tx.Delete(ReadinessKey(assembly.uid(), node));
  tx.Delete(AssignmentKey(assembly.uid(), Generation(assembly.row().plan_directory()), node));
}

absl::Status AssemblyTable::Leave(const v1::LeaveAssemblyRequest& request, Transaction& tx) {
  MUSTER_ASSIGN_OR_RETURN(Assembly * assembly, FindMutable(request.name()));
  MUSTER_RETURN_IF_ERROR(CheckUidOf(request, assembly->name(), UidText(*assembly)));
  MUSTER_RETURN_IF_ERROR(ParseNodeName(request.node()).status());
  const Assembly::Member* member = assembly->FindMember(request.node());
  if (member == nullptr) return absl::OkStatus();
  if (request.has_epoch()) {
    MUSTER_RETURN_IF_ERROR(nodes_.Find(request.node(), request.epoch()).status());
  }
  if (request.validate_only()) return absl::OkStatus();
  tx.MarkChanged();
  DeleteMemberRows(*assembly, member->node, tx);
  RemoveMember(*assembly, request.node(), tx);
  Announce(*assembly, {request.node()}, true, tx);
  return absl::OkStatus();
}

// The assembly and all rows go in one transaction. What its members held goes in those that follow,
// some members each, with nothing but readers in between.
absl::Status AssemblyTable::Delete(const v1::DeleteAssemblyRequest& request, Transaction& tx) {
  MUSTER_ASSIGN_OR_RETURN(Assembly * assembly, FindMutable(request.name()));
  MUSTER_RETURN_IF_ERROR(CheckUidOf(request, assembly->name(), UidText(*assembly)));
  if (request.validate_only()) return absl::OkStatus();
  tx.MarkChanged();
  const AssemblyUid uid = assembly->uid();
  tx.Delete(AssemblyKey(uid));
  tx.DeletePrefix(AssemblyRowsPrefix(uid));
  AssemblyChange gone;
  gone.uid = uid;
  tx.Emit(std::move(gone));
  v1::Event event = EventOf(*assembly, v1::Event::ASSEMBLY_DELETED);
  event.set_old_state(v1::Assembly::State_Name(assembly->told_state));
  event.set_new_state("GONE");
  tx.Tell(std::move(event));
  catalogue_.FindByUid(assembly->version().uid)->assemblies.erase(request.name());
  shards_ -= assembly->version().shards.size();
  arriving_.erase(uid);
  for (size_t i = 0; i < assembly->members().size(); i += kMembersPerRemoval) {
    tx.Then(RemoveMembers{uid});
  }
  const auto entry = by_name_.find(request.name());
  if (assembly->members().empty()) {
    by_uid_.erase(uid);
  } else {
    departing_[uid] = std::move(entry->second);
  }
  by_name_.erase(entry);
  return absl::OkStatus();
}

void AssemblyTable::Remove(const RemoveMembers& command, Transaction& tx) {
  const auto entry = departing_.find(command.assembly);
  if (entry == departing_.end()) return;
  Assembly& assembly = *entry->second;
  for (size_t i = 0; i < kMembersPerRemoval && !assembly.members().empty(); ++i) {
    const std::string node = assembly.members().begin()->first;
    RemoveMember(assembly, node, tx);
  }
  if (!assembly.members().empty()) return;
  by_uid_.erase(command.assembly);
  departing_.erase(entry);
}

// One call may have reports that count and others that don't: those of assignments that are gone
// are listed in the response, and fail the call only if all are. Nothing is stored unless one has
// changed something, so a repeat costs no transaction.
absl::Status AssemblyTable::Report(const v1::ReportShardsRequest& request, Transaction& tx,
                                   v1::ReportShardsResponse& response) {
  MUSTER_RETURN_IF_ERROR(CheckReports(request));
  MUSTER_ASSIGN_OR_RETURN(Assembly * assembly, FindMutable(request.assembly()));
  MUSTER_ASSIGN_OR_RETURN(const Node* node, nodes_.Find(request.node(), request.epoch()));
  const bool member = assembly->FindMember(request.node()) != nullptr;
  if (member && !assembly->TakeReportSequence(request.node(), request.sequence())) {
    return ReportSuperseded(request);
  }
  ReportEvents events(*assembly, request.node());
  std::vector<NoteLocations::Finding> findings;
  bool plan_wanted = false;
  for (const v1::ShardReport* next : WhatIsTakenBackFirst(request)) {
    const v1::ShardReport& report = *next;
    Assembly::ReportResult result;
    if (member) result = assembly->Report(request.node(), report, tx.now_us());
    if (result.outcome == Outcome::kGone) response.add_rejected(report.shard());
    if (result.outcome == Outcome::kChanged) {
      events.Add(report, result.before);
      catalogue_.CollectFindings(assembly->version(), node->uid, report, tx.now_us(), findings);
    }
    plan_wanted = plan_wanted || result.wants_plan;
    if (result.given_up) NoteGivenUp(*assembly, request.node(), report.shard(), tx);
  }
  if (response.rejected_size() == request.reports_size()) {
    std::vector<uint32_t> shards(response.rejected().begin(), response.rejected().end());
    std::sort(shards.begin(), shards.end());
    const std::string list = RunsToText(shards, 1'000);
    return MakeError(
        absl::StatusCode::kAborted, reasons::kAssignmentGone,
        absl::StrCat(request.node(), " does not hold shard ", list, " of ", request.assembly(),
                     " under the generation that it reports"),
        {{"node", request.node()}, {"assembly", request.assembly()}, {"shards", list}});
  }
  if (events.empty()) return absl::OkStatus();
  const Assembly::Member& reporter = *assembly->FindMember(request.node());
  events.Tell(tx);
  tx.Put(ReadinessKey(assembly->uid(), reporter.node), assembly->ReadinessRowOf(reporter));
  assembly->NoteStored(request.node());
  Announce(*assembly, {request.node()}, plan_wanted, tx);
  LocationHealth::ThenNote(assembly->version().uid, node->uid, findings, tx);
  return absl::OkStatus();
}

void AssemblyTable::NoteGivenUp(const Assembly& assembly, const std::string& node, uint32_t shard,
                                Transaction& tx) {
  const Assembly::Member& member = *assembly.FindMember(node);
  const auto& given_up = member.given_up.at(shard);
  given_up_.emplace(given_up.expire_time_us(), std::pair(assembly.uid(), member.node));
  v1::Event event = MemberEventOf(assembly, node, v1::Event::SHARD_GIVEN_UP);
  event.add_shards(shard);
  event.set_shard_count(1);
  event.set_message(absl::StrCat("failed ", given_up.failure().attempts(),
                                 " times: ", v1::ShardFailure::Code_Name(given_up.failure().code()),
                                 " ", given_up.failure().message()));
  tx.Tell(std::move(event));
}

void AssemblyTable::NodeRegistered(const Node& node, Transaction& tx) {
  const std::string& name = node.row.name();
  for (const AssemblyUid uid : node.memberships) {
    Assembly& assembly = *FindByUid(uid);
    // First, as what was said under the old epoch makes nobody established.
    assembly.ResetReports(name, node.epoch());
    assembly.SetLive(name, true);
    assembly.SetLeaving(name, node.draining(), assembly.Selects(node.row.labels()));
    // Capacity and zone may differ, too.
    assembly.SetCached(name, assembly.version().CachedShards(node.inventory));
    Announce(assembly, {name}, true, tx);
  }
}

void AssemblyTable::NodeUpdated(const Node& node, Transaction& tx) {
  const std::string& name = node.row.name();
  for (const AssemblyUid uid : node.memberships) {
    Assembly& assembly = *FindByUid(uid);
    assembly.SetLeaving(name, node.draining(), assembly.Selects(node.row.labels()));
    // Its capacity may differ.
    assembly.TouchInputs();
    Announce(assembly, {name}, true, tx);
  }
}

void AssemblyTable::NodeLostOrRevived(const Node& node, Transaction& tx) {
  const std::string& name = node.row.name();
  for (const AssemblyUid uid : node.memberships) {
    Assembly& assembly = *FindByUid(uid);
    assembly.SetLive(name, node.live());
    Announce(assembly, {name}, true, tx);
  }
}

void AssemblyTable::NodeReleased(const Node& node, Transaction& tx) {
  for (const AssemblyUid uid : node.memberships) {
    Assembly& assembly = *FindByUid(uid);
    if (assembly.FindMember(node.row.name())->assignments.empty()) continue;
    assembly.TouchInputs();
    if (assembly.WantsPlan()) tx.WantPlan(uid);
  }
}

void AssemblyTable::NodeDrained(const Node& node, Transaction& tx) {
  const std::string& name = node.row.name();
  for (const AssemblyUid uid : node.memberships) {
    Assembly& assembly = *FindByUid(uid);
    const bool draining = assembly.FindMember(name)->draining;
    // Another deadline is nothing to an assembly.
    if (draining == node.draining()) continue;
    assembly.SetLeaving(name, node.draining(), assembly.FindMember(name)->selected);
    Announce(assembly, {name}, true, tx);
  }
}

void AssemblyTable::AddBlockers(const Node& node, v1::Drain& drain) const {
  for (const AssemblyUid uid : node.memberships) {
    for (const PlannedAssembly::Blocked& blocked : FindByUid(uid)->blocked) {
      if (blocked.node != node.uid || drain.blockers_size() == kMaxDrainBlockers) continue;
      *drain.add_blockers() = blocked.blocker;
    }
  }
}

void AssemblyTable::Tick(Transaction& tx) {
  while (!given_up_.empty() && given_up_.begin()->first <= tx.now_us()) {
    const auto [assembly, node] = given_up_.begin()->second;
    tx.Then(ExpireGivenUp{assembly, node});
    given_up_.erase(given_up_.begin());
  }
}

void AssemblyTable::Expire(const ExpireGivenUp& command, Transaction& tx) {
  std::string name;
  Assembly* assembly = FindMemberOf(command.assembly, command.node, &name);
  if (assembly == nullptr || !assembly->ExpireGivenUp(name, tx.now_us())) return;
  tx.MarkChanged();
  tx.Put(ReadinessKey(command.assembly, command.node),
         assembly->ReadinessRowOf(*assembly->FindMember(name)));
  Announce(*assembly, {name}, true, tx);
}

void AssemblyTable::WantPlans(Transaction& tx) const {
  for (const auto& [name, assembly] : by_name_) {
    // What was planned under the guard is planned again without it.
    assembly->TouchInputs();
    if (assembly->WantsPlan()) tx.WantPlan(assembly->uid());
  }
}

void AssemblyTable::NodeRemoved(Node& node, Transaction& tx) {
  const std::set<AssemblyUid> memberships = node.memberships;
  for (const AssemblyUid uid : memberships) {
    Assembly& assembly = *FindByUid(uid);
    RemoveMember(assembly, node.row.name(), tx);
    tx.Then(ForgetMember{uid, node.uid});
    Announce(assembly, {node.row.name()}, true, tx);
  }
}

void AssemblyTable::Forget(const ForgetMember& command, Transaction& tx) const {
  const Assembly* assembly = FindByUid(command.assembly);
  if (assembly == nullptr || nodes_.FindByUid(command.node) != nullptr) return;
  DeleteMemberRows(*assembly, command.node, tx);
}

void AssemblyTable::Forget(const ForgetPlanDirectory& command, Transaction& tx) const {
  const Assembly* assembly = FindByUid(command.assembly);
  if (assembly != nullptr && assembly->row().plan_directory() != command.directory.value) {
    tx.DeletePrefix(PlanDirectoryPrefix(command.assembly, command.directory));
  }
}

void AssemblyTable::Remember(const RememberReady& command, Transaction& tx) {
  if (const Assembly* assembly = FindByUid(command.assembly); assembly != nullptr) {
    tx.Put(AssemblyKey(command.assembly), assembly->row());
  }
}

void AssemblyTable::Remember(const RememberMember& command, Transaction& tx) {
  std::string name;
  Assembly* assembly = FindMemberOf(command.assembly, command.node, &name);
  if (assembly == nullptr) return;
  tx.Put(ReadinessKey(command.assembly, command.node),
         assembly->ReadinessRowOf(*assembly->FindMember(name)));
  assembly->NoteStored(name);
}

}  // namespace muster
