#include "server/planning/planning.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/numeric/int128.h"
#include "absl/strings/strip.h"
#include "server/placement/placement.h"
#include "server/registry/limits.h"
#include "server/registry/member_rows.h"
#include "storage/base/limits.h"
#include "storage/base/placement_policy.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

// ApplyPlan writes the assembly's row, the revision's and those of events besides the members'.
constexpr size_t kMembersPerCommand = kMaxRowsPerCommand - 8;

PlanClaim PlanClaimOf(const v1::Claim& claim) {
  PlanClaim out;
  out.kind = ClaimKindOf(claim.kind());
  for (const uint32_t shard : claim.shards()) out.shards.push_back(ShardIndex(shard));
  out.ranks.assign(claim.ranks().begin(), claim.ranks().end());
  return out;
}

// What the node's other assemblies have on it. Assemblies of one model version share their bytes;
// equal shards of different versions are counted each.
// 1. `used` gets the sum over all other assemblies.
// 2. Per model version, a shard that several of them hold is taken out again, all but once.
// 3. Shards of this assembly's own version are listed, so that assigning them costs no room.
void AddOthers(const PlanTask::TakenNode& taken, PlanNode& out) {
  // Each term is within what a version may have; so many of them may still be more than a number
  // holds.
  absl::uint128 used = 0;
  std::map<VersionUid, std::vector<const PlanTask::Other*>> by_version;
  for (const PlanTask::Other& other : taken.others) {
    by_version[other.version].push_back(&other);
    used += other.assigned_bytes;
  }
  for (const auto& [version, others] : by_version) {
    const bool own = version == taken.version;
    if (others.size() < 2 && !own) continue;
    std::vector<uint32_t> shards;
    for (const PlanTask::Other* other : others) {
      for (const Assignment& assignment : other->assignments) shards.push_back(assignment.shard);
    }
    std::sort(shards.begin(), shards.end());
    const std::vector<PlanShard>& all = *others.front()->shards;
    for (size_t i = 0; i < shards.size(); ++i) {
      if (i > 0 && shards[i] == shards[i - 1]) {
        used -= all[shards[i]].size_bytes;
      } else if (own) {
        out.already_counted.push_back(ShardIndex(shards[i]));
      }
    }
  }
  out.used_bytes = static_cast<uint64_t>(std::min(used, absl::uint128(2 * kMaxVersionBytes)));
}

std::vector<ShardIndex> IndicesOf(const std::vector<uint32_t>& shards) {
  std::vector<ShardIndex> out;
  out.reserve(shards.size());
  for (const uint32_t shard : shards) out.push_back(ShardIndex(shard));
  return out;
}

PlanTask::TakenNode TakeNode(const Registry& registry, const Assembly& assembly, const Node& node,
                             const Assembly::Member& member, bool guarded) {
  PlanTask::TakenNode taken;
  PlanNode& out = taken.node;
  out.uid = node.uid.value;
  out.name = std::string(absl::StripPrefix(node.row.name(), "nodes/"));
  out.zone = node.row.zone();
  out.capacity_bytes = node.row.capacity_bytes();
  out.live = node.live();
  out.selected = member.selected;
  out.draining = member.draining;
  out.keeps_assignments = guarded || !node.row.released();
  out.claim = PlanClaimOf(member.claim);
  taken.version = assembly.version().uid;
  taken.assignments = member.assignments;
  taken.states = member.states;
  taken.replaces = member.replaces;
  taken.cached = member.cached;
  taken.shortage = member.shortage;
  for (const auto& [shard, given_up] : member.given_up) taken.unfit.push_back(ShardIndex(shard));
  for (const AssemblyUid uid : node.memberships) {
    if (uid == assembly.uid()) continue;
    const Assembly& other = *registry.assemblies().FindByUid(uid);
    const Assembly::Member& there = *other.FindMember(node.row.name());
    taken.others.push_back({other.version().uid, other.version().PlanShards(), there.assignments,
                            there.assigned_bytes});
  }
  return taken;
}

