// A plan on its way from the planner into the registry.
#ifndef MUSTER_SERVER_REGISTRY_PLANNED_ASSEMBLY_H_
#define MUSTER_SERVER_REGISTRY_PLANNED_ASSEMBLY_H_

#include <cstdint>
#include <vector>

#include "muster/v1/assembly.pb.h"
#include "server/registry/event.h"
#include "server/registry/uid.h"

namespace muster {

struct PlannedAssembly {
  struct Member {
    NodeUid node;
    // All of the member's assignments, in shard order. Generation 0 marks those that this plan
    // makes.
    std::vector<Assignment> assignments;
  };

  AssemblyUid assembly;
  // What the plan was made from; the registry refuses it once that has changed.
  uint64_t inputs_version = 0;
  // The members whose assignments differ from the present plan's; for a staged plan, all members
  // that have any.
  std::vector<Member> members;
  // The plan is written whole into a directory of its own, in several transactions.
  bool staged = false;
  // Shards that could not be placed.
  std::vector<muster::v1::AssemblyReason> reasons;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_PLANNED_ASSEMBLY_H_
