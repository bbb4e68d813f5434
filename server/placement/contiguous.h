// CONTIGUOUS: each node gets one run of consecutive shards, and the runs cover
// every shard R times.
//
// Internal to server/placement. Not thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_CONTIGUOUS_H_
#define MUSTER_SERVER_PLACEMENT_CONTIGUOUS_H_

#include "server/placement/plan_state.h"

namespace muster {

// R tilings of the shards by runs, each node in one of them. What is present says what the tilings
// are: a node's run is the largest stretch that it is to have once the moves under way have ended.
// Holes go to nodes without a run and to the neighbours; then runs are shifted at their ends,
// within the move budget, while the loads are uneven.
void PlanContiguous(PlanState& state);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_CONTIGUOUS_H_
