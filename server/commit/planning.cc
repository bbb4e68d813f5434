#include "server/commit/planning.h"

#include <memory>
#include <utility>

#include "absl/numeric/int128.h"
#include "absl/strings/strip.h"
#include "server/registry/limits.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

// ApplyPlan writes the assembly's row, the revision's and a range delete besides the members'.
constexpr size_t kMembersPerCommand = kMaxRowsPerCommand - 8;
// An assignment takes at most about this many bytes of its row: two numbers of a run.
constexpr size_t kBytesPerAssignment = 6;

PlacementPolicy PolicyOf(v1::Assembly::Policy policy) {
  switch (policy) {
    case v1::Assembly::DECLARED:
      return PlacementPolicy::kDeclared;
    case v1::Assembly::FULL:
      return PlacementPolicy::kFull;
    case v1::Assembly::CONTIGUOUS:
      return PlacementPolicy::kContiguous;
    case v1::Assembly::RANKED:
      return PlacementPolicy::kRanked;
    default:
      return PlacementPolicy::kBalanced;
  }
}

PlanClaim ClaimOf(const v1::Claim& claim) {
  PlanClaim out;
  switch (claim.kind()) {
    case v1::Claim::ALL:
      out.kind = PlanClaim::Kind::kAll;
      break;
    case v1::Claim::SHARDS:
      out.kind = PlanClaim::Kind::kShards;
      break;
    case v1::Claim::RANKS:
      out.kind = PlanClaim::Kind::kRanks;
      break;
    default:
      out.kind = PlanClaim::Kind::kAny;
  }
  for (const uint32_t shard : claim.shards()) out.shards.push_back(ShardIndex(shard));
  out.ranks.assign(claim.ranks().begin(), claim.ranks().end());
  return out;
}

PlanNode PlanNodeOf(const Node& node, const Assembly::Member& member) {
  PlanNode out;
  out.uid = node.uid.value;
  out.name = std::string(absl::StripPrefix(node.row.name(), "nodes/"));
  out.zone = node.row.zone();
  out.capacity_bytes = node.row.capacity_bytes();
  out.used_bytes = node.assigned_bytes - member.assigned_bytes;
  out.live = node.live();
  out.keeps_assignments = !node.row.released();
  out.claim = ClaimOf(member.claim);
  out.present.reserve(member.assignments.size());
  for (const Assignment& assignment : member.assignments) {
    out.present.push_back(PlanAssignment{ShardIndex(assignment.shard), assignment.generation});
  }
  return out;
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
  }
  return out;
}

// One ApplyPlan, after as many StagePlans as the plan's size asks for.
std::vector<Command> CommandsFor(std::shared_ptr<const PlannedAssembly> plan) {
  std::vector<Command> commands;
  size_t begin = 0;
  size_t bytes = 0;
  for (size_t i = 0; plan->staged && i < plan->members.size(); ++i) {
    bytes += plan->members[i].assignments.size() * kBytesPerAssignment;
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
  const Assembly* assembly = registry.assemblies().FindByUid(uid);
  if (assembly == nullptr || !assembly->WantsPlan()) return std::nullopt;
  PlanTask task;
  task.assembly = uid;
  task.inputs_version = assembly->inputs_version();
  task.first = assembly->row().generation() == 0;
  task.present_reasons.assign(assembly->row().plan_reasons().begin(),
                              assembly->row().plan_reasons().end());
  for (const Version::Shard& shard : assembly->version().shards) {
    PlanShard out;
    out.size_bytes = shard.size_bytes;
    out.content = ContentId{absl::Uint128High64(shard.content), absl::Uint128Low64(shard.content)};
    task.shards.push_back(out);
  }
  task.input.policy = PolicyOf(assembly->row().policy());
  task.input.replicas = assembly->row().replicas();
  for (const auto& [name, member] : assembly->members()) {
    task.input.nodes.push_back(PlanNodeOf(*registry.nodes().FindByUid(member.node), member));
  }
  return task;
}

absl::StatusOr<std::optional<std::vector<Command>>> MakePlanCommands(PlanTask task) {
  task.input.shards = task.shards;
  MUSTER_ASSIGN_OR_RETURN(const Plan plan, MakePlan(task.input));
  auto planned = std::make_shared<PlannedAssembly>();
  planned->assembly = task.assembly;
  planned->inputs_version = task.inputs_version;
  for (const Unplaced& unplaced : plan.unplaced) {
    if (planned->reasons.size() == kMaxReasons) break;
    planned->reasons.push_back(ReasonOfUnplaced(unplaced, task.input));
  }
  if (!task.first && !plan.changed && SameReasons(planned->reasons, task.present_reasons)) {
    return std::nullopt;
  }
  size_t changed = 0;
  size_t bytes = 0;
  for (const NodePlan& node : plan.nodes) {
    if (!node.changed) continue;
    ++changed;
    bytes += node.assignments.size() * kBytesPerAssignment;
  }
  planned->staged = changed > kMembersPerCommand || bytes > kMaxBytesPerCommand / 2;
  for (size_t i = 0; i < plan.nodes.size(); ++i) {
    if (!plan.nodes[i].changed && !planned->staged) continue;
    planned->members.push_back(PlannedMember(task.input.nodes[i], plan.nodes[i]));
  }
  return CommandsFor(std::move(planned));
}

}  // namespace muster
