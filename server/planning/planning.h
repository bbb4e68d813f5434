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
#include "server/registry/shared_list.h"

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
  // Its nodes come with CompleteInput only.
  PlanInput input;

  // What another assembly has on a node.
  struct Other {
    VersionUid version;
    std::shared_ptr<const std::vector<PlanShard>> shards;
    SharedList<Assignment> assignments;
    uint64_t assigned_bytes = 0;
  };
  // A node as it was taken: lists are shared, not copied, so that the lock is held for as long as
  // there are members, not assignments.
  struct TakenNode {
    // Without the lists.
    PlanNode node;
    VersionUid version;
    SharedList<Assignment> assignments;
    std::vector<uint8_t> states;
    Replacements replaces;
    SharedList<uint32_t> cached;
    std::vector<ShardIndex> unfit;
    std::vector<Other> others;
    std::optional<PlanShortage> shortage;
  };
  std::vector<TakenNode> taken;
  // Of the input's nodes, once they are there: what the present plan says.
  std::vector<std::optional<PlanShortage>> present_shortages;
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

// Works the input's nodes out of what was taken, as the functions below do first; needs no lock.
void CompleteInput(PlanTask& task);

// Makes the plan and the commands that bring it in; nullopt when it changes nothing.
absl::StatusOr<std::optional<std::vector<Command>>> MakePlanCommands(PlanTask task);

// Makes the plan and says what it would change.
absl::StatusOr<muster::v1::PlanPreview> PreviewOf(PlanTask task);

}  // namespace muster

#endif  // MUSTER_SERVER_PLANNING_PLANNING_H_
