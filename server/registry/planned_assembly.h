// A plan on its way from the planner into the registry.
#ifndef MUSTER_SERVER_REGISTRY_PLANNED_ASSEMBLY_H_
#define MUSTER_SERVER_REGISTRY_PLANNED_ASSEMBLY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"
#include "server/placement/plan.h"
#include "server/registry/change.h"
#include "server/registry/uid.h"

namespace muster {

// By shard, for the replicas of a node that are part of a move: the node that they take over from.
using Replacements = std::map<uint32_t, NodeUid>;

struct PlannedAssembly {
  struct Member {
    NodeUid node;
    // All of the member's assignments, in shard order. Generation 0 marks those that this plan
    // makes.
    std::vector<Assignment> assignments;
    Replacements replaces;
    // By shard, for what was READY here and is taken away: the nodes that have it READY instead.
    std::map<uint32_t, std::vector<NodeUid>> stand_ins = {};
    // Unset: there is room for all that is the node's by its claim.
    std::optional<PlanShortage> shortage = {};
  };
  // What keeps shards on a node that they are to leave.
  struct Blocked {
    NodeUid node;
    muster::v1::Drain::Blocker blocker;
  };

  AssemblyUid assembly;
  // What the plan was made from: of a later version, what still holds counts; of another base,
  // nothing. See Assembly.
  uint64_t inputs_version = 0;
  uint64_t base = 0;
  // The members whose assignments differ from the present plan's, or of which it says otherwise
  // whether they have room, in the order in which they are
  // brought in. In a plan of several commands a member may be there more than once: with moves that
  // end, then with what it loses, at last with what it gets. So a shard that is READY stays so.
  std::vector<Member> members;
  // Shards that no node is to hold as often as wanted.
  std::vector<muster::v1::AssemblyReason> reasons;
  std::vector<Blocked> blocked;
  // Sizes of the assignments that it adds and drops, and of those of them that go from one node to
  // another.
  uint64_t added_bytes = 0;
  uint64_t removed_bytes = 0;
  uint64_t moved_bytes = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_PLANNED_ASSEMBLY_H_
