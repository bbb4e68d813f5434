// Hands out a pool of shards: BALANCED as a whole, and the gaps under DECLARED.
//
// Internal to server/placement. Not thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_POOL_PLAN_H_
#define MUSTER_SERVER_PLACEMENT_POOL_PLAN_H_

#include <cstdint>
#include <vector>

#include "server/placement/plan_state.h"

namespace muster {

// Places what is missing, makes room for what is too large, starts the moves that drains, failures
// and uneven loads ask for, and names in the plan what can't be placed and what can't leave.
//
// `members` by uid; those that are not open only hold. `shards` ascending.
void PlanPool(PlanState& state, const std::vector<NodeIndex>& members,
              const std::vector<uint32_t>& shards);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_POOL_PLAN_H_
