#include "server/placement/explain.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "server/placement/placement.h"
#include "server/placement/plan_state.h"
#include "server/placement/shortage.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// The plan's outcome for one shard.
class ShardAfterPlan {
 public:
  ShardAfterPlan(const PlanInput& input, const Plan& plan, const PlanState& after, uint32_t shard)
      : input_(input), policy_(TraitsOf(input.policy)), plan_(plan), after_(after), shard_(shard) {
    for (const NodeIndex node : after.order()) {
      if (after.node(node).open && Pooled(node)) open_zones_.insert(input.nodes[node].zone);
      const PlanAssignment* kept = after.FindKept(node, shard);
      if (kept == nullptr) continue;
      if (kept->replaces == 0) holders_.push_back(node);
      if (kept->replaces != 0) incoming_.push_back(node);
    }
  }

  NodeVerdict VerdictOf(NodeIndex node) const;

 private:
  using Outcome = VerdictOutcome;
  using Rule = VerdictRule;

  NodeVerdict Make(NodeIndex node, Outcome outcome, Rule rule, std::string message) const {
    return {node, outcome, rule, std::move(message)};
  }
  NodeVerdict Held(NodeIndex node) const;
  NodeVerdict Stays(NodeIndex node) const;
  NodeVerdict JustAdded(NodeIndex node) const;
  std::optional<NodeVerdict> Closed(NodeIndex node) const;
  std::optional<NodeVerdict> OutsideRun(NodeIndex node) const;
  std::optional<NodeVerdict> RefusedByPolicy(NodeIndex node) const;
  NodeVerdict Missing(NodeIndex node) const;

  // "shard 7 (12.4 GiB)".
  std::string What() const {
    return absl::StrCat("shard ", shard_, " (", FormatBytes(after_.size_of(shard_)), ")");
  }
  const std::string& Name(NodeIndex node) const { return input_.nodes[node].name; }
  std::string Names(const std::vector<NodeIndex>& nodes) const {
    return absl::StrJoin(nodes, ", ",
                         [&](std::string* out, NodeIndex node) { out->append(Name(node)); });
  }
  // "1.0 GiB of 4.0 GiB are assigned".
  std::string Load(NodeIndex node) const;
  const PlanAssignment* Present(NodeIndex node) const;
  // The node that takes the node's replica over, or kNobody.
  NodeIndex Successor(NodeIndex node) const;
  bool Pooled(NodeIndex node) const;
  bool AnyClaimHolds() const;
  uint32_t Wanted() const { return std::max<uint32_t>(1, input_.replicas); }

  const PlanInput& input_;
  const PolicyTraits& policy_;
  const Plan& plan_;
  const PlanState& after_;
  uint32_t shard_;
  std::set<std::string> open_zones_;
  // Of ordinary replicas, and of those that are to replace one; by uid.
  std::vector<NodeIndex> holders_;
  std::vector<NodeIndex> incoming_;
};

std::string ShardAfterPlan::Load(NodeIndex node) const {
  const uint64_t capacity_bytes = input_.nodes[node].capacity_bytes;
  const std::string load = FormatBytes(after_.node(node).load_bytes);
  if (capacity_bytes == 0) return absl::StrCat(load, " are assigned there, without a bound");
  return absl::StrCat(load, " of ", FormatBytes(capacity_bytes), " are assigned there");
}

const PlanAssignment* ShardAfterPlan::Present(NodeIndex node) const {
  for (const PlanAssignment& assignment : input_.nodes[node].present) {
    if (assignment.shard.value == shard_) return &assignment;
  }
  return nullptr;
}

NodeIndex ShardAfterPlan::Successor(NodeIndex node) const {
  for (const NodeIndex candidate : incoming_) {
    if (after_.FindKept(candidate, shard_)->replaces == input_.nodes[node].uid) return candidate;
  }
  return kNobody;
}

// Whether the node gets shards by the planner's choice rather than by its claim.
bool ShardAfterPlan::Pooled(NodeIndex node) const {
  return after_.ClaimOf(node) == ClaimKind::kAny;
}

bool ShardAfterPlan::AnyClaimHolds() const {
  return std::any_of(holders_.begin(), holders_.end(), [&](NodeIndex node) {
    return after_.Claims(node, shard_) && !after_.node(node).leaving;
  });
}

