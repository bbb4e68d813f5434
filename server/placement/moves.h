// Moves of replicas that are made before they are broken, and replicas that leave without one.
//
// Internal to server/placement. Not thread-safe.
#ifndef MUSTER_SERVER_PLACEMENT_MOVES_H_
#define MUSTER_SERVER_PLACEMENT_MOVES_H_

#include <cstdint>
#include <vector>

#include "server/placement/plan_state.h"

namespace muster {

// Ends the present moves that can end, and notes those that go on in the state.
// 1. The replica to be replaced is gone: the other one takes its place at once.
// 2. The other one is ready on a live node: the old one is dropped. If its node is to be left in
//    turn while the old one is ready on a node that stays, the move is undone instead.
// 3. The other one is not ready, and its node is to be left: the move is given up.
// Any other move goes on, also when its cause has gone: what was fetched so far would be lost.
void SettleMoves(PlanState& state);

// For shards that belong to the nodes that claim them: what is on a node that is to be left goes
// once a live node that stays has it ready; the plan names what can't go yet. Shards of `elsewhere`
// (by index; may be empty) are left alone, and so are those with a move under way.
void LeaveByClaims(PlanState& state, const std::vector<bool>& elsewhere);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_MOVES_H_
