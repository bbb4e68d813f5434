// Says of every node of an assembly why it holds a shard, or why not.
//
// A pure function, like the planner that it asks. Thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_EXPLAIN_H_
#define MUSTER_SERVER_PLACEMENT_EXPLAIN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/placement/plan.h"

namespace muster {

// As AssignmentVerdict.Outcome of muster.v1, by name and number.
enum class VerdictOutcome : uint8_t {
  kUnspecified = 0,
  kHolds = 1,
  kIncoming = 2,
  kLeaving = 3,
  kPossible = 4,
  kRefused = 5,
};

// As AssignmentVerdict.Rule of muster.v1, by name and number.
enum class VerdictRule : uint8_t {
  kUnspecified = 0,
  kSticky = 1,
  kClaimed = 2,
  kEveryNode = 3,
  kLeastLoaded = 4,
  kCached = 5,
  kNearLocation = 6,
  kInRun = 7,
  kMove = 8,
  kEnoughReplicas = 16,
  kNotClaimed = 17,
  kNoRoom = 18,
  kNodeLost = 19,
  kNodeDraining = 20,
  kLabelsDiffer = 21,
  kZoneSpread = 22,
  kFailedHere = 23,
  kOutsideRun = 24,
  // The caller's to give: the assembly waits for nodes, so it has no plan.
  kNoPlan = 25,
  kNotLeastLoaded = 26,
};

struct NodeVerdict {
  // Position in the input.
  size_t node = 0;
  VerdictOutcome outcome = VerdictOutcome::kUnspecified;
  VerdictRule rule = VerdictRule::kUnspecified;
  // One sentence with the names and numbers.
  std::string message;
};

// One verdict per node of the input, in its order. They are about the plan that MakePlan would make
// of this input: what it adds counts as held, and what it refuses is refused by the loads that it
// leaves. Costs as much as that plan.
//
// kInvalidArgument as MakePlan, and for a shard out of range.
absl::StatusOr<std::vector<NodeVerdict>> ExplainShard(const PlanInput& input, ShardIndex shard);

// How many nodes are to have the shard, which must be there, by their claims or by the policy, rather than by the planner's
// choice.
uint32_t CountClaimants(const PlanInput& input, ShardIndex shard);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_EXPLAIN_H_