PlanNode Completed(PlanTask::TakenNode taken) {
  PlanNode out = std::move(taken.node);
  AddOthers(taken, out);
  out.cached = IndicesOf(taken.cached);
  out.unfit = std::move(taken.unfit);
  out.present.reserve(taken.assignments.size());
  for (size_t i = 0; i < taken.assignments.size(); ++i) {
    const Assignment& assignment = taken.assignments[i];
    PlanAssignment present{ShardIndex(assignment.shard), assignment.generation};
    const auto replaced = taken.replaces.find(assignment.shard);
    if (replaced != taken.replaces.end()) present.replaces = replaced->second.value;
    present.ready = out.live && taken.states[i] == v1::ShardReport::READY;
    out.present.push_back(present);
  }
  return out;
}

void Suppose(const Registry& registry, const Assembly& assembly, const WhatIf& change,
             std::vector<PlanTask::TakenNode>& nodes) {
  const auto found = std::find_if(
      nodes.begin(), nodes.end(),
      [&](const PlanTask::TakenNode& taken) { return taken.node.uid == change.node.value; });
  if (change.change == WhatIf::Change::kJoined) {
    const Node* node = registry.nodes().FindByUid(change.node);
    if (node == nullptr || found != nodes.end()) return;
    Assembly::Member member;
    member.node = change.node;
    member.claim = change.claim;
    AssemblyTable::SetStanding(assembly, *node, member);
    nodes.push_back(TakeNode(registry, assembly, *node, member, false));
    return;
  }
  if (found == nodes.end()) return;
  switch (change.change) {
    case WhatIf::Change::kDrained:
      found->node.draining = true;
      break;
    case WhatIf::Change::kReleased:
      found->node.live = false;
      found->node.keeps_assignments = false;
      break;
    default:
      nodes.erase(found);
  }
}

v1::AssemblyReason ReasonOfUnplaced(const Unplaced& unplaced, const PlanInput& input) {
  v1::AssemblyReason reason;
  switch (unplaced.cause) {
    case Unplaced::Cause::kUnclaimed:
      reason.set_code(v1::AssemblyReason::SHARDS_UNCLAIMED);
      break;
    case Unplaced::Cause::kTooFewNodes:
      reason.set_code(v1::AssemblyReason::TOO_FEW_NODES);
      break;
    default:
      reason.set_code(v1::AssemblyReason::NO_ROOM);
  }
  reason.set_message(unplaced.message);
  if (unplaced.node.has_value()) reason.set_node("nodes/" + input.nodes[*unplaced.node].name);
  for (const ShardIndex shard : unplaced.shards) {
    if (reason.shards_size() == kMaxReasonShards) break;
    reason.add_shards(shard.value);
  }
  return reason;
}

bool SameReasons(const std::vector<v1::AssemblyReason>& a,
                 const std::vector<v1::AssemblyReason>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].SerializeAsString() != b[i].SerializeAsString()) return false;
  }
  return true;
}

PlannedAssembly::Blocked BlockedOf(const BlockedMove& move, const PlanTask& task) {
  PlannedAssembly::Blocked out;
  out.node = NodeUid(task.input.nodes[move.node].uid);
  out.blocker.set_assembly(task.name);
  out.blocker.set_message(move.message);
  out.blocker.set_shard_count(static_cast<uint32_t>(move.shards.size()));
  for (const ShardIndex shard : move.shards) {
    if (out.blocker.shards_size() == kMaxReasonShards) break;
    out.blocker.add_shards(shard.value);
  }
  return out;
}

bool SameBlocked(const std::vector<PlannedAssembly::Blocked>& a,
                 const std::vector<PlannedAssembly::Blocked>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.node == y.node && x.blocker.SerializeAsString() == y.blocker.SerializeAsString();
  });
}

PlannedAssembly::Member EmptyMember(const PlanNode& node) {
  PlannedAssembly::Member out;
  out.node = NodeUid(node.uid);
  return out;
}

void Append(const PlanAssignment& assignment, PlannedAssembly::Member& out) {
  out.assignments.push_back(Assignment{assignment.shard.value, assignment.generation});
  if (assignment.replaces != 0) out.replaces[assignment.shard.value] = NodeUid(assignment.replaces);
}

bool Same(const PlanAssignment& a, const PlanAssignment& b) {
  return a.shard == b.shard && a.generation == b.generation;
}

