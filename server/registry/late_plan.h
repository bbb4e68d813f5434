// What of a plan still holds when it arrives.
//
// A plan is made beside the committer, from a state that goes on changing: while a cluster starts, nodes join faster
// than a big plan is made. A plan that is late is applied as far as the changes leave it true:
//
// 1. A member that has changed since (Member::touched_at: it was lost, came back, was drained, registered again, took a
//    READY back) keeps what it has. One that joined since has nothing yet, and one that left is gone.
// 2. A replica that is READY is taken away only while those that are READY in its place have not changed either.
// 3. A move ends, and another begins, only while its source has not changed; a source that is gone ends it.
// 4. Whether a member has room for its own claim is believed while the member has not changed.
// 5. A replica is added only where the policy still lacks it, and where it fits beside what other assemblies have there by
//    now. A member gets all that the plan adds on it or nothing, as runs and ranks go together.
//
// So the outcome is one that the plan and the changes could also have had the other way round. What did not hold is
// planned again.
#ifndef MUSTER_SERVER_REGISTRY_LATE_PLAN_H_
#define MUSTER_SERVER_REGISTRY_LATE_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/registry/assembly.h"
#include "server/registry/node_table.h"
#include "server/registry/planned_assembly.h"
#include "server/registry/uid.h"

namespace muster {

// Not thread-safe; lives for one command.
class LatePlan {
 public:
  // What a member holds.
  struct Held {
    std::vector<Assignment> assignments;
    Replacements replaces;
  };

  // All outlive it.
  LatePlan(const PlannedAssembly& plan, const Assembly& assembly, const NodeTable& nodes)
      : plan_(plan), assembly_(assembly), nodes_(nodes) {}

  // Nothing has changed if not: then all of the plan holds.
  bool late() const { return assembly_.inputs_version() != plan_.inputs_version; }

  // What the member keeps: what it has, less what the plan takes away. Nullopt: all of it.
  std::optional<Held> Losses(const PlannedAssembly::Member& planned) const;
  // What it holds with what the plan adds, once the losses of all members have been applied.
  // Nullopt: no more than it has. The generations of what is added are still 0.
  std::optional<Held> Gains(const PlannedAssembly::Member& planned) const;
  // Whether what the plan says of the member's room is true still, and news.
  bool TellsShortage(const PlannedAssembly::Member& planned) const;

 private:
  // Null when the node is not a member.
  const Assembly::Member* Find(NodeUid node) const;
  // Null also when it has changed since.
  const Assembly::Member* FindUntouched(NodeUid node) const;
  // Whether what the member has of the shard may be taken away.
  bool MayGo(const PlannedAssembly::Member& planned, uint32_t shard) const;
  // Whether a move from the node may end by taking the replica there away, or has ended.
  bool MayEnd(NodeUid source, uint32_t shard) const;
  bool MayAdd(const Assembly::Member& member, const PlannedAssembly::Member& planned,
              const Assignment& assignment) const;
  bool HasRoom(const Assembly::Member& member, uint64_t added_bytes) const;

  const PlannedAssembly& plan_;
  const Assembly& assembly_;
  const NodeTable& nodes_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_LATE_PLAN_H_