NodeVerdict ShardAfterPlan::JustAdded(NodeIndex node) const {
  const PlanNode& from = input_.nodes[node];
  if (input_.policy == PlacementPolicy::kContiguous) {
    return Make(node, Outcome::kHolds, Rule::kInRun,
                absl::StrCat(What(), " is added to the run of ", from.name));
  }
  if (std::binary_search(from.cached.begin(), from.cached.end(), ShardIndex(shard_))) {
    return Make(node, Outcome::kHolds, Rule::kCached,
                absl::StrCat("the cache of ", from.name, " has ", What()));
  }
  const PlanShard& shard = input_.shards[shard_];
  if (shard.location_zones < input_.location_zones.size()) {
    const std::vector<std::string>& zones = input_.location_zones[shard.location_zones];
    if (std::binary_search(zones.begin(), zones.end(), from.zone)) {
      return Make(node, Outcome::kHolds, Rule::kNearLocation,
                  absl::StrCat(What(), " has a location in zone ", from.zone, " of ", from.name));
    }
  }
  return Make(node, Outcome::kHolds, Rule::kLeastLoaded,
              absl::StrCat(from.name, " was the least loaded node that may take ", What(), "; ",
                           Load(node)));
}

NodeVerdict ShardAfterPlan::Stays(NodeIndex node) const {
  const std::string& name = Name(node);
  if (policy_.holds_all) {
    return Make(
        node, Outcome::kHolds, Rule::kEveryNode,
        absl::StrCat("under ", policy_.name, " every member holds ", What(), ", ", name, " too"));
  }
  if (!Pooled(node)) {
    return Make(node, Outcome::kHolds, Rule::kClaimed, absl::StrCat(name, " claims ", What()));
  }
  if (Present(node) == nullptr) return JustAdded(node);
  if (input_.policy == PlacementPolicy::kContiguous) {
    return Make(node, Outcome::kHolds, Rule::kInRun,
                absl::StrCat(What(), " lies in the run of ", name));
  }
  return Make(node, Outcome::kHolds, Rule::kSticky,
              absl::StrCat(name, " has ", What(), " already, and keeps it"));
}

NodeVerdict ShardAfterPlan::Held(NodeIndex node) const {
  const std::string& name = Name(node);
  const NodeIndex successor = Successor(node);
  if (!after_.node(node).leaving && successor == kNobody) return Stays(node);
  std::string message = absl::StrCat(name, " holds ", What(), " until ");
  if (successor != kNobody) {
    absl::StrAppend(&message, Name(successor), " has it READY");
  } else {
    absl::StrAppend(&message, "another node has it READY");
    for (const BlockedMove& blocked : plan_.blocked) {
      const bool about =
          blocked.node == node &&
          std::binary_search(blocked.shards.begin(), blocked.shards.end(), ShardIndex(shard_));
      if (about) absl::StrAppend(&message, "; ", blocked.message);
    }
  }
  Rule rule = Rule::kMove;
  if (!input_.nodes[node].selected) rule = Rule::kLabelsDiffer;
  if (input_.nodes[node].draining) rule = Rule::kNodeDraining;
  return Make(node, Outcome::kLeaving, rule, std::move(message));
}

// By what the node is, whatever the shard.
std::optional<NodeVerdict> ShardAfterPlan::Closed(NodeIndex node) const {
  const PlanNode& from = input_.nodes[node];
  if (!from.live) {
    return Make(node, Outcome::kRefused, Rule::kNodeLost,
                absl::StrCat("the lease of ", from.name, " ran out"));
  }
  if (from.draining) {
    return Make(node, Outcome::kRefused, Rule::kNodeDraining,
                absl::StrCat(from.name, " is being drained"));
  }
  if (!from.selected) {
    return Make(node, Outcome::kRefused, Rule::kLabelsDiffer,
                absl::StrCat("the labels of ", from.name, " don't fit the assembly's selector"));
  }
  return std::nullopt;
}

std::optional<NodeVerdict> ShardAfterPlan::OutsideRun(NodeIndex node) const {
  const std::vector<PlanAssignment>& kept = after_.node(node).kept;
  if (kept.empty()) return std::nullopt;
  const uint32_t first = kept.front().shard.value;
  const uint32_t last = kept.back().shard.value;
  return Make(node, Outcome::kRefused, Rule::kOutsideRun,
              first == last
                  ? absl::StrCat("the run of ", Name(node), " is shard ", first, " only")
                  : absl::StrCat("the run of ", Name(node), " is shards ", first, " to ", last));
}

std::optional<NodeVerdict> ShardAfterPlan::RefusedByPolicy(NodeIndex node) const {
  const PlanNode& from = input_.nodes[node];
  if (!Pooled(node)) {
    if (after_.Claims(node, shard_)) return std::nullopt;
    return Make(node, Outcome::kRefused, Rule::kNotClaimed,
                absl::StrCat(from.name, " does not claim shard ", shard_));
  }
  if (input_.policy == PlacementPolicy::kContiguous) return OutsideRun(node);
  // A single replica has no other one to keep away from.
  const bool spread = policy_.has_replicas && Wanted() > 1 && open_zones_.size() >= Wanted();
  if (spread && !AnyClaimHolds()) {
    std::vector<NodeIndex> all = holders_;
    all.insert(all.end(), incoming_.begin(), incoming_.end());
    for (const NodeIndex other : all) {
      if (input_.nodes[other].zone != from.zone || !Pooled(other)) continue;
      if (after_.node(other).leaving) continue;
      return Make(node, Outcome::kRefused, Rule::kZoneSpread,
                  absl::StrCat(Name(other), " holds ", What(), " in zone ", from.zone, " of ",
                               from.name, " already"));
    }
  }
  return std::nullopt;
}