// How a plan changes one node, in up to three parts. Each is all that the node has afterwards.
struct NodeSteps {
  // Moves that end here.
  std::optional<PlannedAssembly::Member> ends;
  std::optional<PlannedAssembly::Member> loses;
  std::optional<PlannedAssembly::Member> gains;
  // What was READY on the node and is taken away.
  std::vector<uint32_t> ready_lost;

  bool any() const { return ends || loses || gains; }
  // All parts in one; there has to be one.
  PlannedAssembly::Member& last() { return gains ? *gains : loses ? *loses : *ends; }
};

// What is present is in shard order, as the registry has it. With another shortage than the present one there is a step in
// any case.
NodeSteps StepsOf(const PlanNode& node, const NodePlan& plan,
                  const std::optional<PlanShortage>& present_shortage) {
  PlannedAssembly::Member ends = EmptyMember(node);
  ends.shortage = plan.shortage;
  PlannedAssembly::Member loses = ends, gains = ends;
  NodeSteps steps;
  bool ended = false, lost = false, gained = false;
  size_t old = 0;
  const auto lose = [&](const PlanAssignment& present) {
    Append(present, ends);
    if (present.ready) steps.ready_lost.push_back(present.shard.value);
    lost = true;
  };
  for (const PlanAssignment& planned : plan.assignments) {
    for (; old < node.present.size() && node.present[old].shard < planned.shard; ++old) {
      lose(node.present[old]);
    }
    Append(planned, gains);
    const bool there = old < node.present.size() && node.present[old].shard == planned.shard;
    if (there && Same(node.present[old], planned)) {
      ended = ended || node.present[old].replaces != planned.replaces;
      Append(planned, ends);
      Append(planned, loses);
      ++old;
      continue;
    }
    if (there) lose(node.present[old++]);
    gained = true;
  }
  for (; old < node.present.size(); ++old) lose(node.present[old]);
  if (ended) steps.ends = std::move(ends);
  if (lost) steps.loses = std::move(loses);
  const bool tells = plan.shortage != present_shortage && !ended && !lost;
  if (gained || tells) steps.gains = std::move(gains);
  return steps;
}

// For what the steps take away though it is READY: the nodes that have it READY by the plan.
void NoteStandIns(const PlanInput& input, const Plan& plan, std::vector<NodeSteps>& steps) {
  absl::flat_hash_map<uint32_t, std::vector<NodeUid>> holders;
  for (const NodeSteps& of : steps) {
    for (const uint32_t shard : of.ready_lost) holders[shard];
  }
  if (holders.empty()) return;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    for (const PlanAssignment& assignment : plan.nodes[i].assignments) {
      if (!assignment.ready || assignment.replaces != 0) continue;
      const auto found = holders.find(assignment.shard.value);
      if (found != holders.end()) found->second.push_back(NodeUid(input.nodes[i].uid));
    }
  }
  for (NodeSteps& of : steps) {
    for (const uint32_t shard : of.ready_lost) {
      if (of.loses) of.loses->stand_ins[shard] = holders[shard];
      if (of.gains) of.gains->stand_ins[shard] = holders[shard];
    }
  }
}

// At most, of the member's row: the registry fits what is bigger.
size_t RowBytes(const PlannedAssembly::Member& member) {
  return std::min(MemberRowBound(member.assignments, member.replaces), kMaxMemberRowBytes);
}

// A plan that fits one transaction has each node once. In a bigger one all moves end before anything
// is taken away, so that a shard which is READY stays so, and the room that this makes is there
// before anything is added.
std::vector<PlannedAssembly::Member> MembersOf(std::vector<NodeSteps> steps) {
  size_t bytes = 0;
  for (NodeSteps& of : steps) bytes += RowBytes(of.last());
  std::vector<PlannedAssembly::Member> members;
  if (steps.size() <= kMembersPerCommand && bytes <= kMaxBytesPerCommand / 2) {
    for (NodeSteps& of : steps) members.push_back(std::move(of.last()));
    return members;
  }
  for (const auto part : {&NodeSteps::ends, &NodeSteps::loses, &NodeSteps::gains}) {
    for (NodeSteps& of : steps) {
      if ((of.*part).has_value()) members.push_back(*std::move(of.*part));
    }
  }
  return members;
}

