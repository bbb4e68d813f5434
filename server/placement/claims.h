// The policies under which nodes ask for shards: FULL, DECLARED and RANKED.
//
// Internal to server/placement. Not thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_CLAIMS_H_
#define MUSTER_SERVER_PLACEMENT_CLAIMS_H_

#include "server/placement/plan_state.h"

namespace muster {

// Every open node gets every shard.
void PlanFull(PlanState& state);

// Every open node gets what it claims; what no live member that stays holds by its claim goes to
// the nodes with the claim "any".
void PlanDeclared(PlanState& state);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_CLAIMS_H_
