#include "server/rpc/explain.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/placement/explain.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/placement_policy.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using Verdict = v1::AssignmentVerdict;

// The planner's enums have the numbers of the API's.
static_assert(static_cast<int>(VerdictOutcome::kHolds) == Verdict::HOLDS);
static_assert(static_cast<int>(VerdictOutcome::kIncoming) == Verdict::INCOMING);
static_assert(static_cast<int>(VerdictOutcome::kLeaving) == Verdict::LEAVING);
static_assert(static_cast<int>(VerdictOutcome::kPossible) == Verdict::POSSIBLE);
static_assert(static_cast<int>(VerdictOutcome::kRefused) == Verdict::REFUSED);
static_assert(static_cast<int>(VerdictRule::kSticky) == Verdict::STICKY);
static_assert(static_cast<int>(VerdictRule::kClaimed) == Verdict::CLAIMED);
static_assert(static_cast<int>(VerdictRule::kEveryNode) == Verdict::EVERY_NODE);
static_assert(static_cast<int>(VerdictRule::kLeastLoaded) == Verdict::LEAST_LOADED);
static_assert(static_cast<int>(VerdictRule::kCached) == Verdict::CACHED);
static_assert(static_cast<int>(VerdictRule::kNearLocation) == Verdict::NEAR_LOCATION);
static_assert(static_cast<int>(VerdictRule::kInRun) == Verdict::IN_RUN);
static_assert(static_cast<int>(VerdictRule::kMove) == Verdict::MOVE);
static_assert(static_cast<int>(VerdictRule::kEnoughReplicas) == Verdict::ENOUGH_REPLICAS);
static_assert(static_cast<int>(VerdictRule::kNotClaimed) == Verdict::NOT_CLAIMED);
static_assert(static_cast<int>(VerdictRule::kNoRoom) == Verdict::NO_ROOM);
static_assert(static_cast<int>(VerdictRule::kNodeLost) == Verdict::NODE_LOST);
static_assert(static_cast<int>(VerdictRule::kNodeDraining) == Verdict::NODE_DRAINING);
static_assert(static_cast<int>(VerdictRule::kLabelsDiffer) == Verdict::LABELS_DIFFER);
static_assert(static_cast<int>(VerdictRule::kZoneSpread) == Verdict::ZONE_SPREAD);
static_assert(static_cast<int>(VerdictRule::kFailedHere) == Verdict::FAILED_HERE);
static_assert(static_cast<int>(VerdictRule::kOutsideRun) == Verdict::OUTSIDE_RUN);
static_assert(static_cast<int>(VerdictRule::kNoPlan) == Verdict::NO_PLAN);
static_assert(static_cast<int>(VerdictRule::kNotLeastLoaded) == Verdict::NOT_LEAST_LOADED);

bool Holds(Verdict::Outcome outcome) {
  return outcome == Verdict::HOLDS || outcome == Verdict::INCOMING || outcome == Verdict::LEAVING;
}

// How many nodes the policy wants to hold the shard.
uint32_t ReplicasWanted(const ExplainTask& task) {
  const uint32_t replicas = std::max(task.replicas, 1u);
  if (!task.plan.has_value()) return replicas;
  const PlanInput& input = task.plan->input;
  const uint32_t claimants = CountClaimants(input, ShardIndex(task.status.shard()));
  return claimants == 0 && TraitsOf(input.policy).has_replicas ? replicas : claimants;
}

// Why there is no plan, as the assembly says it.
std::string WaitingFor(const v1::Assembly& assembly) {
  std::string waiting;
  for (const v1::AssemblyReason& reason : assembly.reasons()) {
    if (reason.code() != v1::AssemblyReason::TOO_FEW_NODES &&
        reason.code() != v1::AssemblyReason::TOO_BIG &&
        reason.code() != v1::AssemblyReason::PLAN_FAILED) {
      continue;
    }
    absl::StrAppend(&waiting, waiting.empty() ? "" : "; ", reason.message());
  }
  return waiting.empty() ? "the first plan is being made" : waiting;
}

ExplainTask::Member MemberOf(const Node& node) {
  return {node.row.name(), node.row.zone(), node.assigned_bytes, node.row.capacity_bytes()};
}

