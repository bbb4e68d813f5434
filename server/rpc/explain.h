// ExplainAssignment in two steps, as a plan is made: what it needs is taken under the lock, the
// verdicts are worked out without it.
//
// Thread-safe: pure functions.
#ifndef MUSTER_SERVER_RPC_EXPLAIN_H_
#define MUSTER_SERVER_RPC_EXPLAIN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "muster/v1/assembly.pb.h"
#include "server/planning/planning.h"
#include "server/registry/registry.h"

namespace muster {

struct ExplainTask {
  struct Member {
    // "nodes/n1".
    std::string node;
    std::string zone;
    // Of all assemblies.
    uint64_t assigned_bytes = 0;
    // 0: no bound.
    uint64_t capacity_bytes = 0;
  };
  // Who holds the shard now.
  muster::v1::GetShardStatusResponse status;
  // In name order; those that are asked about.
  std::vector<Member> members;
  // As AssemblyRow.replicas.
  uint32_t replicas = 1;
  uint64_t generation = 0;
  // "gpu=h100", for messages.
  std::string selector;
  // Unset while too few nodes have joined; `waiting` says so, then.
  std::optional<PlanTask> plan;
  std::string waiting;
};

// `status` is that of the shard. Errors are NOT_FOUND ASSEMBLY_UNKNOWN, NODE_UNKNOWN and
// MEMBER_UNKNOWN.
absl::StatusOr<ExplainTask> TakeExplainTask(const Registry& registry,
                                            const muster::v1::ExplainAssignmentRequest& request,
                                            muster::v1::GetShardStatusResponse status);

// Fills in everything but the revision. Costs as much as a plan.
absl::Status FillExplanation(ExplainTask task, muster::v1::ExplainAssignmentResponse& out);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_EXPLAIN_H_