// Without what nodes have no room for by their own claims where others hold it: that concerns these nodes alone, and they
// are told (NodePlan::shortage).
std::vector<v1::AssemblyReason> ReasonsOf(const Plan& plan, const PlanInput& input) {
  std::vector<bool> held(input.shards.size());
  for (const NodePlan& node : plan.nodes) {
    for (const PlanAssignment& assignment : node.assignments) held[assignment.shard.value] = true;
  }
  std::vector<v1::AssemblyReason> reasons;
  for (const Unplaced& unplaced : plan.unplaced) {
    if (reasons.size() == kMaxReasons) break;
    const bool of_one = unplaced.node.has_value() &&
                        std::all_of(unplaced.shards.begin(), unplaced.shards.end(),
                                    [&](ShardIndex shard) { return held[shard.value]; });
    if (!of_one) reasons.push_back(ReasonOfUnplaced(unplaced, input));
  }
  return reasons;
}

// As many as the plan's size asks for.
std::vector<Command> CommandsFor(const std::shared_ptr<const PlannedAssembly>& plan) {
  std::vector<Command> commands;
  const size_t count = plan->members.size();
  size_t begin = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t row = RowBytes(plan->members[i]);
    if (i > begin && (i - begin == kMembersPerCommand || bytes + row > kMaxBytesPerCommand / 2)) {
      commands.push_back(ApplyPlan{plan, begin, i});
      begin = i;
      bytes = 0;
    }
    bytes += row;
  }
  commands.push_back(ApplyPlan{plan, begin, count});
  return commands;
}

}  // namespace

std::optional<PlanTask> TakePlanTask(const Registry& registry, AssemblyUid uid) {
  return TakePlanTask(registry, uid, {});
}

std::optional<PlanTask> TakePlanTask(const Registry& registry, AssemblyUid uid,
                                     absl::Span<const WhatIf> changes) {
  const Assembly* assembly = registry.assemblies().FindByUid(uid);
  if (assembly == nullptr) return std::nullopt;
  const store::AssemblyRow& row = assembly->row();
  // Before anything is copied: most tasks of waiting assemblies end here.
  if (changes.empty() && !assembly->WantsPlan()) return std::nullopt;
  PlanTask task;
  task.assembly = uid;
  task.name = assembly->name();
  task.inputs_version = assembly->inputs_version();
  task.base = assembly->plan_base();
  task.first = row.generation() == 0;
  task.present_reasons.assign(row.plan_reasons().begin(), row.plan_reasons().end());
  task.present_blocked = assembly->blocked;
  task.shards = assembly->version().PlanShards();
  task.input.shards = *task.shards;
  task.input.location_zones = assembly->version().location_zones.sets();
  task.input.policy = PolicyOf(row.policy());
  task.input.replicas = row.replicas();
  const bool guarded = registry.leases().IsGuarded();
  task.input.move_budget_bytes = guarded ? 0 : assembly->move_budget_bytes();
  task.taken.reserve(assembly->members().size());
  for (const auto& [name, member] : assembly->members()) {
    task.taken.push_back(
        TakeNode(registry, *assembly, *registry.nodes().FindByUid(member.node), member, guarded));
  }
  for (const WhatIf& change : changes) Suppose(registry, *assembly, change, task.taken);
  const auto open =
      std::count_if(task.taken.begin(), task.taken.end(), [](const PlanTask::TakenNode& taken) {
        return taken.node.live && taken.node.selected && !taken.node.draining;
      });
  if (task.first && open < row.min_nodes()) return std::nullopt;
  return task;
}

void CompleteInput(PlanTask& task) {
  task.input.nodes.reserve(task.taken.size());
  for (PlanTask::TakenNode& taken : task.taken) {
    task.present_shortages.push_back(taken.shortage);
    task.input.nodes.push_back(Completed(std::move(taken)));
  }
  task.taken.clear();
}