NodeVerdict ShardAfterPlan::Missing(NodeIndex node) const {
  if (Present(node) != nullptr && after_.input().nodes[node].keeps_assignments) {
    return Make(node, Outcome::kLeaving, Rule::kMove,
                absl::StrCat(Name(node), " no longer needs ", What(), ": ", Names(holders_),
                             holders_.size() == 1 ? " holds it" : " hold it"));
  }
  if (std::optional<NodeVerdict> closed = Closed(node)) return *std::move(closed);
  if (std::optional<NodeVerdict> refused = RefusedByPolicy(node)) return *std::move(refused);
  if (after_.Claims(node, shard_)) {
    const PlanShortage shortage{after_.MissingClaimBytes(node), after_.FreeBytes(node)};
    if (shortage.needed_bytes > shortage.free_bytes) {
      return Make(
          node, Outcome::kRefused, Rule::kNoRoom,
          absl::StrCat(Name(node), " ", FormatShortage(shortage), "; it gets all of them or none"));
    }
  }
  const uint64_t cost = after_.CostOn(node, shard_);
  if (cost > after_.FreeBytes(node)) {
    return Make(
        node, Outcome::kRefused, Rule::kNoRoom,
        absl::StrCat("shard ", shard_, " ", FormatNeed(cost, after_.FreeBytes(node), Name(node))));
  }
  if (after_.Unfit(node, shard_)) {
    return Make(node, Outcome::kRefused, Rule::kFailedHere,
                absl::StrCat(What(), " failed on ", Name(node), " too often"));
  }
  if (!holders_.empty()) {
    return Make(node, Outcome::kPossible, Rule::kEnoughReplicas,
                absl::StrCat(Name(node), " could take ", What(), ", but it is enough that ",
                             Names(holders_), holders_.size() == 1 ? " holds it; " : " hold it; ",
                             Load(node)));
  }
  return Make(node, Outcome::kPossible, Rule::kNotLeastLoaded,
              absl::StrCat(Name(node), " could take ", What(), "; ", Load(node)));
}

NodeVerdict ShardAfterPlan::VerdictOf(NodeIndex node) const {
  const PlanAssignment* kept = after_.FindKept(node, shard_);
  if (kept == nullptr) return Missing(node);
  if (kept->replaces == 0) return Held(node);
  std::string source = "another node";
  for (const NodeIndex holder : holders_) {
    if (input_.nodes[holder].uid == kept->replaces) source = Name(holder);
  }
  return Make(node, Outcome::kIncoming, Rule::kMove,
              absl::StrCat(Name(node), " fetches ", What(), " to take it over from ", source));
}

}  // namespace

uint32_t CountClaimants(const PlanInput& input, ShardIndex shard) {
  uint32_t count = 0;
  for (const PlanNode& node : input.nodes) {
    const ClaimKind meaning = MeaningOf(input.policy, node.claim.kind);
    std::vector<uint32_t> numbers = node.claim.ranks;
    if (meaning == ClaimKind::kShards) {
      numbers.clear();
      for (const ShardIndex claimed : node.claim.shards) numbers.push_back(claimed.value);
    }
    std::sort(numbers.begin(), numbers.end());
    if (Covers(meaning, numbers, shard.value, input.shards[shard.value].rank)) ++count;
  }
  return count;
}

absl::StatusOr<std::vector<NodeVerdict>> ExplainShard(const PlanInput& input, ShardIndex shard) {
  MUSTER_ASSIGN_OR_RETURN(const Plan plan, MakePlan(input));
  if (shard.value >= input.shards.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no shard ", shard.value, "; the model version has ", input.shards.size()));
  }
  PlanInput planned = input;
  for (size_t i = 0; i < planned.nodes.size(); ++i) {
    planned.nodes[i].present = plan.nodes[i].assignments;
    for (PlanAssignment& assignment : planned.nodes[i].present) {
      // Any number but that of a plan under way will do.
      if (assignment.generation == kNewGeneration) assignment.generation = Generation(1);
    }
  }
  MUSTER_ASSIGN_OR_RETURN(const PlanState after, PlanState::Create(planned));
  const ShardAfterPlan outcome(input, plan, after, shard.value);
  std::vector<NodeVerdict> verdicts;
  verdicts.reserve(input.nodes.size());
  for (NodeIndex node = 0; node < input.nodes.size(); ++node) {
    verdicts.push_back(outcome.VerdictOf(node));
  }
  return verdicts;
}

}  // namespace muster
