#include "server/placement/placement.h"

#include <numeric>

#include "server/placement/claims.h"
#include "server/placement/contiguous.h"
#include "server/placement/moves.h"
#include "server/placement/plan_state.h"
#include "server/placement/pool_plan.h"
#include "server/placement/ranked.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

void PlanBalanced(PlanState& state) {
  std::vector<uint32_t> shards(state.shard_count());
  std::iota(shards.begin(), shards.end(), 0);
  PlanPool(state, state.order(), shards);
}

}  // namespace

absl::StatusOr<Plan> MakePlan(const PlanInput& input) {
  MUSTER_ASSIGN_OR_RETURN(PlanState state, PlanState::Create(input));
  SettleMoves(state);
  switch (input.policy) {
    case PlacementPolicy::kDeclared:
      PlanDeclared(state);
      break;
    case PlacementPolicy::kFull:
      PlanFull(state);
      break;
    case PlacementPolicy::kBalanced:
      PlanBalanced(state);
      break;
    case PlacementPolicy::kContiguous:
      PlanContiguous(state);
      break;
    case PlacementPolicy::kRanked:
      PlanRanked(state);
      break;
  }
  return state.Finish();
}

}  // namespace muster
