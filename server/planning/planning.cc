#include "server/planning/planning.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

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

// ApplyPlan writes the assembly's row, the revision's and a range delete besides the members'.
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
// 1. used_bytes gets the sum over all other assemblies.
// 2. Per model version, a shard that several of them hold is taken out again, all but once.
// 3. Shards of this assembly's own version are listed, so that assigning them costs no room.
void AddOthers(const Registry& registry, const Assembly& assembly, const Node& node,
               PlanNode& out) {
  std::map<VersionUid, std::vector<const Assembly::Member*>> by_version;
  for (const AssemblyUid uid : node.memberships) {
    if (uid == assembly.uid()) continue;
    const Assembly& other = *registry.assemblies().FindByUid(uid);
    const Assembly::Member* member = other.FindMember(node.row.name());
    by_version[other.version().uid].push_back(member);
    out.used_bytes += member->assigned_bytes;
  }
  for (const auto& [version, members] : by_version) {
    const bool own = version == assembly.version().uid;
    if (members.size() < 2 && !own) continue;
    std::vector<uint32_t> shards;
    for (const Assembly::Member* member : members) {
      for (const Assignment& assignment : member->assignments) shards.push_back(assignment.shard);
    }
    std::sort(shards.begin(), shards.end());
    const std::vector<Version::Shard>& all = registry.catalogue().FindByUid(version)->shards;
    for (size_t i = 0; i < shards.size(); ++i) {
      if (i > 0 && shards[i] == shards[i - 1]) {
        out.used_bytes -= all[shards[i]].size_bytes;
      } else if (own) {
        out.already_counted.push_back(ShardIndex(shards[i]));
      }
    }
  }
}

std::vector<ShardIndex> IndicesOf(const std::vector<uint32_t>& shards) {
  std::vector<ShardIndex> out;
  out.reserve(shards.size());
  for (const uint32_t shard : shards) out.push_back(ShardIndex(shard));
  return out;
}

PlanNode PlanNodeOf(const Registry& registry, const Assembly& assembly, const Node& node,
                    const Assembly::Member& member, bool guarded) {
  PlanNode out;
  out.uid = node.uid.value;
  out.name = std::string(absl::StripPrefix(node.row.name(), "nodes/"));
  out.zone = node.row.zone();
  out.capacity_bytes = node.row.capacity_bytes();
  if (node.memberships.size() > 1) AddOthers(registry, assembly, node, out);
  out.live = node.live();
  out.selected = member.selected;
  out.draining = member.draining;
  out.keeps_assignments = guarded || !node.row.released();
  out.cached = IndicesOf(member.cached);
  for (const auto& [shard, given_up] : member.given_up) out.unfit.push_back(ShardIndex(shard));
  out.claim = PlanClaimOf(member.claim);
  out.present.reserve(member.assignments.size());
  for (size_t i = 0; i < member.assignments.size(); ++i) {
    const Assignment& assignment = member.assignments[i];
    PlanAssignment present{ShardIndex(assignment.shard), assignment.generation};
    if (member.IsExtra(assignment.shard)) {
      present.replaces = member.replaces.at(assignment.shard).value;
    }
    present.ready = member.live && member.states[i] == v1::ShardReport::READY;
    out.present.push_back(present);
  }
  return out;
}

