#include "server/registry/assembly_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/registry/index_runs.h"
#include "server/registry/limits.h"
#include "server/registry/report_events.h"
#include "server/registry/row_keys.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

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

std::vector<Assignment> WithGeneration(std::vector<Assignment> assignments, Generation generation) {
  for (Assignment& assignment : assignments) {
    if (assignment.generation.value == 0) assignment.generation = generation;
  }
  return assignments;
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

// `events` holds what the plan changes for each node.
v1::Event PlanEventOf(const Assembly& assembly, Generation old_generation,
                      const std::vector<Event>& events) {
  size_t given = 0, taken = 0, nodes = 0;
  uint64_t bytes = 0;
  for (const Event& changed : events) {
    const auto* change = std::get_if<AssignmentEvent>(&changed.what);
    if (change == nullptr) continue;
    ++nodes;
    given += change->assigned.size();
    taken += change->unassigned.size();
    for (const Assignment& assignment : change->assigned) {
      bytes += assembly.version().shards[assignment.shard].size_bytes;
    }
  }
  v1::Event event = EventOf(assembly, v1::Event::PLAN_APPLIED);
  event.set_old_state(absl::StrCat(old_generation.value));
  event.set_new_state(absl::StrCat(assembly.row().generation()));
  event.set_shard_count(static_cast<uint32_t>(given));
  event.set_message(absl::StrCat(given, " assignments given (", bytes, " bytes) and ", taken,
                                 " taken away, on ", nodes, " nodes"));
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

absl::Status PlanOutdated(absl::string_view assembly) {
  return MakeError(absl::StatusCode::kAborted, "PLAN_OUTDATED",
                   absl::StrCat("the plan of ", assembly, " was made from a state that is past"));
}

}  // namespace

absl::StatusOr<const Assembly*> AssemblyTable::Find(absl::string_view name) const {
  MUSTER_RETURN_IF_ERROR(ParseAssemblyName(name).status());
  const auto found = by_name_.find(std::string(name));
  if (found == by_name_.end()) {
    return MakeError(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN",
                     absl::StrCat("there is no ", name, ": create it first"),
                     {{"assembly", std::string(name)}});
  }
  return found->second.get();
}

absl::StatusOr<Assembly*> AssemblyTable::FindMutable(absl::string_view name) {
  MUSTER_ASSIGN_OR_RETURN(const Assembly* assembly, Find(name));
  return const_cast<Assembly*>(assembly);
}

Assembly* AssemblyTable::FindByUid(AssemblyUid uid) const {
  const auto found = by_uid_.find(uid);
  return found == by_uid_.end() ? nullptr : found->second;
}

v1::Assembly AssemblyTable::Describe(const Assembly& assembly) const {
  v1::Assembly out = assembly.Describe();
  if (assembly.row().uid() != 0) {
    out.set_uid(absl::StrCat(uid_prefix_, "-", assembly.row().uid()));
  }
  out.set_revision(assembly.shown_revision.value);
  return out;
}

void AssemblyTable::Announce(Assembly& assembly, const std::vector<std::string>& members,
                             bool inputs_changed, Transaction& tx) {
  assembly.shown_revision = tx.Change();
  if (!assembly.row().was_ready() && assembly.state() == v1::Assembly::READY) {
    // Kept in a row, so that a restart tells DEGRADED from LOADING.
    assembly.mutable_row().set_was_ready(true);
    // Events need rows, too.
    if (tx.row_count() + 8 < kMaxRowsPerCommand) {
      tx.Put(AssemblyKey(assembly.uid()), assembly.row());
    } else {
      tx.Follow(RememberReady{assembly.uid()});
    }
  }
  AssemblyEvent event;
  event.uid = assembly.uid();
  v1::WatchAssemblyResponse message;
  v1::Assembly& shown = *message.mutable_assembly();
  shown = Describe(assembly);
  message.set_revision(tx.revision().value);
  event.state = shown.state();
  event.message = std::make_shared<const std::string>(message.SerializeAsString());
  for (const std::string& node : members) {
    const Assembly::Member* member = assembly.FindMember(node);
    if (member != nullptr) {
      event.members.push_back(assembly.DescribeMember(node, *member));
    } else {
      event.left.push_back(node);
    }
  }
  tx.Emit(std::move(event));
  TellState(assembly, shown, tx);
  if (inputs_changed && assembly.WantsPlan()) tx.WantPlan(assembly.uid());
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
    return MakeError(absl::StatusCode::kAlreadyExists, "ASSEMBLY_EXISTS",
                     absl::StrCat(wanted.name(), " exists, of ", there.model_version(), " under ",
                                  v1::Assembly::Policy_Name(there.policy())),
                     {{"assembly", wanted.name()},
                      {"model_version", there.model_version()},
                      {"policy", v1::Assembly::Policy_Name(there.policy())},
                      {"min_nodes", absl::StrCat(there.min_nodes())},
                      {"replicas", absl::StrCat(there.replicas())}});
  }
  MUSTER_ASSIGN_OR_RETURN(const Version* version, catalogue_.Find(wanted.model_version()));
  if (version->draft != nullptr) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "VERSION_NOT_COMMITTED",
                     absl::StrCat(version->row.name(), " is a DRAFT: commit it first"),
                     {{"name", version->row.name()}});
  }
  store::AssemblyRow row;
  row.set_name(wanted.name());
  row.set_version_uid(version->uid.value);
  row.set_policy(wanted.policy());
  row.set_min_nodes(std::max(1u, wanted.min_nodes()));
  row.set_replicas(std::max(1u, wanted.replicas()));
  row.set_create_time_us(tx.now_us());
  if (request.validate_only()) {
    *response.mutable_assembly() = Describe(Assembly(row, *version));
    return absl::OkStatus();
  }
  row.set_revision(tx.Change().value);
  row.set_uid(row.revision());
  tx.Put(AssemblyKey(AssemblyUid(row.uid())), row);
  auto assembly = std::make_unique<Assembly>(std::move(row), *version);
  catalogue_.FindByUid(version->uid)->assemblies.insert(assembly->name());
  by_uid_[assembly->uid()] = assembly.get();
  Announce(*assembly, {}, false, tx);
  *response.mutable_assembly() = Describe(*assembly);
  by_name_[wanted.name()] = std::move(assembly);
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
      return MakeError(absl::StatusCode::kFailedPrecondition, "CLAIM_DIFFERS",
                       absl::StrCat(request.node(), " is in ", request.name(),
                                    " with another claim: leave the assembly first"),
                       {{"node", request.node()}, {"assembly", request.name()}});
    }
  } else {
    tx.Change();
    store::MemberRow row;
    *row.mutable_claim() = claim;
    tx.Put(MemberKey(assembly->uid(), node->uid), row);
    Assembly::Member member;
    member.node = node->uid;
    member.claim = std::move(claim);
    member.live = node->live();
    member.epoch = node->epoch();
    assembly->AddMember(request.node(), std::move(member));
    node->memberships.insert(assembly->uid());
    tx.Tell(MemberEventOf(*assembly, request.node(), v1::Event::MEMBER_JOINED));
    Announce(*assembly, {request.node()}, true, tx);
  }
  *response.mutable_assembly() = Describe(*assembly);
  return absl::OkStatus();
}

