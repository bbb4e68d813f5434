// The policies under which nodes ask for shards: FULL and DECLARED, and what
// RANKED shares with them.
//
// Internal to server/placement. Not thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_CLAIMS_H_
#define MUSTER_SERVER_PLACEMENT_CLAIMS_H_

#include <vector>

#include "server/placement/plan_state.h"

namespace muster {

// How far claims other than "any" cover a shard.
struct Coverage {
  bool claimed = false;
  // By a node that stays, be it lost for the moment.
  bool held = false;
  // By a node that is to be left.
  bool held_until_left = false;
  // A node that claims it has no room; the plan says so.
  bool refused = false;
};

// Gives every open node what it claims, all of it or nothing, and names in the plan those that have
// no room for it. By shard.
std::vector<Coverage> CoverClaims(PlanState& state);

// Names the shards that nobody holds, except those that CoverClaims has named already: for an
// assembly where no node has the claim "any".
void ReportGaps(PlanState& state, const std::vector<Coverage>& coverage);

// Every open node gets every shard.
void PlanFull(PlanState& state);

// Every open node gets what it claims; what no live member that stays holds by its claim goes to
// the nodes with the claim "any".
void PlanDeclared(PlanState& state);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_CLAIMS_H_