absl::StatusOr<std::optional<std::vector<Command>>> MakePlanCommands(PlanTask task) {
  CompleteInput(task);
  MUSTER_ASSIGN_OR_RETURN(const Plan plan, MakePlan(task.input));
  auto planned = std::make_shared<PlannedAssembly>();
  planned->assembly = task.assembly;
  planned->inputs_version = task.inputs_version;
  planned->base = task.base;
  planned->reasons = ReasonsOf(plan, task.input);
  for (const BlockedMove& move : plan.blocked) planned->blocked.push_back(BlockedOf(move, task));
  planned->added_bytes = plan.added_bytes;
  planned->removed_bytes = plan.removed_bytes;
  planned->moved_bytes = plan.moved_bytes;
  bool tells_shortage = false;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    tells_shortage = tells_shortage || plan.nodes[i].shortage != task.present_shortages[i];
  }
  if (!task.first && !plan.changed && !tells_shortage &&
      SameReasons(planned->reasons, task.present_reasons) &&
      SameBlocked(planned->blocked, task.present_blocked)) {
    return std::nullopt;
  }
  std::vector<NodeSteps> steps;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    if (!plan.nodes[i].changed && plan.nodes[i].shortage == task.present_shortages[i]) continue;
    NodeSteps of = StepsOf(task.input.nodes[i], plan.nodes[i], task.present_shortages[i]);
    if (of.any()) steps.push_back(std::move(of));
  }
  NoteStandIns(task.input, plan, steps);
  planned->members = MembersOf(std::move(steps));
  return CommandsFor(planned);
}

namespace {

// What the plan changes for one node.
v1::PlanPreview::NodeChange ChangeOf(const PlanTask& task, const PlanNode& node,
                                     const NodePlan& plan) {
  v1::PlanPreview::NodeChange out;
  out.set_node("nodes/" + node.name);
  std::vector<uint32_t> before, after, added, removed;
  for (const PlanAssignment& present : node.present) before.push_back(present.shard.value);
  for (const PlanAssignment& planned : plan.assignments) after.push_back(planned.shard.value);
  std::sort(before.begin(), before.end());
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::back_inserter(added));
  std::set_difference(before.begin(), before.end(), after.begin(), after.end(),
                      std::back_inserter(removed));
  const auto size_of = [&](uint32_t shard) { return (*task.shards)[shard].size_bytes; };
  uint64_t added_bytes = 0, removed_bytes = 0, assigned_bytes = node.used_bytes;
  for (const uint32_t shard : added) {
    added_bytes += size_of(shard);
    if (out.added_shards_size() < kMaxReasonShards) out.add_added_shards(shard);
  }
  for (const uint32_t shard : removed) {
    removed_bytes += size_of(shard);
    if (out.removed_shards_size() < kMaxReasonShards) out.add_removed_shards(shard);
  }
  for (const uint32_t shard : after) {
    const bool counted = std::binary_search(node.already_counted.begin(),
                                            node.already_counted.end(), ShardIndex(shard));
    if (!counted) assigned_bytes += size_of(shard);
  }
  out.set_added_bytes(added_bytes);
  out.set_removed_bytes(removed_bytes);
  out.set_assigned_bytes(assigned_bytes);
  return out;
}

}  // namespace

absl::StatusOr<v1::PlanPreview> PreviewOf(PlanTask task) {
  CompleteInput(task);
  MUSTER_ASSIGN_OR_RETURN(const Plan plan, MakePlan(task.input));
  v1::PlanPreview out;
  out.set_assembly(task.name);
  std::vector<size_t> changed;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    if (plan.nodes[i].changed) changed.push_back(i);
  }
  std::sort(changed.begin(), changed.end(), [&](size_t a, size_t b) {
    return task.input.nodes[a].name < task.input.nodes[b].name;
  });
  for (const size_t i : changed) {
    if (out.nodes_size() == kMaxItemsPerCall) break;
    *out.add_nodes() = ChangeOf(task, task.input.nodes[i], plan.nodes[i]);
  }
  out.set_added_bytes(plan.added_bytes);
  out.set_removed_bytes(plan.removed_bytes);
  out.set_moved_bytes(plan.moved_bytes);
  for (const Unplaced& unplaced : plan.unplaced) {
    if (out.reasons_size() == kMaxReasons) break;
    *out.add_reasons() = ReasonOfUnplaced(unplaced, task.input);
  }
  return out;
}

}  // namespace muster
