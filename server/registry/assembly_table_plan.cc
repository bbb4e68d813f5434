// Plans come in.
//
// A plan that fits one transaction is one ApplyPlan. A bigger one comes in steps, each a transaction of its own that
// everybody sees, with other commands in between, so that nobody waits for the whole of it. The barrier counts what is
// there, so it is true at every step; a server that stops in between plans the rest again.

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/assembly_table.h"
#include "server/registry/late_plan.h"
#include "server/registry/limits.h"
#include "server/registry/member_rows.h"
#include "server/registry/row_keys.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

absl::Status PlanOutdated(absl::string_view assembly) {
  return MakeError(absl::StatusCode::kAborted, reasons::kPlanOutdated,
                   absl::StrCat("the plan of ", assembly, " was made from an outdated state"));
}

// What is new gets the plan's generation.
LatePlan::Held Settled(LatePlan::Held held, Generation generation) {
  for (Assignment& assignment : held.assignments) {
    if (assignment.generation.value == 0) assignment.generation = generation;
  }
  FitIntoRows(generation, held.assignments, held.replaces);
  return held;
}

// Two changes of one node become one. What was taken away and is given again is only given.
void Append(AssignmentChange later, AssignmentChange& change) {
  std::vector<Assignment> assigned;
  std::merge(change.assigned.begin(), change.assigned.end(), later.assigned.begin(),
             later.assigned.end(), std::back_inserter(assigned));
  std::vector<uint32_t> unassigned;
  std::set_union(change.unassigned.begin(), change.unassigned.end(), later.unassigned.begin(),
                 later.unassigned.end(), std::back_inserter(unassigned));
  std::erase_if(unassigned, [&](uint32_t shard) {
    return std::any_of(later.assigned.begin(), later.assigned.end(),
                       [&](const Assignment& one) { return one.shard == shard; });
  });
  change.assigned = std::move(assigned);
  change.unassigned = std::move(unassigned);
}

}  // namespace

std::optional<AssemblyTable::Losses> AssemblyTable::LossesOf(const ApplyPlan& command,
                                                             const LatePlan& late) {
  Losses losses;
  bool holds = command.begin > 0 || command.end < command.plan->members.size();
  for (size_t i = command.begin; i < command.end; ++i) {
    losses.push_back(late.Losses(command.plan->members[i]));
    holds = holds || losses.back().has_value() || late.TellsShortage(command.plan->members[i]);
  }
  // Without losses nothing changes before the gains are looked at, so they are now what they will
  // be.
  for (size_t i = command.begin; i < command.end && !holds; ++i) {
    holds = late.Gains(command.plan->members[i]).has_value();
  }
  if (!holds) return std::nullopt;
  return losses;
}

AssemblyTable::ArrivingPlan& AssemblyTable::Begin(
    const std::shared_ptr<const PlannedAssembly>& plan, Assembly& assembly, Transaction& tx) {
  const Generation generation(tx.MarkChanged().value);
  store::AssemblyRow& row = assembly.mutable_row();
  const Generation old_generation(row.generation());
  if (row.plan_directory() == 0) row.set_plan_directory(generation.value);
  row.set_generation(generation.value);
  row.mutable_plan_reasons()->Clear();
  for (const v1::AssemblyReason& reason : plan->reasons) *row.add_plan_reasons() = reason;
  tx.Put(AssemblyKey(assembly.uid()), row);
  assembly.blocked = plan->blocked;
  ArrivingPlan& arriving = arriving_[assembly.uid()];
  arriving = ArrivingPlan();
  arriving.plan = plan;
  arriving.generation = generation;
  arriving.old_generation = old_generation;
  return arriving;
}

void AssemblyTable::Hold(Assembly& assembly, NodeUid uid, LatePlan::Held held,
                         AssignmentChanges& changes, Transaction& tx) {
  const Node* node = nodes_.FindByUid(uid);
  if (node == nullptr || assembly.FindMember(node->row.name()) == nullptr) return;
  const std::string& name = node->row.name();
  AssignmentChange change =
      SetAssignments(assembly, name, std::move(held.assignments), std::move(held.replaces), tx);
  const auto before = changes.find(name);
  if (before == changes.end()) {
    changes.emplace(name, std::move(change));
  } else {
    Append(std::move(change), before->second);
  }
}

void AssemblyTable::SetShortage(Assembly& assembly, const PlannedAssembly::Member& planned,
                                AssignmentChanges& changes) const {
  const Node* node = nodes_.FindByUid(planned.node);
  if (node == nullptr) return;
  const std::string& name = node->row.name();
  const Assembly::Member* member = assembly.FindMember(name);
  if (member == nullptr || member->shortage == planned.shortage) return;
  assembly.SetShortage(name, planned.shortage);
  // It is in the same row as the assignments.
  changes.try_emplace(name);
}