void AssemblyTable::SetAssignments(Assembly& assembly, const std::string& node,
                                   std::vector<Assignment> assignments, Transaction& tx) {
  const Assembly::Member& member = *assembly.FindMember(node);
  const uint64_t before = member.assigned_bytes;
  AssignmentEvent event = assembly.SetAssignments(node, std::move(assignments));
  if (Node* entry = nodes_.FindByUid(member.node); entry != nullptr) {
    entry->assigned_bytes = entry->assigned_bytes - before + member.assigned_bytes;
    if (member.assigned_bytes != before) NoteRoom(*entry, assembly.uid(), tx);
  }
  if (!event.assigned.empty() || !event.unassigned.empty()) tx.Emit(std::move(event));
}

void AssemblyTable::NoteRoom(const Node& node, AssemblyUid changed, Transaction& tx) const {
  if (node.row.capacity_bytes() == 0) return;
  for (const AssemblyUid uid : node.memberships) {
    if (uid == changed) continue;
    Assembly& other = *FindByUid(uid);
    other.TouchInputs();
    if (!other.row().plan_reasons().empty()) tx.WantPlan(uid);
  }
}

void AssemblyTable::RemoveMember(Assembly& assembly, const std::string& node, Transaction& tx) {
  const NodeUid uid = assembly.FindMember(node)->node;
  tx.Tell(MemberEventOf(assembly, node, v1::Event::MEMBER_LEFT));
  SetAssignments(assembly, node, {}, tx);
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
  MUSTER_RETURN_IF_ERROR(ParseNodeName(request.node()).status());
  const Assembly::Member* member = assembly->FindMember(request.node());
  if (member == nullptr) return absl::OkStatus();
  if (request.has_epoch()) {
    MUSTER_RETURN_IF_ERROR(nodes_.Find(request.node(), request.epoch()).status());
  }
  tx.Change();
  DeleteMemberRows(*assembly, member->node, tx);
  RemoveMember(*assembly, request.node(), tx);
  Announce(*assembly, {request.node()}, true, tx);
  return absl::OkStatus();
}