// The planner's verdicts by the nodes' full names; empty while there is no plan.
absl::StatusOr<std::map<std::string, NodeVerdict>> VerdictsOf(const ExplainTask& task) {
  std::map<std::string, NodeVerdict> by_node;
  if (!task.plan.has_value()) return by_node;
  MUSTER_ASSIGN_OR_RETURN(std::vector<NodeVerdict> verdicts,
                          ExplainShard(task.plan->input, ShardIndex(task.status.shard())));
  for (NodeVerdict& verdict : verdicts) {
    const std::string name = NodeName(task.plan->input.nodes[verdict.node].name);
    by_node[name] = std::move(verdict);
  }
  return by_node;
}

Verdict Describe(const ExplainTask::Member& member) {
  Verdict out;
  out.set_node(member.node);
  out.set_zone(member.zone);
  out.set_assigned_bytes(member.assigned_bytes);
  out.set_capacity_bytes(member.capacity_bytes);
  return out;
}

}  // namespace

absl::StatusOr<ExplainTask> TakeExplainTask(const Registry& registry,
                                            const v1::ExplainAssignmentRequest& request,
                                            v1::GetShardStatusResponse status) {
  MUSTER_ASSIGN_OR_RETURN(const Assembly* assembly, registry.assemblies().Find(request.name()));
  ExplainTask task;
  task.status = std::move(status);
  task.replicas = assembly->row().replicas();
  task.generation = assembly->row().generation();
  task.selector = SelectorText(assembly->row().node_selector());
  task.plan = TakePlanTask(registry, assembly->uid());
  if (!task.plan.has_value()) task.waiting = WaitingFor(registry.DescribeAssembly(*assembly));
  if (!request.node().empty()) {
    MUSTER_ASSIGN_OR_RETURN(const Node* node, registry.nodes().Find(request.node()));
    if (assembly->FindMember(request.node()) == nullptr) {
      return MakeError(absl::StatusCode::kNotFound, reasons::kMemberUnknown,
                       absl::StrCat(request.node(), " has not joined ", request.name()),
                       {{"node", request.node()}, {"name", request.name()}});
    }
    task.members.push_back(MemberOf(*node));
    return task;
  }
  for (const auto& [name, member] : assembly->members()) {
    task.members.push_back(MemberOf(*registry.nodes().FindByUid(member.node)));
  }
  return task;
}

absl::Status FillExplanation(ExplainTask task, v1::ExplainAssignmentResponse& out) {
  if (task.plan.has_value()) CompleteInput(*task.plan);
  absl::StatusOr<std::map<std::string, NodeVerdict>> planned_verdicts = VerdictsOf(task);
  // A plan that can't be made is an answer to why the shard is on no node.
  const std::string waiting =
      planned_verdicts.ok()
          ? task.waiting
          : absl::StrCat("no plan can be made: ", planned_verdicts.status().message());
  if (!planned_verdicts.ok()) planned_verdicts.emplace();
  const std::map<std::string, NodeVerdict>& verdicts = *planned_verdicts;
  std::map<std::string, const v1::ShardReplica*> replicas;
  for (const v1::ShardReplica& replica : task.status.replicas()) {
    replicas[replica.node()] = &replica;
  }
  std::vector<Verdict> found;
  for (const ExplainTask::Member& member : task.members) {
    Verdict verdict = Describe(member);
    const auto planned = verdicts.find(member.node);
    if (planned == verdicts.end()) {
      verdict.set_outcome(Verdict::REFUSED);
      verdict.set_rule(Verdict::NO_PLAN);
      verdict.set_message(absl::StrCat("there is no plan yet: ", waiting));
    } else {
      verdict.set_outcome(static_cast<Verdict::Outcome>(planned->second.outcome));
      verdict.set_rule(static_cast<Verdict::Rule>(planned->second.rule));
      verdict.set_message(planned->second.message);
      if (verdict.rule() == Verdict::LABELS_DIFFER) {
        absl::StrAppend(verdict.mutable_message(), "; the selector is ", task.selector);
      }
    }
    const auto replica = replicas.find(member.node);
    if (replica != replicas.end()) *verdict.mutable_replica() = *replica->second;
    found.push_back(std::move(verdict));
  }
  std::stable_partition(found.begin(), found.end(),
                        [](const Verdict& verdict) { return Holds(verdict.outcome()); });
  for (Verdict& verdict : found) {
    if (out.nodes_size() == kMaxMembersShown) break;
    *out.add_nodes() = std::move(verdict);
  }
  out.set_shard(task.status.shard());
  out.set_size_bytes(task.status.size_bytes());
  out.set_replicas_wanted(ReplicasWanted(task));
  out.set_generation(task.generation);
  return absl::OkStatus();
}

}  // namespace muster
