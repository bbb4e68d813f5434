// How big the rows of one member may get, told before anything is changed: the store refuses a row that is too big, and
// a server whose store refuses a write has to stop.
#ifndef MUSTER_SERVER_REGISTRY_MEMBER_ROWS_H_
#define MUSTER_SERVER_REGISTRY_MEMBER_ROWS_H_

#include <cstddef>
#include <vector>

#include "server/registry/change.h"
#include "server/registry/planned_assembly.h"
#include "server/registry/uid.h"

namespace muster {

// No AssignmentRow of these is bigger, nor the READY part of any ReadinessRow that belongs to them.
size_t MemberRowBound(const std::vector<Assignment>& assignments, const Replacements& replaces);

// Makes a planned member's row fit: MemberRowBound is at most kMaxMemberRowBytes afterwards.
//
// Where too many generations came together all assignments get `generation`, that of the plan: the
// node reports them again, from its cache. Where that is not enough, some of the replicas that are
// part of a move are left to a later plan; nothing is lost by it, as what they replace stays.
void FitIntoRows(Generation generation, std::vector<Assignment>& assignments,
                 Replacements& replaces);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_MEMBER_ROWS_H_
