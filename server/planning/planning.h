// From an assembly's state to a plan, in two steps: an immutable input is taken under the lock, the
// plan is made without it.
//
// Thread-safe: pure functions.
#ifndef MUSTER_SERVER_PLANNING_PLANNING_H_
#define MUSTER_SERVER_PLANNING_PLANNING_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/commit/committer.h"
#include "server/placement/plan.h"
#include "server/registry/registry.h"

namespace muster {

struct PlanTask {
  AssemblyUid assembly;
  uint64_t inputs_version = 0;
  uint64_t base = 0;
  // There is no plan yet, so that even an empty one is worth storing.
  bool first = false;
  // For messages: "assemblies/demo".
  std::string name;
  std::vector<muster::v1::AssemblyReason> present_reasons;
  std::vector<PlannedAssembly::Blocked> present_blocked;
  // What `input.shards` points into.
  std::shared_ptr<const std::vector<PlanShard>> shards;
  PlanInput input;
};

// Something that might happen to a node, to see what a plan would make of it.
struct WhatIf {
  enum class Change : uint8_t { kDrained, kReleased, kGone, kJoined };
  Change change = Change::kDrained;
  NodeUid node;
  // Of kJoined.
  muster::v1::Claim claim = {};
};

// What a plan of the assembly has to know; nullopt when it needs none (gone, or too few nodes for
// the first).
std::optional<PlanTask> TakePlanTask(const Registry& registry, AssemblyUid assembly);
// The same as if all of `changes` had happened; those of nodes that are not concerned do nothing.
std::optional<PlanTask> TakePlanTask(const Registry& registry, AssemblyUid assembly,
                                     absl::Span<const WhatIf> changes);

// Makes the plan and the commands that bring it in; nullopt when it changes nothing.
absl::StatusOr<std::optional<std::vector<Command>>> MakePlanCommands(PlanTask task);

// Makes the plan and says what it would change.
absl::StatusOr<muster::v1::PlanPreview> PreviewOf(const PlanTask& task);

}  // namespace muster

#endif  // MUSTER_SERVER_PLANNING_PLANNING_H_
