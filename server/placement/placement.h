// Decides which node of an assembly gets which shards.
//
// A pure function: no clock, no I/O, no state. The same input gives the same plan, also when the
// nodes come in another order. Planning on a plan's own output changes nothing; once replicas on the
// move have become ready, it ends those moves and starts the next ones. Thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_PLACEMENT_H_
#define MUSTER_SERVER_PLACEMENT_PLACEMENT_H_

#include "absl/status/statusor.h"
#include "server/placement/plan.h"

namespace muster {

// Makes a plan.
//
// kInvalidArgument for an input that contradicts itself: a node uid or a present shard twice, a
// shard index out of range, a present assignment of kNewGeneration, a shard without a rank where the
// policy needs it.
absl::StatusOr<Plan> MakePlan(const PlanInput& input);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_PLACEMENT_H_
