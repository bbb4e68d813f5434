// From an assembly's state to a plan, in two steps: an immutable input is taken under the lock, the
// plan is made without it.
//
// Thread-safe: pure functions.
#ifndef MUSTER_SERVER_COMMIT_PLANNING_H_
#define MUSTER_SERVER_COMMIT_PLANNING_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/commit/committer.h"
#include "server/placement/placement.h"
#include "server/registry/registry.h"

namespace muster {

struct PlanTask {
  AssemblyUid assembly;
  uint64_t inputs_version = 0;
  // There is no plan yet, so that even an empty one is worth storing.
  bool first = false;
  std::vector<muster::v1::AssemblyReason> present_reasons;
  std::vector<PlanShard> shards;
  // Its `shards` is set when the plan is made.
  PlanInput input;
};

// What a plan of the assembly has to know; nullopt when it needs none (gone, or too few nodes for
// the first).
std::optional<PlanTask> TakePlanTask(const Registry& registry, AssemblyUid assembly);

// Makes the plan and the commands that bring it in; nullopt when it changes nothing.
absl::StatusOr<std::optional<std::vector<Command>>> MakePlanCommands(PlanTask task);

}  // namespace muster

#endif  // MUSTER_SERVER_COMMIT_PLANNING_H_
