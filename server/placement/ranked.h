// RANKED: a node gets all shards of the ranks that it claims; whole ranks that no node claims go to
// the nodes with the claim "any".
//
// Internal to server/placement. Not thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_RANKED_H_
#define MUSTER_SERVER_PLACEMENT_RANKED_H_

#include "server/placement/plan_state.h"

namespace muster {

// Every shard must have a rank. A rank that no node claims has one node, its home, which keeps it.
void PlanRanked(PlanState& state);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_RANKED_H_