void Suppose(const Registry& registry, const Assembly& assembly, const WhatIf& change,
             std::vector<PlanNode>& nodes) {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const PlanNode& node) {
    return node.uid == change.node.value;
  });
  if (change.change == WhatIf::Change::kJoined) {
    const Node* node = registry.nodes().FindByUid(change.node);
    if (node == nullptr || found != nodes.end()) return;
    Assembly::Member member;
    member.node = change.node;
    member.claim = change.claim;
    AssemblyTable::SetStanding(assembly, *node, member);
    nodes.push_back(PlanNodeOf(registry, assembly, *node, member, false));
    return;
  }
  if (found == nodes.end()) return;
  switch (change.change) {
    case WhatIf::Change::kDrained:
      found->draining = true;
      break;
    case WhatIf::Change::kReleased:
      found->live = false;
      found->keeps_assignments = false;
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

PlannedAssembly::Member PlannedMember(const PlanNode& node, const NodePlan& plan) {
  PlannedAssembly::Member out;
  out.node = NodeUid(node.uid);
  out.assignments.reserve(plan.assignments.size());
  for (const PlanAssignment& assignment : plan.assignments) {
    out.assignments.push_back(Assignment{assignment.shard.value, assignment.generation});
    if (assignment.replaces != 0) {
      out.replaces[assignment.shard.value] = NodeUid(assignment.replaces);
    }
  }
  return out;
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

// At most, of the member's row: the registry fits what is bigger.
size_t RowBytes(const PlannedAssembly::Member& member) {
  return std::min(MemberRowBound(member.assignments, member.replaces), kMaxMemberRowBytes);
}

// A plan that fits one transaction is one ApplyPlan, with the members that change. A larger one is
// staged: rows of all members under a new generation, in several transactions that nobody sees, and
// an ApplyPlan that makes them the assembly's by one row. A crash in between leaves rows that no
// assembly names; the next load removes them.
//
// One ApplyPlan, after as many StagePlans as the plan's size asks for.
std::vector<Command> CommandsFor(std::shared_ptr<const PlannedAssembly> plan) {
  std::vector<Command> commands;
  size_t begin = 0;
  size_t bytes = 0;
  for (size_t i = 0; plan->staged && i < plan->members.size(); ++i) {
    bytes += RowBytes(plan->members[i]);
    const bool last = i + 1 == plan->members.size();
    if (last || i + 1 - begin == kMembersPerCommand || bytes > kMaxBytesPerCommand / 2) {
      commands.push_back(StagePlan{plan, begin, i + 1});
      begin = i + 1;
      bytes = 0;
    }
  }
  const bool staged = plan->staged;
  commands.push_back(ApplyPlan{std::move(plan), staged});
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
  task.first = row.generation() == 0;
  task.present_reasons.assign(row.plan_reasons().begin(), row.plan_reasons().end());
  task.present_blocked = assembly->blocked;
  task.shards = assembly->version().PlanShards();
  task.input.shards = *task.shards;
  task.input.location_zones = assembly->version().location_zones;
  task.input.policy = PolicyOf(row.policy());
  task.input.replicas = row.replicas();
  const bool guarded = registry.leases().IsGuarded();
  task.input.move_budget_bytes = guarded ? 0 : assembly->move_budget_bytes();
  task.input.nodes.reserve(assembly->members().size());
  for (const auto& [name, member] : assembly->members()) {
    task.input.nodes.push_back(
        PlanNodeOf(registry, *assembly, *registry.nodes().FindByUid(member.node), member, guarded));
  }
  for (const WhatIf& change : changes) Suppose(registry, *assembly, change, task.input.nodes);
  const auto open = std::count_if(
      task.input.nodes.begin(), task.input.nodes.end(),
      [](const PlanNode& node) { return node.live && node.selected && !node.draining; });
  if (task.first && open < row.min_nodes()) return std::nullopt;
  return task;
}

absl::StatusOr<std::optional<std::vector<Command>>> MakePlanCommands(PlanTask task) {
  MUSTER_ASSIGN_OR_RETURN(const Plan plan, MakePlan(task.input));
  auto planned = std::make_shared<PlannedAssembly>();
  planned->assembly = task.assembly;
  planned->inputs_version = task.inputs_version;
  for (const Unplaced& unplaced : plan.unplaced) {
    if (planned->reasons.size() == kMaxReasons) break;
    planned->reasons.push_back(ReasonOfUnplaced(unplaced, task.input));
  }
  for (const BlockedMove& move : plan.blocked) planned->blocked.push_back(BlockedOf(move, task));
  planned->added_bytes = plan.added_bytes;
  planned->removed_bytes = plan.removed_bytes;
  planned->moved_bytes = plan.moved_bytes;
  if (!task.first && !plan.changed && SameReasons(planned->reasons, task.present_reasons) &&
      SameBlocked(planned->blocked, task.present_blocked)) {
    return std::nullopt;
  }
  size_t changed = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    if (!plan.nodes[i].changed) continue;
    ++changed;
    bytes += RowBytes(PlannedMember(task.input.nodes[i], plan.nodes[i]));
  }
  // A staged plan replaces all rows of the plan before, so it has every member, changed or not.
  planned->staged = changed > kMembersPerCommand || bytes > kMaxBytesPerCommand / 2;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    if (!plan.nodes[i].changed && !planned->staged) continue;
    planned->members.push_back(PlannedMember(task.input.nodes[i], plan.nodes[i]));
  }
  return CommandsFor(std::move(planned));
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

absl::StatusOr<v1::PlanPreview> PreviewOf(const PlanTask& task) {
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