void AssemblyTable::TellPlan(const Assembly& assembly, const ArrivingPlan& plan, Transaction& tx) {
  v1::Event event;
  event.set_kind(v1::Event::PLAN_APPLIED);
  event.set_assembly(assembly.name());
  event.set_model_version(assembly.version().row.name());
  event.set_old_state(absl::StrCat(plan.old_generation.value));
  event.set_new_state(absl::StrCat(plan.generation.value));
  event.set_shard_count(static_cast<uint32_t>(plan.assigned));
  event.set_message(absl::StrCat(plan.assigned, " assignments added (", plan.assigned_bytes,
                                 " bytes) and ", plan.unassigned, " removed, on ",
                                 plan.nodes.size(), plan.nodes.size() == 1 ? " node" : " nodes"));
  tx.Tell(std::move(event));
}

absl::Status AssemblyTable::Apply(const ApplyPlan& command, Transaction& tx) {
  const PlannedAssembly& plan = *command.plan;
  Assembly* assembly = FindByUid(plan.assembly);
  if (assembly == nullptr) return PlanOutdated("an assembly that is gone");
  const auto under_way = arriving_.find(plan.assembly);
  const bool goes_on = under_way != arriving_.end() && under_way->second.plan == command.plan &&
                       under_way->second.taken == command.begin;
  if (command.begin == 0 ? assembly->plan_base() != plan.base : !goes_on) {
    return PlanOutdated(assembly->name());
  }
  const LatePlan late_plan(plan, *assembly, nodes_);
  const bool late = late_plan.late();
  std::optional<Losses> losses;
  if (late) losses = LossesOf(command, late_plan);
  if (late && !losses.has_value()) return PlanOutdated(assembly->name());
  ArrivingPlan& arriving =
      command.begin == 0 ? Begin(command.plan, *assembly, tx) : under_way->second;
  AssignmentChanges changes;
  for (size_t i = command.begin; late && i < command.end; ++i) {
    std::optional<LatePlan::Held>& kept = (*losses)[i - command.begin];
    if (kept.has_value()) Hold(*assembly, plan.members[i].node, *std::move(kept), changes, tx);
  }
  for (size_t i = command.begin; i < command.end; ++i) {
    const PlannedAssembly::Member& planned = plan.members[i];
    const bool believed = !late || late_plan.TellsShortage(planned);
    std::optional<LatePlan::Held> held = LatePlan::Held{planned.assignments, planned.replaces};
    if (late) held = late_plan.Gains(planned);
    if (held.has_value()) {
      Hold(*assembly, planned.node, Settled(*std::move(held), arriving.generation), changes, tx);
    }
    if (believed) SetShortage(*assembly, planned, changes);
  }
  std::vector<std::string> touched;
  for (auto& [name, change] : changes) {
    const Assembly::Member& member = *assembly->FindMember(name);
    const Generation directory(assembly->row().plan_directory());
    tx.Put(AssignmentKey(plan.assembly, directory, member.node), assembly->AssignmentRowOf(member));
    touched.push_back(name);
    if (change.assigned.empty() && change.unassigned.empty()) continue;
    arriving.nodes.insert(change.node);
    arriving.assigned += change.assigned.size();
    arriving.unassigned += change.unassigned.size();
    for (const Assignment& assignment : change.assigned) {
      arriving.assigned_bytes += assembly->version().shards[assignment.shard].size_bytes;
    }
    tx.Emit(std::move(change));
  }
  arriving.taken = command.end;
  // Another plan that was made before this one came in would give the same shards away again.
  assembly->RefuseOlderPlans();
  if (command.end == plan.members.size()) {
    TellPlan(*assembly, arriving, tx);
    arriving_.erase(plan.assembly);
  }
  Announce(*assembly, touched, false, tx);
  if (late) tx.WantPlan(plan.assembly);
  return absl::OkStatus();
}

absl::Status AssemblyTable::Note(const NotePlanFailure& command, Transaction& tx) {
  Assembly* assembly = FindByUid(command.assembly);
  if (assembly == nullptr) return absl::OkStatus();
  if (assembly->inputs_version() != command.inputs_version) return PlanOutdated(assembly->name());
  assembly->NotePlanFailure(CutText(command.message, kMaxEventMessageBytes));
  Announce(*assembly, {}, false, tx);
  return absl::OkStatus();
}

}  // namespace muster