absl::Status AssemblyTable::Delete(const v1::DeleteAssemblyRequest& request, Transaction& tx) {
  MUSTER_ASSIGN_OR_RETURN(Assembly * assembly, FindMutable(request.name()));
  if (request.validate_only()) return absl::OkStatus();
  tx.Change();
  const AssemblyUid uid = assembly->uid();
  std::vector<std::string> members;
  for (const auto& [node, member] : assembly->members()) members.push_back(node);
  for (const std::string& node : members) RemoveMember(*assembly, node, tx);
  tx.Delete(AssemblyKey(uid));
  tx.DeletePrefix(AssemblyRowsPrefix(uid));
  AssemblyEvent gone;
  gone.uid = uid;
  tx.Emit(std::move(gone));
  v1::Event event = EventOf(*assembly, v1::Event::ASSEMBLY_DELETED);
  event.set_old_state(v1::Assembly::State_Name(assembly->told_state));
  event.set_new_state("GONE");
  tx.Tell(std::move(event));
  catalogue_.FindByUid(assembly->version().uid)->assemblies.erase(request.name());
  staging_.erase(uid);
  by_uid_.erase(uid);
  by_name_.erase(request.name());
  return absl::OkStatus();
}

absl::Status AssemblyTable::Report(const v1::ReportShardsRequest& request, Transaction& tx,
                                   v1::ReportShardsResponse& response) {
  MUSTER_RETURN_IF_ERROR(CheckReports(request));
  MUSTER_ASSIGN_OR_RETURN(Assembly * assembly, FindMutable(request.assembly()));
  MUSTER_RETURN_IF_ERROR(nodes_.Find(request.node(), request.epoch()).status());
  const bool member = assembly->FindMember(request.node()) != nullptr;
  ReportEvents events(*assembly, request.node());
  for (const v1::ShardReport& report : request.reports()) {
    v1::ShardReport::State old_state = v1::ShardReport::STATE_UNSPECIFIED;
    const Assembly::ReportOutcome outcome =
        member ? assembly->Report(request.node(), report, &old_state)
               : Assembly::ReportOutcome::kGone;
    if (outcome == Assembly::ReportOutcome::kGone) response.add_rejected(report.shard());
    if (outcome == Assembly::ReportOutcome::kChanged) events.Add(report, old_state);
  }
  if (response.rejected_size() == request.reports_size()) {
    std::vector<uint32_t> shards(response.rejected().begin(), response.rejected().end());
    std::sort(shards.begin(), shards.end());
    const std::string list = RunsToText(shards, 1'000);
    return MakeError(
        absl::StatusCode::kAborted, "ASSIGNMENT_GONE",
        absl::StrCat(request.node(), " does not hold shard ", list, " of ", request.assembly(),
                     " under the generation that it reports"),
        {{"node", request.node()}, {"assembly", request.assembly()}, {"shards", list}});
  }
  if (events.empty()) return absl::OkStatus();
  const Assembly::Member& reporter = *assembly->FindMember(request.node());
  events.Tell(tx);
  tx.Put(ReadinessKey(assembly->uid(), reporter.node), assembly->ReadinessRowOf(reporter));
  Announce(*assembly, {request.node()}, false, tx);
  return absl::OkStatus();
}

absl::Status AssemblyTable::Stage(const StagePlan& command, Transaction& tx) {
  const PlannedAssembly& plan = *command.plan;
  Assembly* assembly = FindByUid(plan.assembly);
  if (assembly == nullptr || assembly->inputs_version() != plan.inputs_version) {
    return PlanOutdated(assembly == nullptr ? "an assembly that is gone" : assembly->name());
  }
  if (command.begin == 0) staging_[plan.assembly] = Generation(tx.Change().value);
  const auto staged = staging_.find(plan.assembly);
  if (staged == staging_.end()) return PlanOutdated(assembly->name());
  for (size_t i = command.begin; i < command.end && i < plan.members.size(); ++i) {
    Assembly::Member member;
    member.assignments = WithGeneration(plan.members[i].assignments, staged->second);
    tx.Put(AssignmentKey(plan.assembly, staged->second, plan.members[i].node),
           assembly->AssignmentRowOf(member));
  }
  return absl::OkStatus();
}

absl::Status AssemblyTable::Apply(const ApplyPlan& command, Transaction& tx) {
  const PlannedAssembly& plan = *command.plan;
  Assembly* assembly = FindByUid(plan.assembly);
  if (assembly == nullptr || assembly->inputs_version() != plan.inputs_version) {
    return PlanOutdated(assembly == nullptr ? "an assembly that is gone" : assembly->name());
  }
  const auto staged = staging_.find(plan.assembly);
  if (command.staged && staged == staging_.end()) return PlanOutdated(assembly->name());
  Generation generation(tx.Change().value);
  store::AssemblyRow& row = assembly->mutable_row();
  const Generation old_directory(row.plan_directory());
  const Generation old_generation(row.generation());
  if (command.staged) {
    generation = staged->second;
    staging_.erase(staged);
    row.set_plan_directory(generation.value);
    if (old_directory.value != 0) {
      tx.DeletePrefix(PlanDirectoryPrefix(plan.assembly, old_directory));
    }
  } else if (old_directory.value == 0) {
    row.set_plan_directory(generation.value);
  }
  row.set_generation(generation.value);
  row.mutable_plan_reasons()->Clear();
  for (const v1::AssemblyReason& reason : plan.reasons) *row.add_plan_reasons() = reason;
  tx.Put(AssemblyKey(plan.assembly), row);
  std::vector<std::string> touched;
  for (const PlannedAssembly::Member& planned : plan.members) {
    const Node* node = nodes_.FindByUid(planned.node);
    if (node == nullptr) continue;
    const std::string& name = node->row.name();
    SetAssignments(*assembly, name, WithGeneration(planned.assignments, generation), tx);
    touched.push_back(name);
    if (!command.staged) {
      tx.Put(AssignmentKey(plan.assembly, Generation(row.plan_directory()), planned.node),
             assembly->AssignmentRowOf(*assembly->FindMember(name)));
    }
  }
  tx.Tell(PlanEventOf(*assembly, old_generation, tx.events()));
  // Another plan that was made from the state before this one would give the same shards away
  // again.
  assembly->TouchInputs();
  Announce(*assembly, touched, false, tx);
  return absl::OkStatus();
}

void AssemblyTable::NodeRegistered(const Node& node, Transaction& tx) {
  const std::string& name = node.row.name();
  for (const AssemblyUid uid : node.memberships) {
    Assembly& assembly = *FindByUid(uid);
    assembly.SetLive(name, true);
    assembly.ResetReports(name, node.epoch());
    // Capacity, zone and labels may differ.
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

void AssemblyTable::NodeRemoved(Node& node, Transaction& tx) {
  const std::set<AssemblyUid> memberships = node.memberships;
  for (const AssemblyUid uid : memberships) {
    Assembly& assembly = *FindByUid(uid);
    RemoveMember(assembly, node.row.name(), tx);
    tx.Follow(ForgetMember{uid, node.uid});
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

absl::Status AssemblyTable::Load(store::AssemblyRow row) {
  Version* version = catalogue_.FindByUid(VersionUid(row.version_uid()));
  if (version == nullptr) {
    return absl::DataLossError(absl::StrCat(row.name(), " has no model version"));
  }
  auto assembly = std::make_unique<Assembly>(std::move(row), *version);
  version->assemblies.insert(assembly->name());
  by_uid_[assembly->uid()] = assembly.get();
  const std::string name = assembly->name();
  if (!by_name_.emplace(name, std::move(assembly)).second) {
    return absl::DataLossError(absl::StrCat("two rows are named ", name));
  }
  return absl::OkStatus();
}

Assembly* AssemblyTable::FindMemberOf(AssemblyUid uid, NodeUid node_uid, std::string* name) const {
  Assembly* assembly = FindByUid(uid);
  const Node* node = nodes_.FindByUid(node_uid);
  if (assembly == nullptr || node == nullptr) return nullptr;
  *name = node->row.name();
  return assembly->FindMember(*name) == nullptr ? nullptr : assembly;
}

absl::Status AssemblyTable::LoadMember(AssemblyUid uid, NodeUid node_uid,
                                       const store::MemberRow& row, Transaction& tx) {
  Assembly* assembly = FindByUid(uid);
  if (assembly == nullptr) {
    return absl::DataLossError(
        absl::StrCat("a member of assembly uid ", uid.value, " has no assembly"));
  }
  Node* node = nodes_.FindByUid(node_uid);
  if (node == nullptr) {
    tx.Follow(ForgetMember{uid, node_uid});
    return absl::OkStatus();
  }
  Assembly::Member member;
  member.node = node_uid;
  member.claim = row.claim();
  member.live = node->live();
  member.epoch = node->epoch();
  assembly->AddMember(node->row.name(), std::move(member));
  node->memberships.insert(uid);
  return absl::OkStatus();
}

absl::Status AssemblyTable::LoadAssignments(AssemblyUid uid, Generation directory, NodeUid node,
                                            const store::AssignmentRow& row, Transaction& tx) {
  const Assembly* present = FindByUid(uid);
  if (present != nullptr && present->row().plan_directory() != directory.value) {
    if (orphaned_directories_.emplace(uid, directory).second) {
      tx.Follow(ForgetPlanDirectory{uid, directory});
    }
    return absl::OkStatus();
  }
  std::string name;
  Assembly* assembly = FindMemberOf(uid, node, &name);
  if (assembly == nullptr) return absl::OkStatus();
  std::vector<Assignment> assignments;
  const auto limit = static_cast<uint32_t>(assembly->version().shards.size());
  for (const auto& group : row.groups()) {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<uint32_t> shards,
                            UnpackRuns(group.shard_runs(), limit));
    for (const uint32_t shard : shards) {
      assignments.push_back(Assignment{shard, Generation(group.generation())});
    }
  }
  std::sort(assignments.begin(), assignments.end());
  const auto same_shard = [](const Assignment& a, const Assignment& b) {
    return a.shard == b.shard;
  };
  if (std::adjacent_find(assignments.begin(), assignments.end(), same_shard) != assignments.end()) {
    return absl::DataLossError(absl::StrCat("a shard is assigned twice to ", name));
  }
  Transaction unused(tx.revision(), tx.now_us());
  SetAssignments(*assembly, name, std::move(assignments), unused);
  return absl::OkStatus();
}

absl::Status AssemblyTable::LoadReadiness(AssemblyUid uid, NodeUid node,
                                          const store::ReadinessRow& row) {
  std::string name;
  Assembly* assembly = FindMemberOf(uid, node, &name);
  return assembly == nullptr ? absl::OkStatus() : assembly->LoadReadiness(name, row);
}

void AssemblyTable::FinishLoad(Revision revision, Transaction& tx) {
  for (const auto& [name, assembly] : by_name_) {
    assembly->shown_revision = revision;
    assembly->told_state = assembly->state();
    if (!assembly->row().was_ready() && assembly->state() == v1::Assembly::READY) {
      // The server stopped between the report that made it READY and the row that remembers it.
      assembly->mutable_row().set_was_ready(true);
      tx.Follow(RememberReady{assembly->uid()});
    }
    // A plan that was being made when the server stopped is made again; planning on its own output
    // changes nothing.
    if (assembly->WantsPlan()) tx.WantPlan(assembly->uid());
  }
  orphaned_directories_.clear();
}

}  // namespace muster
